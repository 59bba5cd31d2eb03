/*
 * assets.h - the files of the page, compiled in: one binary runs anywhere
 */
#ifndef GANN_ASSETS_H
#define GANN_ASSETS_H

#include <stddef.h>

typedef struct asset {
    const char *name;
    const char *type; /* MIME type */
    const char *data, *end;
    const char *packed, *packed_end; /* the same by gzip */
    char etag[24];                   /* with its quotes; of the content */
} asset;

/* Finds a file of the page; NULL if there is none of that name. */
const asset *assets_find(const char *name);

/* Writes the entity tag of bytes, with its quotes: FNV-1a of 64 bits, which only tells versions
 * apart. */
void assets_etag(char etag[24], const char *data, size_t size);

#endif
