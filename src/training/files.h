/*
 * files.h - whole files, in and out
 */
#ifndef GANN_FILES_H
#define GANN_FILES_H

#include <stddef.h>

/* Reads a file into memory that the caller frees; NULL with one line in error, which names the
 * file. */
unsigned char *file_read(const char *path, size_t *size, char *error, size_t error_size);

/* Writes a file under a temporary name and renames it, so that nobody sees half of it. Returns 0,
 * or -1 with one line in error. */
int file_write(const char *path, const void *bytes, size_t size, char *error, size_t error_size);

#endif
