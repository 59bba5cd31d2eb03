/*
 * change.h - from a copy of a vector to the next one that all hold, in few bytes (docs/format.md
 * section 8)
 *
 * Whoever follows a vector that changes holds a copy of it. The change leads the copy towards the
 * vector, as far as a blob of few bytes can; what it misses is a part of the next change. It ends
 * with the checksum of the copy that it leads to: so both sides know that they hold the same bits.
 */
#ifndef GANN_CHANGE_H
#define GANN_CHANGE_H

#include "blob.h"

/* Computes the bytes of a change of count numbers: a blob and a CRC-32C. */
size_t change_size(size_t count, blob_element element);

/*
 * Writes the change that leads the copy towards the target, and changes the copy accordingly.
 * scratch[count] is overwritten; the change must be aligned for floats. Returns 0 if the difference
 * is not finite.
 */
int change_make(unsigned char *change, float *copy, const float *target, float *scratch,
                size_t count, blob_element element);

/*
 * Checks a change of any origin and applies it to the copy. BLOB_CRC: it was damaged, or the copy
 * was not the one it was made for. Unless BLOB_OK, the copy's numbers are undefined.
 */
blob_status change_apply(float *copy, const unsigned char *change, size_t size, size_t count,
                         blob_element element);

#endif
