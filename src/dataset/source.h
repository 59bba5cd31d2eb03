/*
 * source.h - the interface of a kind of dataset (zip archive, folder, IDX file) to dataset.c and
 * open.c. A new kind is one new file with one dataset_kind, and its line in the table at the top of
 * open.c.
 *
 * A source lists every file with the name of an image, including those that file managers and
 * packers leave behind; list.c decides which of them count.
 */
#ifndef GANN_DATASET_SOURCE_H
#define GANN_DATASET_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

/* An image as the digest sees it, before anything is decoded. */
typedef struct dataset_item {
    char *name;     /* with the folders it has inside the source, as the source spells it */
    char *decoded;  /* the name in UTF-8, where the source has it in another encoding; else NULL */
    uint64_t size;  /* bytes of the undecoded image */
    uint64_t place; /* where it is; only its source understands it */
    uint32_t crc;   /* CRC-32 of these bytes */
} dataset_item;

typedef struct dataset_items {
    dataset_item *item;
    size_t count;
    size_t room;
} dataset_items;

typedef struct dataset_kind {
    const char *name; /* as in "zip archive" */
    /* the images are files with names; docs/format.md says which ones count, and their order */
    bool named;
    bool flat; /* if files lie directly in it, those in its folders don't count */

    /* Tells from the first bytes of a file, or because it is a folder, whether to try open(). */
    bool (*recognise)(bool folder, const unsigned char *head, size_t head_size);

    /* Opens the source and lists its images. Returns NULL with the error filled. */
    void *(*open)(const char *path, dataset_items *items, char *error, size_t error_size);

    /* Adds the files in deeper folders of a flat source, up to most files; may be NULL. Returns -1
     * with the error filled. */
    int (*open_deeper)(void *source, dataset_items *items, size_t most, char *error,
                       size_t error_size);

    /*
     * Reads item->size bytes, which must be all. Returns IMAGE_OK, or, with the error filled,
     * IMAGE_BROKEN if the source itself holds other bytes than it lists, or IMAGE_FAILED.
     */
    int (*read)(void *source, const dataset_item *item, unsigned char *bytes, char *error,
                size_t error_size);

    /* Decodes such bytes. Returns IMAGE_OK, or IMAGE_BROKEN or IMAGE_FAILED with the error
     * filled. */
    int (*decode)(void *source, const unsigned char *bytes, size_t size, image *decoded,
                  char *error, size_t error_size);

    void (*close)(void *source);
} dataset_kind;

extern const dataset_kind dataset_zip_kind;
extern const dataset_kind dataset_folder_kind;
extern const dataset_kind dataset_idx_kind;

/* zip_extent.c: where in a file a zip archive lies; bytes may precede and follow it */
typedef enum zip_extent_outcome { ZIP_WHOLE, ZIP_NO_DIRECTORY, ZIP_SPLIT } zip_extent_outcome;
zip_extent_outcome dataset_zip_extent(const char *path, uint64_t *start, uint64_t *length);

/* Appends a copy of the item, its names included. Returns -1 when memory is short. */
int dataset_items_add(dataset_items *items, const dataset_item *item);

/* Frees the names and the list. */
void dataset_items_free(dataset_items *items);

/* Tells whether a name ends in .jpg, .jpeg or .png, in any case. */
bool dataset_is_image_name(const char *name);

/* Tells whether a file is a stray: it is hidden, or left behind by a file manager or packer, as its
 * name or that of one of its folders shows. With hidden_folders, hidden folders don't make strays
 * of the files in them. */
bool dataset_is_stray(const char *name, bool hidden_folders);

/* Returns the part of a name after its last slash or backslash. */
const char *dataset_own_name(const char *name);

/* Copies a name for a message: control characters become "?", a long name is truncated. */
void dataset_printable(const char *name, char *text, size_t text_size);

/* A dataset_kind's decode for sources whose bytes are JPEG or PNG files. */
int dataset_decode_file(void *source, const unsigned char *bytes, size_t size, image *decoded,
                        char *error, size_t error_size);

#endif
