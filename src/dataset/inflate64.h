/*
 * inflate64.h - decompresses Deflate64 (zip's method 9), which neither zlib nor libzip can
 */
#ifndef GANN_INFLATE64_H
#define GANN_INFLATE64_H

#include <stddef.h>

/* Decompresses all of from into exactly size bytes. Returns 0, or -1 if the data are damaged. */
int inflate64(const unsigned char *from, size_t from_size, unsigned char *to, size_t size);

#endif
