/*
 * file_kind.h - the kind of a file, by its first bytes: for messages about files that can't be used
 */
#ifndef GANN_FILE_KIND_H
#define GANN_FILE_KIND_H

#include <stddef.h>
#include <stdint.h>

#define FILE_KIND_HEAD 512 /* bytes that file_kind_of() needs, or the whole of a shorter file */

typedef struct file_kind {
    const char *what;   /* "a web page (HTML)" */
    const char *remedy; /* one sentence: how to get images out of it, or what to give instead */
} file_kind;

/* Names the kind of a file. Never fails: the rest are "a file of an unknown kind". */
file_kind file_kind_of(const unsigned char *head, size_t size);

/* Writes a size for people: "812 bytes", "2 kB", "1.4 GB". */
void file_size_text(uint64_t size, char *text, size_t text_size);

#endif
