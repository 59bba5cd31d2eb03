/*
 * change.h - changes of a vector: from the copy that all workers hold to the next one, in few bytes
 * (docs/format.md section 8)
 *
 * The server has a vector, and every worker has the same copy of it. A change, which is a small
 * blob, moves the copy closer to the vector; the rounding error becomes part of the next change. A
 * change ends with the checksum of the new copy, so that both sides know that they hold the same
 * bits.
 */
#ifndef GANN_CHANGE_H
#define GANN_CHANGE_H

#include "blob.h"

/* Computes the bytes of a change of count numbers: a blob and a CRC-32C. */
size_t change_size(size_t count, blob_element element);

/*
 * Writes the change that moves the copy towards the target, and applies it to the copy.
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
