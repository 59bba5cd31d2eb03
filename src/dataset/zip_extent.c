/*
 * zip_extent.c - where in a file a zip archive lies
 *
 * An archive may follow other bytes (a program that unpacks it) or precede some. unzip reads such
 * files; libzip reads them only if it is given the part that is the archive. We find that part by
 * the record at its end.
 */
#define _POSIX_C_SOURCE 200809L

#include "source.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define END_SIZE 22   /* of the record at the end, without the comment */
#define END64_SIZE 56 /* of Zip64's record, as all programs write it */
#define LOCATOR_SIZE 20
#define SEARCHED                                                                                   \
    (END_SIZE + 65535 + 65536) /* bytes at the file's end: a comment, and as many after it */

/* The directory as a record at the end describes it. */
typedef struct directory {
    uint64_t offset, size, entries;
    uint64_t end; /* the place of the first record after it */
} directory;

static uint64_t number(const unsigned char *at, size_t bytes) {
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | at[bytes];
    return value;
}

static bool read_at(int file, uint64_t place, unsigned char *bytes, size_t size) {
    return place <= INT64_MAX && pread(file, bytes, size, (off_t)place) == (ssize_t)size;
}

static bool has_signature(int file, uint64_t place, const char signature[4]) {
    unsigned char bytes[4];

    return read_at(file, place, bytes, 4) && memcmp(bytes, signature, 4) == 0;
}

/* Reads Zip64's record, if there is one before the record at place. */
static void read_zip64(int file, uint64_t place, directory *d) {
    unsigned char end[END64_SIZE];

    if (place < LOCATOR_SIZE + END64_SIZE || !has_signature(file, place - LOCATOR_SIZE, "PK\6\7") ||
        !read_at(file, place - LOCATOR_SIZE - END64_SIZE, end, sizeof end) ||
        memcmp(end, "PK\6\6", 4) != 0)
        return;
    d->entries = number(end + 32, 8);
    d->size = number(end + 40, 8);
    d->offset = number(end + 48, 8);
    d->end = place - LOCATOR_SIZE - END64_SIZE;
}

/* Finds the start of the archive for which its directory is where the record says. Returns false if
 * the directory isn't there. */
static bool find_start(int file, const directory *d, uint64_t *start) {
    if (d->size > d->end || d->offset > d->end - d->size)
        return false;
    *start = 0;
    if (d->entries == 0 || has_signature(file, d->offset, "PK\1\2"))
        return true;
    *start = d->end - d->size - d->offset;
    return has_signature(file, *start + d->offset, "PK\1\2");
}

/* Tries a record at the end. */
static zip_extent_outcome try_end(int file, const unsigned char *end, uint64_t place,
                                  uint64_t *start) {
    directory d = {.entries = number(end + 10, 2),
                   .size = number(end + 12, 4),
                   .offset = number(end + 16, 4),
                   .end = place};
    uint64_t disk = number(end + 4, 2), disks = number(end + 6, 2);

    if (disk != 0xffff && (disk != 0 || disks != 0))
        return ZIP_SPLIT;
    read_zip64(file, place, &d);
    return find_start(file, &d, start) ? ZIP_WHOLE : ZIP_NO_DIRECTORY;
}

/* Searches the last bytes of a file, which begin at a place in it. */
static zip_extent_outcome search(int file, const unsigned char *tail, size_t size, uint64_t first,
                                 uint64_t *start, uint64_t *length) {
    zip_extent_outcome outcome = ZIP_NO_DIRECTORY;

    for (size_t at = size < END_SIZE ? 0 : size - END_SIZE + 1; at-- > 0;) {
        size_t end = at + END_SIZE;
        zip_extent_outcome found;

        if (memcmp(tail + at, "PK\5\6", 4) != 0)
            continue;
        end += (size_t)number(tail + at + 20, 2);
        found = try_end(file, tail + at, first + at, start);
        if (found == ZIP_WHOLE) {
            *length = first + (end < size ? end : size) - *start;
            return found;
        }
        outcome = found == ZIP_SPLIT ? found : outcome;
    }
    return outcome;
}

zip_extent_outcome dataset_zip_extent(const char *path, uint64_t *start, uint64_t *length) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char *tail = malloc(SEARCHED);
    zip_extent_outcome outcome = ZIP_NO_DIRECTORY;
    struct stat status;

    if (file >= 0 && tail != NULL && fstat(file, &status) == 0) {
        size_t size = status.st_size < SEARCHED ? (size_t)status.st_size : SEARCHED;
        uint64_t first = (uint64_t)status.st_size - size;

        if (read_at(file, first, tail, size))
            outcome = search(file, tail, size, first, start, length);
    }
    free(tail);
    if (file >= 0)
        close(file);
    return outcome;
}
