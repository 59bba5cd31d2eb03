/*
 * dataset.c - the common part of all kinds of datasets: the cache of prepared images, and the image
 * that replaces a broken one. open.c finds the kind, list.c lists the images.
 */
#define _POSIX_C_SOURCE 200809L

#include "dataset.h"
#include "list.h"
#include "open.h"
#include "file_kind.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGES_MAX ((uint64_t)1 << 32)
#define NAME_SHOWN 160
#define REASON_SIZE 320
#define MESSAGE_SIZE 800

struct dataset {
    const dataset_kind *kind;
    void *source;
    dataset_items items; /* all files that might be images */
    dataset_list list;   /* the actual images, in the current reading */
    char name[NAME_SHOWN];
    char description[NAME_SHOWN + 80];
    dataset_report report;
    void *context;

    size_t side; /* 0 until dataset_prepare() */
    size_t channels;
    size_t image_bytes;
    size_t cache_bytes; /* allowed */
    size_t cache_used;
    unsigned char **cached; /* [image], NULL if not in the cache */
    bool *broken;           /* [image], once known */

    unsigned char *bytes; /* scratch for one undecoded image */
    size_t bytes_size;
};

/* ---- opening ---- */

static void empty_cache(dataset *set);

/* Replaces the list of images, and allocates everything that depends on their number. Returns -1
 * when memory is short; then nothing has changed. */
static int take_list(dataset *set, dataset_list *list) {
    unsigned char **cached = calloc(list->count, sizeof *cached);
    bool *broken = calloc(list->count, sizeof *broken);

    if (cached == NULL || broken == NULL) {
        free(cached);
        free(broken);
        return -1;
    }
    empty_cache(set);
    free(set->cached);
    free(set->broken);
    dataset_list_free(&set->list);
    set->cached = cached;
    set->broken = broken;
    set->list = *list;
    snprintf(set->description, sizeof set->description, "%zu image%s in %s %s", list->count,
             list->count == 1 ? "" : "s", set->kind->name, set->name);
    return 0;
}

/* Keeps the last part of the path for messages: the rest is private. */
static void name_dataset(dataset *set, const char *path) {
    size_t end = strlen(path);
    size_t start;

    while (end > 1 && path[end - 1] == '/')
        end--;
    start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    dataset_printable(start < end ? path + start : "/", set->name, sizeof set->name);
    if (start < end && end - start < sizeof set->name)
        set->name[end - start] = '\0';
}

/* Opens the source and lists its images. Returns -1 with the error filled. */
static int open_source(dataset *set, const char *path, char *error, size_t error_size) {
    dataset_list list;

    set->kind = dataset_kind_of(path, error, error_size);
    if (set->kind == NULL)
        return -1;
    set->source = set->kind->open(path, &set->items, error, error_size);
    if (set->source == NULL ||
        dataset_list_make(&list, &set->items, set->kind, READING_RULE, error, error_size) != 0)
        return -1;
    name_dataset(set, path);
    if (list.count > 0 && (uint64_t)list.count <= IMAGES_MAX && take_list(set, &list) == 0)
        return 0;
    if (list.count == 0)
        dataset_explain_empty(set->kind, path, error, error_size);
    else if ((uint64_t)list.count > IMAGES_MAX)
        snprintf(error, error_size, "it has %zu images, more than 4294967296. Give fewer.",
                 list.count);
    else
        snprintf(error, error_size,
                 "there is not enough memory for its %zu images. Close other programs.",
                 list.count);
    dataset_list_free(&list);
    return -1;
}

dataset *dataset_open(const char *path, size_t cache_bytes, dataset_report report, void *context,
                      char *error, size_t error_size) {
    dataset *set = calloc(1, sizeof *set);
    char reason[REASON_SIZE] = "there is not enough memory to open it. Close other programs.";
    char shown[NAME_SHOWN];

    if (path == NULL)
        path = "";
    if (set != NULL) {
        set->cache_bytes = cache_bytes;
        set->report = report;
        set->context = context;
    }
    if (set == NULL || open_source(set, path, reason, sizeof reason) != 0) {
        dataset_printable(path, shown, sizeof shown);
        snprintf(error, error_size, "cannot use the dataset \"%s\": %s", shown, reason);
        dataset_close(set);
        return NULL;
    }
    return set;
}

/* Tells whether a list has this number of images and this digest. */
static bool is_list(const dataset_list *list, uint64_t images, const unsigned char *digest) {
    return list->count == images && memcmp(list->digest, digest, sizeof list->digest) == 0;
}

/* Lists the files by another reading, and keeps the list if it is the wanted one. */
static bool try_reading(dataset *set, dataset_reading reading, uint64_t images,
                        const unsigned char *digest) {
    dataset_list list;
    char reason[REASON_SIZE];

    if (dataset_list_make(&list, &set->items, set->kind, reading, reason, sizeof reason) != 0)
        return false;
    if (is_list(&list, images, digest) && take_list(set, &list) == 0)
        return true;
    dataset_list_free(&list);
    return false;
}

/* Also lists the files in a folder's folders, if the wanted number of images allows it. Returns
 * false if there is nothing to list. */
static bool deepen(dataset *set, uint64_t images) {
    size_t most = images > SIZE_MAX / 4 ? SIZE_MAX : 2 * (size_t)images + 1000;
    char reason[REASON_SIZE];

    return set->kind->open_deeper != NULL && set->list.count < images &&
           set->kind->open_deeper(set->source, &set->items, most, reason, sizeof reason) == 0;
}

bool dataset_match(dataset *set, uint64_t images, const unsigned char digest[DATASET_DIGEST_SIZE]) {
    if (is_list(&set->list, images, digest))
        return true;
    for (dataset_reading reading = READING_RULE; set->kind->named && reading < READINGS; reading++)
        if ((reading != READING_DEEP || deepen(set, images)) &&
            try_reading(set, reading, images, digest))
            return true;
    return false;
}

/* ---- the cache ---- */

/* Forgets all cached images. */
static void empty_cache(dataset *set) {
    for (size_t i = 0; set->cached != NULL && i < set->list.count; i++) {
        free(set->cached[i]);
        set->cached[i] = NULL;
    }
    set->cache_used = 0;
}

/* Keeps a copy of a prepared image if there is room. A lack of room is not an error. */
static void keep(dataset *set, size_t index, const unsigned char *pixels) {
    if (set->image_bytes > set->cache_bytes - set->cache_used)
        return;
    set->cached[index] = malloc(set->image_bytes);
    if (set->cached[index] == NULL)
        return;
    memcpy(set->cached[index], pixels, set->image_bytes);
    set->cache_used += set->image_bytes;
}

int dataset_prepare(dataset *set, int image_size, int channels) {
    size_t bytes;

    empty_cache(set);
    set->side = 0;
    if (image_size < 1 || image_size > IMAGE_SIDE_MAX || (channels != 1 && channels != 3) ||
        !size_multiply((size_t)image_size * (size_t)image_size, (size_t)channels, &bytes))
        return -1;
    set->side = (size_t)image_size;
    set->channels = (size_t)channels;
    set->image_bytes = bytes;
    return 0;
}

/* ---- one image ---- */

/* Passes one line to the report function. */
static void report(const dataset *set, const char *format, ...) {
    char message[MESSAGE_SIZE];
    va_list values;

    if (set->report == NULL)
        return;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    set->report(set->context, message);
}

/* Makes room for the undecoded bytes of an image. Returns -1 when memory is short. */
static int make_room(dataset *set, size_t size) {
    unsigned char *moved;

    if (size <= set->bytes_size && set->bytes != NULL)
        return 0;
    moved = realloc(set->bytes, size > 0 ? size : 1);
    if (moved == NULL)
        return -1;
    set->bytes = moved;
    set->bytes_size = size;
    return 0;
}

/* Reads the bytes of an image and makes sure that they match the digest. Returns the same values as
 * dataset_kind's decode. */
static int read_bytes(dataset *set, const dataset_item *item, char *reason, size_t reason_size) {
    if (item->size > IMAGE_FILE_MAX) {
        char size[32];

        file_size_text(item->size, size, sizeof size);
        snprintf(reason, reason_size, "its file is %s long, an image may have %llu MB", size,
                 (unsigned long long)IMAGE_FILE_MAX >> 20);
        return IMAGE_BROKEN;
    }
    if (make_room(set, (size_t)item->size) != 0) {
        snprintf(reason, reason_size, "not enough memory");
        return IMAGE_FAILED;
    }
    return set->kind->read(set->source, item, set->bytes, reason, reason_size);
}

/* Reads, decodes and prepares an image. Returns the same values as dataset_kind's decode. */
static int make_image(dataset *set, size_t index, unsigned char *pixels, char *reason,
                      size_t reason_size) {
    const dataset_item *item = &set->items.item[set->list.image[index]];
    image decoded = {0};
    int outcome = read_bytes(set, item, reason, reason_size);

    if (outcome == IMAGE_OK)
        outcome = set->kind->decode(set->source, set->bytes, (size_t)item->size, &decoded, reason,
                                    reason_size);
    if (outcome == IMAGE_OK && image_prepare(&decoded, set->side, set->channels, pixels) != 0) {
        snprintf(reason, reason_size, "not enough memory");
        outcome = IMAGE_FAILED;
    }
    image_free(&decoded);
    return outcome;
}

/* Gets an image from the cache or its source, and reports once if it is broken. Returns the same
 * values as dataset_kind's decode. */
static int get_image(dataset *set, size_t index, unsigned char *pixels) {
    char reason[REASON_SIZE] = "";
    char name[NAME_SHOWN];
    int outcome;

    if (set->broken[index])
        return IMAGE_BROKEN;
    if (set->cached[index] != NULL) {
        memcpy(pixels, set->cached[index], set->image_bytes);
        return IMAGE_OK;
    }
    outcome = make_image(set, index, pixels, reason, sizeof reason);
    dataset_printable(set->items.item[set->list.image[index]].name, name, sizeof name);
    if (outcome == IMAGE_OK)
        keep(set, index, pixels);
    else if (outcome == IMAGE_BROKEN) {
        set->broken[index] = true;
        report(set, "image \"%s\" can't be used: %s. The next image takes its place.", name,
               reason);
    } else
        report(set, "image \"%s\" of %s can't be read: %s. Check the dataset and start again.",
               name, set->description, reason);
    return outcome;
}

int dataset_image(dataset *set, size_t index, unsigned char *pixels) {
    if (set->side == 0 || index >= set->list.count) {
        report(set, "image %zu of %s was asked for %s", index, set->description,
               set->side == 0 ? "before its size was known" : "but does not exist");
        return -1;
    }
    for (size_t tried = 0; tried < set->list.count; tried++) {
        int outcome = get_image(set, index, pixels);

        if (outcome != IMAGE_BROKEN)
            return outcome == IMAGE_OK ? 0 : -1;
        index = index + 1 < set->list.count ? index + 1 : 0;
    }
    report(set, "not one of %s can be used. Give another dataset.", set->description);
    return -1;
}

/* ---- the rest ---- */

size_t dataset_count(const dataset *set) {
    return set->list.count;
}

void dataset_digest(const dataset *set, unsigned char digest[DATASET_DIGEST_SIZE]) {
    memcpy(digest, set->list.digest, DATASET_DIGEST_SIZE);
}

const char *dataset_describe(const dataset *set) {
    return set->description;
}

void dataset_close(dataset *set) {
    if (set == NULL)
        return;
    empty_cache(set);
    if (set->source != NULL)
        set->kind->close(set->source);
    dataset_list_free(&set->list);
    dataset_items_free(&set->items);
    free(set->cached);
    free(set->broken);
    free(set->bytes);
    free(set);
}
