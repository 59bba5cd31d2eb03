/*
 * dataset_source.h - what a kind of dataset (zip archive, folder, IDX file) offers to dataset.c. A new kind is
 * one new file with one dataset_kind, and its line in the table at the top of dataset.c.
 */
#ifndef GANN_DATASET_SOURCE_H
#define GANN_DATASET_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

/* An image as the digest sees it, before anything is decoded. */
typedef struct dataset_item {
    char *name;     /* with the folders it has inside the source */
    uint64_t size;  /* bytes of the undecoded image */
    uint64_t place; /* where it is; means something to its source only */
    uint32_t crc;   /* CRC-32 of these bytes */
} dataset_item;

typedef struct dataset_items {
    dataset_item *item;
    size_t count;
    size_t room;
} dataset_items;

typedef struct dataset_kind {
    const char *name; /* as in "zip archive" */

    /* Tells from the first bytes of a file, or from its being a folder, whether open() is worth trying. */
    bool (*recognise)(bool folder, const unsigned char *head, size_t head_size);

    /* Opens the source and lists its images in their order. Returns NULL with the error filled. */
    void *(*open)(const char *path, dataset_items *items, char *error, size_t error_size);

    /* Reads item->size bytes, all there are. Returns -1 with the error filled. */
    int (*read)(void *source, const dataset_item *item, unsigned char *bytes, char *error, size_t error_size);

    /* Decodes such bytes. Returns IMAGE_OK, or IMAGE_BROKEN or IMAGE_FAILED with the error filled. */
    int (*decode)(void *source, const unsigned char *bytes, size_t size, image *decoded, char *error,
                  size_t error_size);

    void (*close)(void *source);
} dataset_kind;

extern const dataset_kind dataset_zip_kind;
extern const dataset_kind dataset_folder_kind;
extern const dataset_kind dataset_idx_kind;

/* Appends a copy of the item, its name included. Returns -1 when memory is short. */
int dataset_items_add(dataset_items *items, const dataset_item *item);

/* Sorts by name, byte by byte; equal names by place. */
void dataset_items_sort(dataset_items *items);

/* Tells whether a name ends in .jpg, .jpeg or .png, in any case. */
bool dataset_is_image_name(const char *name);

/* Returns the part of a name after its last slash. */
const char *dataset_base_name(const char *name);

/* Copies a name for a message: control characters become "?", what does not fit is cut off. */
void dataset_printable(const char *name, char *text, size_t text_size);

/* A dataset_kind's decode for sources whose bytes are JPEG or PNG files. */
int dataset_decode_file(void *source, const unsigned char *bytes, size_t size, image *decoded, char *error,
                        size_t error_size);

#endif
