/*
 * change.c - changes of a vector: from the copy that all workers hold to the next one
 */
#include "change.h"

#include <string.h>

size_t change_size(size_t count, blob_element element) {
    return blob_size_of(count, element) + sizeof(uint32_t);
}

int change_make(unsigned char *change, float *copy, const float *target, float *scratch,
                size_t count, blob_element element) {
    uint32_t crc;

    for (size_t i = 0; i < count; i++)
        scratch[i] = target[i] - copy[i];
    if (!blob_encode(change, scratch, count, element))
        return 0;
    blob_add(copy, change, count, element);
    crc = blob_crc32c(copy, count * sizeof *copy);
    memcpy(change + blob_size_of(count, element), &crc, sizeof crc);
    return 1;
}

blob_status change_apply(float *copy, const unsigned char *change, size_t size, size_t count,
                         blob_element element) {
    blob_status status;
    uint32_t crc;

    if (size != change_size(count, element))
        return size < BLOB_HEADER_SIZE ? BLOB_SHORT : BLOB_LENGTH;
    status = blob_check_element(change, size - sizeof crc, count, element);
    if (status != BLOB_OK)
        return status;
    blob_add(copy, change, count, element);
    memcpy(&crc, change + size - sizeof crc, sizeof crc);
    return blob_crc32c(copy, count * sizeof *copy) == crc ? BLOB_OK : BLOB_CRC;
}
