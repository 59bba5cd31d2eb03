/*
 * cache.c - files in $XDG_CACHE_HOME/gannsfriends or ~/.cache/gannsfriends
 *
 * A file is the magic line, the lengths of key and data, a hash of both, the key and the data. Its
 * name is the key's hash. It is written under another name first, so that no reader sees half of
 * it, and read only if it is the user's own.
 */
#include "cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT ((uint64_t)1 << 28) /* bytes of data; kernels have less than one per cent of that */

typedef struct header {
    char magic[16];
    uint64_t key_bytes, data_bytes, hash;
} header;

static const char magic[16] = "gannsfriends 1\n";

uint64_t cache_hash(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Writes the folder's name; returns 0 where there is none. XDG wants relative names ignored. */
static int folder_name(char name[PATH_MAX], int create) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = cache && cache[0] == '/' ? snprintf(name, PATH_MAX, "%s", cache)
                 : home && home[0] == '/' ? snprintf(name, PATH_MAX, "%s/.cache", home)
                                          : 0;

    if (length <= 0 || length > PATH_MAX - 64)
        return 0;
    if (create)
        mkdir(name, 0700);
    strcpy(name + length, "/gannsfriends");
    if (create)
        mkdir(name, 0700);
    return 1;
}

static int file_name(char name[PATH_MAX], const char *key, int create) {
    if (!folder_name(name, create))
        return 0;
    sprintf(name + strlen(name), "/%016" PRIx64, cache_hash(CACHE_HASH, key, strlen(key)));
    return 1;
}

static uint64_t hash_of(const char *key, const void *data, size_t bytes) {
    return cache_hash(cache_hash(CACHE_HASH, key, strlen(key)), data, bytes);
}

/* Reads the key and the data behind a header that fits the key. */
static void *read_body(FILE *file, const header *h, const char *key) {
    char *found = malloc(h->key_bytes + 1);
    unsigned char *data = malloc(h->data_bytes + 1);

    if (found && data && fread(found, 1, h->key_bytes, file) == h->key_bytes &&
        memcmp(found, key, h->key_bytes) == 0 &&
        fread(data, 1, h->data_bytes + 1, file) == h->data_bytes &&
        hash_of(key, data, h->data_bytes) == h->hash) {
        free(found);
        return data;
    }
    free(found);
    free(data);
    return NULL;
}

void *cache_read(const char *key, size_t *bytes) {
    char name[PATH_MAX];
    int descriptor = file_name(name, key, 0) ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
    void *data = NULL;
    struct stat status;
    header h;

    if (!file) {
        if (descriptor >= 0)
            close(descriptor);
        return NULL;
    }
    if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
        fread(&h, sizeof h, 1, file) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 &&
        h.key_bytes == strlen(key) && h.data_bytes <= LIMIT) {
        data = read_body(file, &h, key);
        *bytes = h.data_bytes;
    }
    fclose(file);
    return data;
}

/* Writes all of a file; mkstemp gives it to the user alone. */
static int write_file(int descriptor, const char *key, const void *data, size_t bytes) {
    FILE *file = fdopen(descriptor, "wb");
    header h = {.key_bytes = strlen(key), .data_bytes = bytes, .hash = hash_of(key, data, bytes)};
    int good;

    if (!file) {
        close(descriptor);
        return 0;
    }
    memcpy(h.magic, magic, sizeof magic);
    good = fwrite(&h, sizeof h, 1, file) == 1 && fwrite(key, 1, h.key_bytes, file) == h.key_bytes &&
           fwrite(data, 1, bytes, file) == bytes;
    return fclose(file) == 0 && good;
}

void cache_write(const char *key, const void *data, size_t bytes) {
    char name[PATH_MAX], temporary[PATH_MAX + 8];
    int descriptor;

    if (bytes > LIMIT || !file_name(name, key, 1))
        return;
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", name);
    descriptor = mkstemp(temporary);
    if (descriptor < 0)
        return;
    if (!write_file(descriptor, key, data, bytes) || rename(temporary, name) != 0)
        unlink(temporary);
}
