/*
 * audit.c - compares two results of the same work, number by number
 *
 * Units are deterministic, so two honest accounts agree up to rounding, whatever processors they
 * have. G, D and the batch-norm statistics are compared separately, and the worst of the three
 * counts: a cheat that spoils only the smaller network must not hide behind the larger one. It
 * needs the memory of two shards.
 */
#include "../store/store.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include <math.h>

/* The groups that are compared separately. */
enum { OF_GENERATOR, OF_DISCRIMINATOR, OF_STATISTICS, GROUPS };

/* Sums over the numbers of a group, in double precision: |a|², |b|², |a - b|² and a·b. */
typedef struct agreement {
    double a, b, difference, product;
} agreement;

static void add_numbers(agreement *s, const float *a, const float *b, size_t count) {
    for (size_t j = 0; j < count; j++) {
        double x = a[j], y = b[j];
        s->a += x * x;
        s->b += y * y;
        s->difference += (x - y) * (x - y);
        s->product += x * y;
    }
}

/* The length of the difference relative to the longer of the two. */
static double relative_error(const agreement *s) {
    return s->difference > 0 ? sqrt(s->difference / Max(s->a, s->b)) : 0;
}

static double cosine(const agreement *s) {
    if (s->difference == 0)
        return 1;
    return s->a > 0 && s->b > 0 ? Min(1, s->product / sqrt(s->a * s->b)) : 0;
}

/* Adds the part of a shard that belongs to a network. */
static void add_network(agreement *s, const gan_run *run, dcgan_networks network, int32 shard,
                        const float *a, const float *b, size_t count) {
    size_t begin = (size_t)shard * SHARD_COUNT, end = begin + count, first, length;

    dcgan_networks_range(&run->model, network, &first, &length);
    end = Min(end, first + length);
    first = Max(first, begin);
    if (first < end)
        add_numbers(s, a + (first - begin), b + (first - begin), end - first);
}

/* Reads a shard of a unit's result; it is an error if the shard is missing or damaged. */
static const float *read_result(const gan_run *run, gan_pieces *pieces, int64 unit, int32 shard,
                                unsigned char *blob) {
    size_t count = gan_shard_length(&run->model, shard);

    if (!gan_pieces_read(pieces, unit, shard, blob, blob_size(count)))
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("shard %d of unit " INT64_FORMAT " is missing", shard, unit)));
    gan_blob_require(blob_check(blob, blob_size(count), count), "gan_gradient", shard);
    return gan_blob_values(blob);
}

/* Compares the results of two units of an iteration, shard by shard. */
static void compare(const gan_run *run, gan_pieces *pieces, int64 one, int64 other,
                    agreement sums[GROUPS]) {
    unsigned char *blobs[2] = {gan_blob_new(SHARD_COUNT), gan_blob_new(SHARD_COUNT)};
    dcgan_networks stepped = gan_networks_stepped(run, run->iteration);

    for (int32 shard = 0; shard <= run->shards; shard++) {
        size_t count = gan_shard_length(&run->model, shard);
        const float *a, *b;
        CHECK_FOR_INTERRUPTS();
        if (!gan_shard_needed(run, run->iteration, shard))
            continue;
        a = read_result(run, pieces, one, shard, blobs[0]);
        b = read_result(run, pieces, other, shard, blobs[1]);
        if (shard == run->shards)
            add_numbers(&sums[OF_STATISTICS], a, b, count);
        else {
            if (stepped != DCGAN_DISCRIMINATOR_ONLY)
                add_network(&sums[OF_GENERATOR], run, DCGAN_GENERATOR_ONLY, shard, a, b, count);
            if (stepped != DCGAN_GENERATOR_ONLY)
                add_network(&sums[OF_DISCRIMINATOR], run, DCGAN_DISCRIMINATOR_ONLY, shard, a, b,
                            count);
        }
    }
}

PG_FUNCTION_INFO_V1(gan_compare_results);

/* Returns how far the results of two units of an iteration are apart: the largest relative error of
 * G, D and the statistics, and the smallest cosine. */
Datum gan_compare_results(PG_FUNCTION_ARGS) {
    agreement sums[GROUPS] = {{0}};
    double error = 0, least = 1;
    Snapshot snapshot;
    TupleDesc descriptor;
    gan_pieces pieces;
    gan_run run;

    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_compare_results must return a row");
    BlessTupleDesc(descriptor);
    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    gan_run_at(&run, PG_GETARG_INT32(1));
    snapshot = RegisterSnapshot(GetLatestSnapshot());
    gan_pieces_open(&pieces, GAN_GRADIENT, run.run, run.iteration, snapshot);
    compare(&run, &pieces, PG_GETARG_INT64(2), PG_GETARG_INT64(3), sums);
    gan_pieces_close(&pieces);
    UnregisterSnapshot(snapshot);
    SPI_finish();
    for (int i = 0; i < GROUPS; i++) {
        error = Max(error, relative_error(&sums[i]));
        least = Min(least, cosine(&sums[i]));
    }
    PG_RETURN_DATUM(HeapTupleGetDatum(
        heap_form_tuple(descriptor, (Datum[]){Float8GetDatum(error), Float8GetDatum(least)},
                        (bool[]){false, false})));
}
