/*
 * dataset.c - what all kinds of datasets have in common: finding the kind, the digest, the cache of prepared
 * images, and the image that stands in for a broken one.
 */
#define _POSIX_C_SOURCE 200809L

#include "dataset.h"
#include "dataset_source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <zlib.h>

#define IMAGES_MAX ((uint64_t)1 << 32)
#define NAME_SHOWN 160
#define REASON_SIZE 320
#define MESSAGE_SIZE 800

static const dataset_kind *const kinds[] = {&dataset_folder_kind, &dataset_zip_kind, &dataset_idx_kind};

struct dataset {
    const dataset_kind *kind;
    void *source;
    dataset_items items;
    char description[NAME_SHOWN + 80];
    unsigned char digest[DATASET_DIGEST_SIZE];
    dataset_report report;
    void *context;

    size_t side; /* 0 until dataset_prepare() */
    size_t channels;
    size_t image_bytes;
    size_t cache_bytes; /* allowed */
    size_t cache_used;
    unsigned char **cached; /* [image], NULL if not in the cache */
    bool *broken;           /* [image], once found out */

    unsigned char *bytes; /* scratch for one undecoded image */
    size_t bytes_size;
};

/* ---- for the kinds ---- */

int dataset_items_add(dataset_items *items, const dataset_item *item) {
    char *name;

    if (items->count == items->room) {
        size_t room = items->room == 0 ? 256 : items->room;
        size_t size;
        dataset_item *moved;

        if (!size_multiply(room, 2 * sizeof *moved, &size) || (moved = realloc(items->item, size)) == NULL)
            return -1;
        items->item = moved;
        items->room = room * 2;
    }
    name = strdup(item->name);
    if (name == NULL)
        return -1;
    items->item[items->count] = *item;
    items->item[items->count++].name = name;
    return 0;
}

/* Compares two items for dataset_items_sort(). */
static int compare_items(const void *left, const void *right) {
    const dataset_item *a = left;
    const dataset_item *b = right;
    int order = strcmp(a->name, b->name);

    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

void dataset_items_sort(dataset_items *items) {
    if (items->count > 1)
        qsort(items->item, items->count, sizeof *items->item, compare_items);
}

bool dataset_is_image_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t ending = strlen(endings[i]);

        if (length >= ending && strcasecmp(name + length - ending, endings[i]) == 0)
            return true;
    }
    return false;
}

const char *dataset_base_name(const char *name) {
    const char *slash = strrchr(name, '/');

    return slash != NULL ? slash + 1 : name;
}

void dataset_printable(const char *name, char *text, size_t text_size) {
    size_t length = 0;

    while (length + 1 < text_size && name[length] != '\0') {
        unsigned char byte = (unsigned char)name[length];

        text[length++] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    text[length] = '\0';
}

int dataset_decode_file(void *source, const unsigned char *bytes, size_t size, image *decoded, char *error,
                        size_t error_size) {
    (void)source;
    return image_decode(bytes, size, decoded, error, error_size);
}

/* ---- opening ---- */

/* Reads the first bytes of a file. Returns how many, or -1 with errno set. */
static int read_head(const char *path, unsigned char *head, size_t size) {
    FILE *file = fopen(path, "rb");
    size_t got;
    int reason = 0;

    if (file == NULL)
        return -1;
    got = fread(head, 1, size, file);
    if (ferror(file))
        reason = errno;
    fclose(file);
    errno = reason;
    return reason != 0 ? -1 : (int)got;
}

/* Finds the kind of what lies at path. Returns NULL with the error filled. */
static const dataset_kind *find_kind(const char *path, char *error, size_t error_size) {
    struct stat status;
    unsigned char head[8];
    int got = 0;
    bool folder;

    if (stat(path, &status) != 0) {
        snprintf(error, error_size, "%s; give the path of a zip archive, a folder or an IDX file",
                 strerror(errno));
        return NULL;
    }
    folder = S_ISDIR(status.st_mode);
    if (!folder && S_ISREG(status.st_mode))
        got = read_head(path, head, sizeof head);
    if (got < 0) {
        snprintf(error, error_size, "it cannot be read: %s", strerror(errno));
        return NULL;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i]->recognise(folder, head, (size_t)got))
            return kinds[i];
    snprintf(
        error, error_size,
        "it is no zip archive, no folder and no IDX file; give the path of one, such as img_align_celeba.zip");
    return NULL;
}

/* Stores a number in little-endian order. */
static void put_little_endian(unsigned char *at, uint64_t number, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(number >> (8 * i));
}

/* Adds one image to the digest. Returns false if libcrypto refuses. */
static bool digest_item(EVP_MD_CTX *sha, const dataset_item *item) {
    const char *name = dataset_base_name(item->name);
    unsigned char numbers[8 + 4];

    put_little_endian(numbers, item->size, 8);
    put_little_endian(numbers + 8, item->crc, 4);
    return EVP_DigestUpdate(sha, name, strlen(name) + 1) == 1 &&
           EVP_DigestUpdate(sha, numbers, sizeof numbers) == 1;
}

/* Computes the digest of all images. Returns -1 with the error filled. */
static int compute_digest(dataset *set, char *error, size_t error_size) {
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    bool good = sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; good && i < set->items.count; i++)
        good = digest_item(sha, &set->items.item[i]);
    good = good && EVP_DigestFinal_ex(sha, set->digest, NULL) == 1;
    EVP_MD_CTX_free(sha);
    if (!good)
        snprintf(error, error_size, "libcrypto cannot compute SHA-256");
    return good ? 0 : -1;
}

/* Writes what dataset_describe() returns: only the last part of the path, as the rest is the student's own
 * business. */
static void describe(dataset *set, const char *path) {
    char name[NAME_SHOWN];
    size_t end = strlen(path);
    size_t start;

    while (end > 1 && path[end - 1] == '/')
        end--;
    start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    dataset_printable(path + start, name, sizeof name);
    if (end - start < sizeof name)
        name[end - start] = '\0';
    snprintf(set->description, sizeof set->description, "%zu image%s in %s %s", set->items.count,
             set->items.count == 1 ? "" : "s", set->kind->name, start < end ? name : "/");
}

/* Lists the images and prepares what depends on their number. Returns -1 with the error filled. */
static int open_source(dataset *set, const char *path, char *error, size_t error_size) {
    set->kind = find_kind(path, error, error_size);
    if (set->kind == NULL)
        return -1;
    set->source = set->kind->open(path, &set->items, error, error_size);
    if (set->source == NULL)
        return -1;
    if (set->items.count == 0 || (uint64_t)set->items.count > IMAGES_MAX) {
        snprintf(error, error_size, "it has %zu images (.jpg, .jpeg or .png); give one with 1 to 4294967296",
                 set->items.count);
        return -1;
    }
    set->cached = calloc(set->items.count, sizeof *set->cached);
    set->broken = calloc(set->items.count, sizeof *set->broken);
    if (set->cached == NULL || set->broken == NULL) {
        snprintf(error, error_size, "not enough memory for its %zu images", set->items.count);
        return -1;
    }
    describe(set, path);
    return compute_digest(set, error, error_size);
}

dataset *dataset_open(const char *path, size_t cache_bytes, dataset_report report, void *context, char *error,
                      size_t error_size) {
    dataset *set = calloc(1, sizeof *set);
    char reason[REASON_SIZE] = "not enough memory to open it";
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

/* ---- the cache ---- */

/* Forgets all cached images. */
static void empty_cache(dataset *set) {
    for (size_t i = 0; set->cached != NULL && i < set->items.count; i++) {
        free(set->cached[i]);
        set->cached[i] = NULL;
    }
    set->cache_used = 0;
}

/* Keeps a copy of a prepared image if there is room. Not finding any is no error. */
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

/* Hands one line to the report function. */
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

/* Reads the bytes of an image and makes sure that they are those of the digest. Returns as dataset_kind's
 * decode. */
static int read_bytes(dataset *set, const dataset_item *item, char *reason, size_t reason_size) {
    if (item->size > IMAGE_FILE_MAX) {
        snprintf(reason, reason_size, "it is larger than %llu bytes", (unsigned long long)IMAGE_FILE_MAX);
        return IMAGE_BROKEN;
    }
    if (make_room(set, (size_t)item->size) != 0) {
        snprintf(reason, reason_size, "not enough memory");
        return IMAGE_FAILED;
    }
    if (set->kind->read(set->source, item, set->bytes, reason, reason_size) != 0)
        return IMAGE_FAILED;
    if ((uint32_t)crc32(crc32(0, NULL, 0), set->bytes, (uInt)item->size) != item->crc) {
        snprintf(reason, reason_size, "it has changed since the dataset was opened");
        return IMAGE_FAILED;
    }
    return IMAGE_OK;
}

/* Reads, decodes and prepares an image. Returns as dataset_kind's decode. */
static int make_image(dataset *set, size_t index, unsigned char *pixels, char *reason, size_t reason_size) {
    const dataset_item *item = &set->items.item[index];
    image decoded = {0};
    int outcome = read_bytes(set, item, reason, reason_size);

    if (outcome == IMAGE_OK)
        outcome = set->kind->decode(set->source, set->bytes, (size_t)item->size, &decoded, reason, reason_size);
    if (outcome == IMAGE_OK && image_prepare(&decoded, set->side, set->channels, pixels) != 0) {
        snprintf(reason, reason_size, "not enough memory");
        outcome = IMAGE_FAILED;
    }
    image_free(&decoded);
    return outcome;
}

/* Gets an image from the cache or its source, and reports once if it is broken. Returns as dataset_kind's
 * decode. */
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
    dataset_printable(set->items.item[index].name, name, sizeof name);
    if (outcome == IMAGE_OK)
        keep(set, index, pixels);
    else if (outcome == IMAGE_BROKEN) {
        set->broken[index] = true;
        report(set, "image \"%s\" cannot be decoded (%s), the next one that can stands in for it", name,
               reason);
    } else
        report(set, "image \"%s\" of %s cannot be read (%s), check or replace the dataset and start again",
               name, set->description, reason);
    return outcome;
}

int dataset_image(dataset *set, size_t index, unsigned char *pixels) {
    if (set->side == 0 || index >= set->items.count) {
        report(set, "image %zu of %s was asked for %s", index, set->description,
               set->side == 0 ? "before its size was known" : "but does not exist");
        return -1;
    }
    for (size_t tried = 0; tried < set->items.count; tried++) {
        int outcome = get_image(set, index, pixels);

        if (outcome != IMAGE_BROKEN)
            return outcome == IMAGE_OK ? 0 : -1;
        index = index + 1 < set->items.count ? index + 1 : 0;
    }
    report(set, "not one of %s can be decoded, give another dataset", set->description);
    return -1;
}

/* ---- the rest ---- */

size_t dataset_count(const dataset *set) {
    return set->items.count;
}

void dataset_digest(const dataset *set, unsigned char digest[DATASET_DIGEST_SIZE]) {
    memcpy(digest, set->digest, DATASET_DIGEST_SIZE);
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
    for (size_t i = 0; i < set->items.count; i++)
        free(set->items.item[i].name);
    free(set->items.item);
    free(set->cached);
    free(set->broken);
    free(set->bytes);
    free(set);
}
