/*
 * list.c - selects and orders the images of a source, and computes their digest
 */
#define _POSIX_C_SOURCE 200809L

#include "list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

/* An image with its names in one reading. */
typedef struct entry {
    const dataset_item *item;
    const char *path, *own;
} entry;

/* ---- which ---- */

/* Tells whether version 0.1.0 took a file: it knew one kind of leftovers and no backslashes. */
static bool counted_0_1_0(const dataset_item *item, const dataset_kind *kind) {
    static const char leftovers[] = "__MACOSX/";

    for (const char *part = item->name; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, leftovers, sizeof leftovers - 1) == 0)
            return false;
    }
    return !kind->flat || strchr(item->name, '/') == NULL;
}

/* Facts about all files that select_images() needs before it selects. */
typedef struct surroundings {
    bool hidden_folders; /* all images are in hidden folders: then these count */
    bool shallow;        /* only files directly in the source count */
} surroundings;

static surroundings look_around(const dataset_items *items, const dataset_kind *kind,
                                dataset_reading reading) {
    surroundings s = {.hidden_folders = true};

    for (size_t i = 0; i < items->count; i++) {
        const char *name = items->item[i].name;

        if (dataset_is_stray(name, false))
            continue;
        s.hidden_folders = false;
        if (kind->flat && reading != READING_DEEP && strchr(name, '/') == NULL)
            s.shallow = true;
    }
    return s;
}

/* Tells whether a file is an image of the dataset. */
static bool counts(const dataset_item *item, const dataset_kind *kind, dataset_reading reading,
                   const surroundings *s) {
    if (!kind->named)
        return true;
    if (reading == READING_0_1_0)
        return counted_0_1_0(item, kind);
    return !dataset_is_stray(item->name, s->hidden_folders) &&
           !(s->shallow && strchr(item->name, '/') != NULL);
}

/* Selects the files that count and sets their names. Returns their number. */
static size_t select_images(entry *entries, const dataset_items *items, const dataset_kind *kind,
                            dataset_reading reading) {
    bool decoded = reading == READING_DECODED || reading == READING_DECODED_NAMES;
    surroundings s = look_around(items, kind, reading);
    size_t count = 0;

    for (size_t i = 0; i < items->count; i++) {
        const dataset_item *item = &items->item[i];
        const char *name = decoded && item->decoded != NULL ? item->decoded : item->name;

        if (counts(item, kind, reading, &s))
            entries[count++] = (entry){item, name, dataset_own_name(name)};
    }
    return count;
}

/* ---- in which order ---- */

/* Compares two paths byte by byte; a backslash is a slash. */
static int compare_paths(const char *a, const char *b) {
    for (;; a++, b++) {
        unsigned char left = *a == '\\' ? '/' : (unsigned char)*a,
                      right = *b == '\\' ? '/' : (unsigned char)*b;

        if (left != right || left == '\0')
            return (left > right) - (left < right);
    }
}

static int by_place(const entry *a, const entry *b) {
    return (a->item->place > b->item->place) - (a->item->place < b->item->place);
}

static int by_path(const void *left, const void *right) {
    const entry *a = left, *b = right;
    int order = compare_paths(a->path, b->path);

    return order != 0 ? order : by_place(a, b);
}

static int by_own_name(const void *left, const void *right) {
    int order = strcmp(((const entry *)left)->own, ((const entry *)right)->own);

    return order != 0 ? order : by_path(left, right);
}

static int by_bytes(const void *left, const void *right) {
    const entry *a = left, *b = right;
    int order = strcmp(a->path, b->path);

    return order != 0 ? order : by_place(a, b);
}

static void sort(entry *entries, size_t count, dataset_reading reading) {
    if (count > 1)
        qsort(entries, count, sizeof *entries,
              reading == READING_0_1_0                                           ? by_bytes
              : reading == READING_OWN_NAMES || reading == READING_DECODED_NAMES ? by_own_name
                                                                                 : by_path);
}

/* To version 0.1.0 a backslash was a letter of the name. */
static void name_as_0_1_0(entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *slash = strrchr(entries[i].path, '/');

        entries[i].own = slash != NULL ? slash + 1 : entries[i].path;
    }
}

/* ---- the digest ---- */

/* Stores a number in little-endian order. */
static void put_little_endian(unsigned char *at, uint64_t number, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(number >> (8 * i));
}

/* Adds one image to the digest. Returns false if libcrypto refuses. */
static bool digest_entry(EVP_MD_CTX *sha, const entry *e) {
    unsigned char numbers[8 + 4];

    put_little_endian(numbers, e->item->size, 8);
    put_little_endian(numbers + 8, e->item->crc, 4);
    return EVP_DigestUpdate(sha, e->own, strlen(e->own) + 1) == 1 &&
           EVP_DigestUpdate(sha, numbers, sizeof numbers) == 1;
}

static bool digest_entries(unsigned char digest[DATASET_DIGEST_SIZE], const entry *entries,
                           size_t count) {
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    bool good = sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; good && i < count; i++)
        good = digest_entry(sha, &entries[i]);
    good = good && EVP_DigestFinal_ex(sha, digest, NULL) == 1;
    EVP_MD_CTX_free(sha);
    return good;
}

/* ---- all of it ---- */

int dataset_list_make(dataset_list *list, const dataset_items *items, const dataset_kind *kind,
                      dataset_reading reading, char *error, size_t error_size) {
    size_t room = items->count > 0 ? items->count : 1;
    entry *entries = calloc(room, sizeof *entries);

    *list = (dataset_list){.image = calloc(room, sizeof *list->image)};
    if (entries == NULL || list->image == NULL) {
        snprintf(error, error_size,
                 "there is not enough memory for its %zu images. Close other programs.",
                 items->count);
        free(entries);
        dataset_list_free(list);
        return -1;
    }
    list->count = select_images(entries, items, kind, reading);
    if (reading == READING_0_1_0)
        name_as_0_1_0(entries, list->count);
    if (kind->named)
        sort(entries, list->count, reading);
    for (size_t i = 0; i < list->count; i++)
        list->image[i] = (size_t)(entries[i].item - items->item);
    if (!digest_entries(list->digest, entries, list->count)) {
        snprintf(error, error_size,
                 "libcrypto cannot compute SHA-256. Install OpenSSL's library again.");
        dataset_list_free(list);
    }
    free(entries);
    return list->image != NULL ? 0 : -1;
}

void dataset_list_free(dataset_list *list) {
    free(list->image);
    *list = (dataset_list){0};
}
