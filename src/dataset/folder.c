/*
 * folder.c - the image files of a folder or, if it holds none itself, of the folders in it.
 * Opening reads every file once, for its CRC.
 */
#define _POSIX_C_SOURCE 200809L

#include "source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#define NAME_SHOWN 160
#define CHUNK 65536
#define DEPTH_MAX 16 /* folders within each other */

typedef struct folder {
    char *path;
    bool deep; /* files in its folders are listed, too */
} folder;

/* Recognises a folder. */
static bool folder_recognise(bool is_folder, const unsigned char *head, size_t head_size) {
    (void)head;
    (void)head_size;
    return is_folder;
}

/* Returns "outer/name", or only the name if outer is empty; to be freed. NULL when memory is
 * short. */
static char *join(const char *outer, const char *name) {
    size_t size = strlen(outer) + 1 + strlen(name) + 1;
    char *path = malloc(size);

    if (path != NULL)
        snprintf(path, size, "%s%s%s", outer, outer[0] != '\0' ? "/" : "", name);
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

/* Fills in length and CRC of the file at path. Returns 1 if it is not a regular file, -1 with errno
 * set. */
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

/* A walk over the folder's files. */
typedef struct walk {
    const folder *source;
    dataset_items *items;
    size_t most; /* items; no more are wanted */
    char *error;
    size_t error_size;
} walk;

/* A folder on the way, to notice a link that leads back to one. */
typedef struct place {
    const struct place *above;
    dev_t device;
    ino_t inode;
    int depth; /* 1: the dataset's folder itself */
} place;

/* Fills the error: what can't be read, and why. */
static int cannot_read(const walk *w, const char *what, const char *name, int reason) {
    char shown[NAME_SHOWN];

    dataset_printable(name, shown, sizeof shown);
    if (reason == ENOENT)
        snprintf(w->error, w->error_size,
                 "its %s \"%s\" is a broken link. Remove it, or mend the link.", what, shown);
    else if (name[0] != '\0')
        snprintf(w->error, w->error_size,
                 "its %s \"%s\" can't be read: %s. Make it readable, or remove it.", what, shown,
                 strerror(reason));
    else
        snprintf(w->error, w->error_size,
                 "the folder can't be read: %s. Make it readable (chmod +rx).", strerror(reason));
    return -1;
}

/* Adds a file of the folder. Returns -1 with the error filled. */
static int folder_list_file(const walk *w, const char *name, const char *path) {
    dataset_item item = {.name = (char *)name};
    int outcome = folder_measure(path, &item);

    if (outcome == 1)
        return 0;
    if (outcome != 0)
        return dataset_is_stray(name, false) ? 0 : cannot_read(w, "file", name, errno);
    return dataset_items_add(w->items, &item) == 0 ? 0 : cannot_read(w, "file", name, ENOMEM);
}

static int folder_list(const walk *w, const char *inside, bool deeper, const place *above);

/* Lists the file or folder of a name in the folder. Returns -1 with the error filled. */
static int folder_list_name(const walk *w, const char *name, bool deeper, const place *at) {
    char *path = join(w->source->path, name);
    struct stat status;
    int outcome = 0;

    if (path == NULL)
        return cannot_read(w, "file", name, ENOMEM);
    if (deeper && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        outcome = folder_list(w, name, true, at);
    else if (deeper == (at->depth > 1) && dataset_is_image_name(name))
        outcome = folder_list_file(w, name, path);
    free(path);
    return outcome;
}

/* Tells whether a folder is one of its own parents. */
static bool is_circle(const place *at) {
    for (const place *p = at->above; p != NULL; p = p->above)
        if (p->device == at->device && p->inode == at->inode)
            return true;
    return false;
}

/* Lists the names of an open folder. Returns -1 with the error filled. */
static int folder_list_names(const walk *w, DIR *entries, const char *inside, bool deeper,
                             const place *at) {
    struct dirent *entry;

    for (errno = 0; w->items->count <= w->most && (entry = readdir(entries)) != NULL; errno = 0) {
        char *name;
        int outcome;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        name = join(inside, entry->d_name);
        outcome = name != NULL ? folder_list_name(w, name, deeper, at)
                               : cannot_read(w, "file", entry->d_name, ENOMEM);
        free(name);
        if (outcome != 0)
            return outcome;
    }
    return errno != 0 ? cannot_read(w, "folder", inside, errno) : 0;
}

/*
 * Lists a folder in the folder, or (inside is empty) the folder itself. With deeper: what is in its
 * folders, but not the files that lie directly in the outermost one. Returns -1 with the error
 * filled.
 */
static int folder_list(const walk *w, const char *inside, bool deeper, const place *above) {
    char *path = inside[0] != '\0' ? join(w->source->path, inside) : strdup(w->source->path);
    DIR *entries = path != NULL ? opendir(path) : NULL;
    place here = {.above = above, .depth = above != NULL ? above->depth + 1 : 1};
    struct stat status;
    int outcome = 0;

    free(path);
    if (entries == NULL)
        return dataset_is_stray(inside, false) ? 0 : cannot_read(w, "folder", inside, errno);
    if (fstat(dirfd(entries), &status) == 0) {
        here.device = status.st_dev;
        here.inode = status.st_ino;
    }
    if (here.depth <= DEPTH_MAX && !is_circle(&here))
        outcome = folder_list_names(w, entries, inside, deeper, &here);
    closedir(entries);
    return outcome;
}

/* Adds the files in the folders of the folder; see dataset_kind. */
static int folder_open_deeper(void *source, dataset_items *items, size_t most, char *error,
                              size_t error_size) {
    folder *outer = source;

    if (outer->deep)
        return 0;
    outer->deep = true;
    return folder_list(&(walk){outer, items, most, error, error_size}, "", true, NULL);
}

/* Tells whether a list has an image in it that counts. */
static bool has_image(const dataset_items *items) {
    for (size_t i = 0; i < items->count; i++)
        if (!dataset_is_stray(items->item[i].name, false))
            return true;
    return false;
}

/* Frees the source. */
static void folder_close(void *source) {
    free(((folder *)source)->path);
    free(source);
}

/* Opens the folder and lists the images; see dataset_kind. */
static void *folder_open(const char *path, dataset_items *items, char *error, size_t error_size) {
    folder *source = calloc(1, sizeof *source);
    walk w = {source, items, SIZE_MAX, error, error_size};

    if (source == NULL || (source->path = strdup(path)) == NULL) {
        snprintf(error, error_size, "there is not enough memory to open it. Close other programs.");
        free(source);
        return NULL;
    }
    if (folder_list(&w, "", false, NULL) == 0 &&
        (has_image(items) || folder_open_deeper(source, items, SIZE_MAX, error, error_size) == 0))
        return source;
    folder_close(source);
    return NULL;
}

/* Reads one file, which must be unchanged: otherwise it is not the image that the class has. See
 * dataset_kind. */
static int folder_read(void *source, const dataset_item *item, unsigned char *bytes, char *error,
                       size_t error_size) {
    char *path = join(((folder *)source)->path, item->name);
    FILE *file = path != NULL ? fopen(path, "rb") : NULL;
    int outcome = IMAGE_FAILED;

    if (file == NULL)
        snprintf(error, error_size, "%s", path != NULL ? strerror(errno) : "not enough memory");
    else if (fread(bytes, 1, (size_t)item->size, file) != item->size || getc(file) != EOF)
        snprintf(error, error_size, "%s",
                 ferror(file) ? strerror(errno) : "its length has changed since it was first read");
    else if ((uint32_t)crc32(crc32(0, NULL, 0), bytes, (uInt)item->size) != item->crc)
        snprintf(error, error_size, "it has changed since it was first read");
    else
        outcome = IMAGE_OK;
    if (file != NULL)
        fclose(file);
    free(path);
    return outcome;
}

const dataset_kind dataset_folder_kind = {.name = "folder",
                                          .named = true,
                                          .flat = true,
                                          .recognise = folder_recognise,
                                          .open = folder_open,
                                          .open_deeper = folder_open_deeper,
                                          .read = folder_read,
                                          .decode = dataset_decode_file,
                                          .close = folder_close};
