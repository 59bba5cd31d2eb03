/*
 * dataset_folder.c - the image files of a folder. Opening reads every file once, for its CRC.
 */
#define _POSIX_C_SOURCE 200809L

#include "dataset_source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#define NAME_SHOWN 160
#define CHUNK 65536

/* The source is the folder's path. */
typedef struct folder {
    char *path;
} folder;

/* Tells by its being a folder. */
static bool folder_recognise(bool is_folder, const unsigned char *head, size_t head_size) {
    (void)head;
    (void)head_size;
    return is_folder;
}

/* Returns the path of a file in the folder, to be freed, or NULL when memory is short. */
static char *folder_path(const folder *source, const char *name) {
    size_t size = strlen(source->path) + 1 + strlen(name) + 1;
    char *path = malloc(size);

    if (path != NULL)
        snprintf(path, size, "%s/%s", source->path, name);
    return path;
}

/* Reads an open file to its end for its length and CRC. Returns -1 with errno set. */
static int folder_sum(FILE *file, dataset_item *item) {
    unsigned char chunk[CHUNK];
    size_t got;

    item->size = 0;
    item->crc = (uint32_t)crc32(0, NULL, 0);
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        item->size += got;
        item->crc = (uint32_t)crc32(item->crc, chunk, (uInt)got);
    }
    return ferror(file) ? -1 : 0;
}

/* Fills in length and CRC of the file at path. Returns 1 if it is not a regular file, -1 with errno set. */
static int folder_measure(const char *path, dataset_item *item) {
    struct stat status;
    FILE *file;
    int outcome;
    int reason;

    if (stat(path, &status) != 0)
        return -1;
    if (!S_ISREG(status.st_mode))
        return 1;
    file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    outcome = folder_sum(file, item);
    reason = errno;
    fclose(file);
    errno = reason;
    return outcome;
}

/* Adds a file of the folder if it is an image. Returns -1 with the error filled. */
static int folder_list_one(const folder *source, const char *name, dataset_items *items, char *error,
                           size_t error_size) {
    dataset_item item = {.name = (char *)name};
    char shown[NAME_SHOWN];
    char *path;
    int outcome;

    if (!dataset_is_image_name(name))
        return 0;
    path = folder_path(source, name);
    outcome = path != NULL ? folder_measure(path, &item) : -1;
    free(path);
    if (outcome == 1)
        return 0;
    if (outcome == 0 && dataset_items_add(items, &item) != 0) {
        outcome = -1;
        errno = ENOMEM;
    }
    if (outcome != 0) {
        dataset_printable(name, shown, sizeof shown);
        snprintf(error, error_size, "its file \"%s\" cannot be read: %s; make it readable or remove it", shown,
                 strerror(errno));
    }
    return outcome;
}

/* Lists the images of an open folder. Returns -1 with the error filled. */
static int folder_list(const folder *source, DIR *entries, dataset_items *items, char *error,
                       size_t error_size) {
    struct dirent *entry;

    for (errno = 0; (entry = readdir(entries)) != NULL; errno = 0)
        if (folder_list_one(source, entry->d_name, items, error, error_size) != 0)
            return -1;
    if (errno != 0) {
        snprintf(error, error_size, "its list of files cannot be read: %s", strerror(errno));
        return -1;
    }
    dataset_items_sort(items);
    return 0;
}

/* Frees the source. */
static void folder_close(void *source) {
    free(((folder *)source)->path);
    free(source);
}

/* Opens the folder and lists its images in the order of their names; see dataset_kind. */
static void *folder_open(const char *path, dataset_items *items, char *error, size_t error_size) {
    folder *source = calloc(1, sizeof *source);
    DIR *entries = opendir(path);
    int outcome = -1;

    if (source != NULL)
        source->path = strdup(path);
    if (entries == NULL)
        snprintf(error, error_size, "the folder cannot be opened: %s", strerror(errno));
    else if (source == NULL || source->path == NULL)
        snprintf(error, error_size, "not enough memory to open it");
    else
        outcome = folder_list(source, entries, items, error, error_size);
    if (entries != NULL)
        closedir(entries);
    if (outcome != 0 && source != NULL) {
        folder_close(source);
        source = NULL;
    }
    return source;
}

/* Reads one file, which must end where it did; see dataset_kind. */
static int folder_read(void *source, const dataset_item *item, unsigned char *bytes, char *error,
                       size_t error_size) {
    char *path = folder_path(source, item->name);
    FILE *file = path != NULL ? fopen(path, "rb") : NULL;
    int outcome = -1;

    if (file == NULL)
        snprintf(error, error_size, "%s", path != NULL ? strerror(errno) : "not enough memory");
    else if (fread(bytes, 1, (size_t)item->size, file) != item->size || getc(file) != EOF)
        snprintf(error, error_size, "%s", ferror(file) ? strerror(errno) : "its length has changed");
    else
        outcome = 0;
    if (file != NULL)
        fclose(file);
    free(path);
    return outcome;
}

const dataset_kind dataset_folder_kind = {.name = "folder",
                                          .recognise = folder_recognise,
                                          .open = folder_open,
                                          .read = folder_read,
                                          .decode = dataset_decode_file,
                                          .close = folder_close};
