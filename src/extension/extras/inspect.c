/*
 * inspect.c - checks the state of a run's current iteration: every blob is there and undamaged,
 * every number is finite, second moments and variances are not negative, and the digest is that in
 * gan_history
 */
#include "../store/store.h"
#include "../claim/result.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

/* Looks at one part of a shard; returns what is wrong, or null. */
static char *inspect_blob(const gan_run *run, gan_part part, int32 shard, const unsigned char *blob,
                          size_t count) {
    const float *values = (const float *)(blob + BLOB_HEADER_SIZE);
    blob_status status = blob_check(blob, blob_size(count), count);
    size_t negative;

    if (status != BLOB_OK)
        return psprintf("part %d: shard %d %s", part, shard, blob_status_text(status));
    if (!dcgan_finite(values, count, NULL))
        return psprintf("part %d: shard %d holds NaN or infinity", part, shard);
    if (part == GAN_SECOND_MOMENT && (negative = gan_first_negative(values, count)) < count)
        return psprintf("second moment: shard %d, number %zu is %g", shard, negative,
                        values[negative]);
    if (shard == run->shards && !gan_variances_possible(&run->model, values))
        return pstrdup("a running variance is negative");
    return NULL;
}

/* Looks at all parts of a shard that are numbers; notes the checksum of the weights. */
static char *inspect_shard(const gan_run *run, gan_pieces *state, int32 shard, unsigned char *blob,
                           uint32 *checksum) {
    size_t count = gan_shard_length(&run->model, shard);

    for (gan_part part = 0; part < GAN_PARTS; part++) {
        char *problem;
        CHECK_FOR_INTERRUPTS();
        if (part == GAN_CHANGE || !gan_shard_has(run, part, shard))
            continue;
        if (!gan_pieces_read(state, part, shard, blob, blob_size(count)))
            return psprintf("part %d: shard %d of iteration %d is missing, or of another length",
                            part, shard, run->iteration);
        problem = inspect_blob(run, part, shard, blob, count);
        if (problem)
            return problem;
        if (part == GAN_WEIGHTS)
            *checksum = blob_stored_crc(blob);
    }
    return NULL;
}

/* Compares the digest of the weights with the one that the last step has stored in gan_history. */
static char *inspect_digest(const gan_run *run, const uint32 *checksums) {
    uint8 digest[32];

    gan_digest(checksums, run->shards + 1, digest);
    if (gan_execute(
            "SELECT FROM gan_history WHERE run = $1 AND iteration = $2 - 1 AND weights_digest = $3"
            /* no step made these */
            " UNION ALL SELECT FROM gan_run WHERE run = $1 AND first_iteration = $2",
            3, (Oid[]){INT4OID, INT4OID, BYTEAOID},
            (Datum[]){Int32GetDatum(run->run), Int32GetDatum(run->iteration),
                      PointerGetDatum(gan_bytea(digest, sizeof digest))},
            true) == 1)
        return NULL;
    return psprintf("gan_history has another digest than the weights of iteration %d",
                    run->iteration);
}

PG_FUNCTION_INFO_V1(gan_inspect);

/* Returns the first thing that is wrong with the state of a run's current iteration; null if
 * nothing is. */
Datum gan_inspect(PG_FUNCTION_ARGS) {
    MemoryContext caller = CurrentMemoryContext;
    Snapshot snapshot;
    gan_pieces state;
    gan_run run;
    char *problem = NULL;
    text *answer = NULL;

    SPI_connect();
    gan_run_read(&run, gan_run_find(fcinfo, 0), false);
    snapshot = RegisterSnapshot(GetLatestSnapshot());
    gan_pieces_open(&state, GAN_STATE, run.run, run.iteration, snapshot);
    state.lenient = true;
    {
        unsigned char *blob = gan_blob_new(SHARD_COUNT);
        uint32 *checksums = palloc0((run.shards + 1) * sizeof *checksums);
        for (int32 shard = 0; shard <= run.shards && !problem; shard++)
            problem = inspect_shard(&run, &state, shard, blob, &checksums[shard]);
        if (!problem)
            problem = inspect_digest(&run, checksums);
    }
    gan_pieces_close(&state);
    UnregisterSnapshot(snapshot);
    if (problem) {
        MemoryContext inner = MemoryContextSwitchTo(caller); /* what is returned must outlive SPI */
        answer = cstring_to_text(problem);
        MemoryContextSwitchTo(inner);
    }
    SPI_finish();
    if (!answer)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(answer);
}
