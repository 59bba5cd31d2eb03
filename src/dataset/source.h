/*
 * source.h - what a kind of dataset (zip archive, folder, IDX file) offers to dataset.c and
 * open.c. A new kind is one new file with one dataset_kind, and its line in the table at the top of
 * open.c.
 *
 * A source lists every file that has an image's name, also those that file managers and packers
 * leave behind; list.c decides which of them count.
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
    /* the images are files with names: docs/format.md says which count, and their order */
    bool named;
    bool flat; /* where files lie directly in it, those in its folders don't count */

    /* Tells from the first bytes of a file, or from its being a folder, whether open() is worth
     * trying. */
    bool (*recognise)(bool folder, const unsigned char *head, size_t head_size);

    /* Opens the source and lists its images. Returns NULL with the error filled. */
    void *(*open)(const char *path, dataset_items *items, char *error, size_t error_size);

    /* Adds what lies deeper in a flat source, as long as there are not more than most; may be NULL.
     * Returns -1 with the error filled. */
    int (*open_deeper)(void *source, dataset_items *items, size_t most, char *error,
                       size_t error_size);

    /*
     * Reads item->size bytes, all there are. Returns IMAGE_OK, or IMAGE_BROKEN if the source holds
     * other bytes than those it lists, on any machine, or IMAGE_FAILED, with the error filled.
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

/* zip_extent.c: where in a file a zip archive lies, which bytes may precede and follow */
typedef enum zip_extent_outcome { ZIP_WHOLE, ZIP_NO_DIRECTORY, ZIP_SPLIT } zip_extent_outcome;
zip_extent_outcome dataset_zip_extent(const char *path, uint64_t *start, uint64_t *length);

/* Appends a copy of the item, its names included. Returns -1 when memory is short. */
int dataset_items_add(dataset_items *items, const dataset_item *item);

/* Frees the names and the list. */
void dataset_items_free(dataset_items *items);

/* Tells whether a name ends in .jpg, .jpeg or .png, in any case. */
bool dataset_is_image_name(const char *name);

/* Tells whether a file is hidden, or one that a file manager or packer leaves behind: its name, or
 * that of a folder it lies in, is of that sort. With hidden_folders, what lies in hidden folders is
 * no stray for that. */
bool dataset_is_stray(const char *name, bool hidden_folders);

/* Returns the part of a name after its last slash or backslash. */
const char *dataset_own_name(const char *name);

/* Copies a name for a message: control characters become "?", what does not fit is cut off. */
void dataset_printable(const char *name, char *text, size_t text_size);

/* A dataset_kind's decode for sources whose bytes are JPEG or PNG files. */
int dataset_decode_file(void *source, const unsigned char *bytes, size_t size, image *decoded,
                        char *error, size_t error_size);

#endif
