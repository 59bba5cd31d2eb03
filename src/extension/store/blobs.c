/*
 * blobs.c - a shard in memory: a header and its numbers (docs/format.md section 8)
 */
#include "store.h"

#include "common/cryptohash.h"

/* Allocates a blob for count numbers, which begin at a cache line; to be filled in and sealed. */
unsigned char *gan_blob_new(size_t count) {
    char *memory = palloc(blob_size(count) + 2 * PG_CACHE_LINE_SIZE);
    return (unsigned char *)TYPEALIGN(PG_CACHE_LINE_SIZE, memory + BLOB_HEADER_SIZE) -
           BLOB_HEADER_SIZE;
}

/* Returns the numbers of a blob. */
float *gan_blob_values(unsigned char *blob) {
    return (float *)(blob + BLOB_HEADER_SIZE);
}

/* Writes the header, checksum included, when the numbers are in place. */
void gan_blob_seal(unsigned char *blob, size_t count) {
    blob_write(blob, gan_blob_values(blob), count);
}

/* Raises an error unless a stored blob is undamaged (it may have been damaged on disk, or in a
 * dump). */
void gan_blob_require(blob_status status, const char *what, int32 shard) {
    if (status != BLOB_OK)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("%s: the stored shard %d %s", what,
                                                                shard, blob_status_text(status))));
}

/* Computes the digest of a state: SHA-256 of the checksums of its weights' shards, statistics
 * last. */
void gan_digest(const uint32 *checksums, int count, uint8 digest[32]) {
    pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

    if (!hash || pg_cryptohash_init(hash) < 0 ||
        pg_cryptohash_update(hash, (const uint8 *)checksums, count * sizeof *checksums) < 0 ||
        pg_cryptohash_final(hash, digest, 32) < 0)
        elog(ERROR, "could not compute a SHA-256");
    pg_cryptohash_free(hash);
}

/* Returns where the first negative number is, count if there is none: Adam takes the root of second
 * moments. */
size_t gan_first_negative(const float *values, size_t count) {
    size_t i = 0;

    while (i < count && !(values[i] < 0))
        i++;
    return i;
}
