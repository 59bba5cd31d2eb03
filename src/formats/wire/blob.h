/*
 * blob.h - the bytes in which weights, moments, gradients and statistics are stored and sent
 * (docs/format.md section 8)
 *
 * Pure C: shared by the worker and the server, and tested by fuzzers. Every byte of a blob may come
 * from an attacker.
 */
#ifndef GANN_BLOB_H
#define GANN_BLOB_H

#include <stddef.h>
#include <stdint.h>

#define BLOB_HEADER_SIZE ((size_t)24)
#define BLOB_VERSION 1
#define SHARD_COUNT ((size_t)262144) /* numbers of a full shard: 1 MiB of float32 */

typedef enum blob_element { BLOB_FLOAT32 = 1, BLOB_FLOAT16 = 2, BLOB_INT8 = 3 } blob_element;

typedef enum blob_status {
    BLOB_OK = 0,
    BLOB_SHORT,       /* fewer bytes than a header */
    BLOB_MAGIC,       /* does not begin with GANF */
    BLOB_VERSION_NEW, /* a version this program does not know */
    BLOB_ELEMENT,     /* an element type this program does not know */
    /* reserved bytes are not zero, or the scale of a float16 blob is not within its limits */
    BLOB_RESERVED,
    BLOB_COUNT,  /* another number of elements than expected */
    BLOB_LENGTH, /* another number of bytes than the header announces */
    BLOB_CRC,    /* damaged on the way */
    BLOB_NUMBERS /* int8: an impossible scale, or -128 */
} blob_status;

/* Says what is wrong, to follow "the blob": "is shorter than its header". */
const char *blob_status_text(blob_status status);

/* Names an element type as SQL and people do, and reads such a name: 0 if it is none. */
const char *blob_element_name(blob_element element);
int blob_element_read(blob_element *element, const char *name);

/* Computes the bytes of a blob of count float32, or of another type. */
size_t blob_size(size_t count);
size_t blob_size_of(size_t count, blob_element element);

/* Computes the CRC-32C (Castagnoli) of data. */
uint32_t blob_crc32c(const void *data, size_t size);

/* Continues a CRC-32C over the data that follow; the CRC of no data is 0. */
uint32_t blob_crc32c_extend(uint32_t crc, const void *data, size_t size);

/* Writes header and data into blob[blob_size(count)]; values may already lie at blob +
 * BLOB_HEADER_SIZE. */
void blob_write(unsigned char *blob, const float *values, size_t count);

/* Checks a blob's header except the checksum. size is that of the whole blob, but only the header
 * need be there. */
blob_status blob_check_header(const unsigned char *blob, size_t size, size_t count);

/* Checks a blob that should hold count float32; the data begin at blob + BLOB_HEADER_SIZE, of any
 * alignment. */
blob_status blob_check(const unsigned char *blob, size_t size, size_t count);

/*
 * The same for any element type (half.h, int8.h). values must not lie within the blob unless they
 * are float32, and the blob must be aligned for floats. blob_encode() returns 0 if int8 is wanted
 * and there is NaN or infinity, else 1; blob_decode() takes a checked blob, of an even address if
 * it is float16.
 */
int blob_encode(unsigned char *blob, const float *values, size_t count, blob_element element);
blob_status blob_check_element(const unsigned char *blob, size_t size, size_t count,
                               blob_element element);
void blob_decode(float *values, const unsigned char *blob, size_t count, blob_element element);

/* Adds the numbers of a checked blob of float16 or int8: each sum is rounded once, in the same way
 * on every machine. */
void blob_add(float *values, const unsigned char *blob, size_t count, blob_element element);

/* Reads the checksum from the header of a checked blob. */
uint32_t blob_stored_crc(const unsigned char *blob);

/* Counts the shards of a vector, and the numbers of one of them. */
size_t shard_total(size_t count);
size_t shard_length(size_t count, size_t shard);

#endif
