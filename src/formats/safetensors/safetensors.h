/*
 * safetensors.h - the file format of Hugging Face's safetensors: a JSON header, then tensors as
 * they lie in memory
 *
 *   8 bytes   length of the header, little-endian
 *   header    {"__metadata__": {"key": "value", ...},
 *              "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *   data      the tensors one after the other, little-endian, row-major, without gaps
 *
 * Pure C, allocates nothing. Every byte of a file may come from an attacker. In a file that
 * safetensors_read() accepts, no tensors overlap, every byte of the data belongs to a tensor, and
 * nothing lies beyond the file's end.
 */
#ifndef GANN_SAFETENSORS_H
#define GANN_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

/* Bytes; the format itself allows a hundred times as many. */
#define SAFETENSORS_MAX_HEADER ((size_t)1 << 20)
#define SAFETENSORS_MAX_TENSORS 512
#define SAFETENSORS_MAX_DIMENSIONS 8
#define SAFETENSORS_MAX_PAIRS 128
#define SAFETENSORS_NAME_SIZE 96
#define SAFETENSORS_KEY_SIZE 64

/* The types that are read: our checkpoints have the first two; files with others are refused. */
typedef enum safetensors_type {
    SAFETENSORS_F32,
    SAFETENSORS_I64,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_F64
} safetensors_type;

typedef struct safetensors_tensor {
    char name[SAFETENSORS_NAME_SIZE]; /* printable ASCII */
    safetensors_type type;
    size_t dimensions; /* 0: one number */
    size_t shape[SAFETENSORS_MAX_DIMENSIONS];
    size_t offset, size; /* bytes, in the data */
} safetensors_tensor;

/* A pair of the metadata; the value is still undecoded, with its escapes. */
typedef struct safetensors_pair {
    char key[SAFETENSORS_KEY_SIZE];
    size_t value, length; /* where in the file, bytes */
} safetensors_pair;

/* A parsed header; about 100 kB. */
typedef struct safetensors_file {
    size_t data; /* where in the file the data begin */
    size_t tensor_count, pair_count;
    safetensors_tensor tensors[SAFETENSORS_MAX_TENSORS];
    safetensors_pair pairs[SAFETENSORS_MAX_PAIRS];
} safetensors_file;

/* numbers.c: the bytes of one number; a type's name, and the type of a name (-1: there is no such
 * type) */
size_t safetensors_element_size(safetensors_type type);
const char *safetensors_type_name(safetensors_type type);
int safetensors_type_of(const char *name, safetensors_type *type);

/* numbers.c: reads a floating-point number. F16 and BF16 become float32 exactly, F64 is rounded
 * once. */
float safetensors_number(safetensors_type type, const unsigned char *at);

/* Reads and checks the header of bytes[size], the whole file. Returns 0, or -1 with what is wrong
 * in error. */
int safetensors_read(safetensors_file *file, const unsigned char *bytes, size_t size, char *error,
                     size_t error_size);

/* Finds a tensor or a pair by name; NULL if there is none. */
const safetensors_tensor *safetensors_find(const safetensors_file *file, const char *name);
const safetensors_pair *safetensors_find_pair(const safetensors_file *file, const char *key);

/* Decodes a value into UTF-8 (not validated) with a terminating 0. Returns 0, or -1 if it doesn't
 * fit or holds a 0. */
int safetensors_value(const unsigned char *bytes, const safetensors_pair *pair, char *text,
                      size_t size);

/* A pair of the metadata to be written: any UTF-8. */
typedef struct safetensors_text {
    const char *key, *value;
} safetensors_text;

/* Lays tensors out one after the other: fills in size and offset. Returns the bytes of the data. */
size_t safetensors_layout(safetensors_tensor *tensors, size_t count);

/*
 * Writes the header's length and the header of tensors that are laid out into bytes[room], cut off
 * if they don't fit; spaces pad it so that the data begin at a multiple of 8. Returns the full
 * length, whether it fits or not.
 */
size_t safetensors_header(unsigned char *bytes, size_t room, const safetensors_tensor *tensors,
                          size_t count, const safetensors_text *pairs, size_t pair_count);

#endif
