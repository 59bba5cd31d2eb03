/*
 * feed_units - submits units without computing them: joins a run, claims, uploads random finite
 * gradients, submits. So only the server's cost is left.
 *
 *   feed_units CONNECTION RUN UNITS [NAME [SEED]]
 *
 * CONNECTION is a student's connection string. Ends after UNITS units, or with the run. Prints
 * one line per unit
 *
 *   unit <unit> iteration <iteration> claim_ms <…> upload_ms <…> submit_ms <…>
 *
 * and at the end `units <n> upload_seconds_median <…>`. An upload is all shards of a unit,
 * statistics included, in pipeline mode, each in a transaction of its own. Exit status 1: an answer
 * that was not to be expected.
 */
#include "../../src/dcgan/dcgan.h"
#include "../../src/formats/wire/blob.h"

#include <arpa/inet.h>
#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct feeder {
    PGconn *connection;
    int run, worker;
    size_t shards; /* of the parameters; the statistics are one more */
    unsigned char **blobs;
    size_t *sizes;
} feeder;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void die(const feeder *f, const char *what) {
    fprintf(stderr, "feed_units: %s: %s\n", what,
            f->connection ? PQerrorMessage(f->connection) : "");
    exit(1);
}

static PGresult *query(feeder *f, const char *text, int count, const char *const *values) {
    PGresult *result = PQexecParams(f->connection, text, count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        die(f, text);
    return result;
}

/* Fills a shard with numbers of a gradient's size, positive ones: as statistics they are possible,
 * too. */
static void fill(float *values, size_t count, uint64_t *state) {
    for (size_t i = 0; i < count; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(*state >> 40) * 0x1p-24f * 0.01f;
    }
}

static void make_blobs(feeder *f, const dcgan_model *model, uint64_t seed) {
    f->shards = shard_total(model->parameter_count);
    f->blobs = calloc(f->shards + 1, sizeof *f->blobs);
    f->sizes = calloc(f->shards + 1, sizeof *f->sizes);
    for (size_t k = 0; f->blobs && f->sizes && k <= f->shards; k++) {
        size_t count =
            k < f->shards ? shard_length(model->parameter_count, k) : model->statistics_count;
        float *values = malloc(count * sizeof *values);
        f->sizes[k] = blob_size(count);
        f->blobs[k] = malloc(f->sizes[k]);
        if (!values || !f->blobs[k])
            die(f, "out of memory");
        fill(values, count, &seed);
        blob_write(f->blobs[k], values, count);
        free(values);
    }
}

/* Joins under a name; the first one of a run says what the dataset is. */
static void join_run(feeder *f, const char *run, const char *name, uint64_t seed) {
    PGresult *r =
        query(f,
              "SELECT channels, image_size, latent, generator_features, discriminator_features, "
              "run, coalesce(dataset_images, 1000000), encode(coalesce(dataset_digest, "
              "decode(repeat('00', 32), 'hex')), 'hex') FROM gan_run_config($1)",
              1, (const char *[]){run});
    dcgan_config config = {.channels = (uint32_t)atoi(PQgetvalue(r, 0, 0)),
                           .image_size = (uint32_t)atoi(PQgetvalue(r, 0, 1)),
                           .latent = (uint32_t)atoi(PQgetvalue(r, 0, 2)),
                           .generator_features = (uint32_t)atoi(PQgetvalue(r, 0, 3)),
                           .discriminator_features = (uint32_t)atoi(PQgetvalue(r, 0, 4))};
    dcgan_model model;
    PGresult *joined;

    if (dcgan_model_init(&model, &config) != DCGAN_OK)
        die(f, "the run's network");
    make_blobs(f, &model, seed);
    joined = query(
        f, "SELECT gan_join($1, $2, $3, decode($4, 'hex'), 1, 1, '', '')", 4,
        (const char *[]){PQgetvalue(r, 0, 5), name, PQgetvalue(r, 0, 6), PQgetvalue(r, 0, 7)});
    f->worker = atoi(PQgetvalue(joined, 0, 0));
    PQclear(joined);
    PQclear(r);
}

/* Uploads all shards in pipeline mode, each in a transaction of its own. */
static void upload(feeder *f, const char *unit, const char *token) {
    if (!PQenterPipelineMode(f->connection))
        die(f, "pipeline mode");
    for (size_t k = 0; k <= f->shards; k++) {
        char shard[24];
        snprintf(shard, sizeof shard, "%zu", k);
        if (!PQsendQueryParams(f->connection, "SELECT gan_upload($1, $2, $3, $4)", 4,
                               (const unsigned[]){20, 2950, 23, 17},
                               (const char *[]){unit, token, shard, (const char *)f->blobs[k]},
                               (const int[]){0, 0, 0, (int)f->sizes[k]}, (const int[]){0, 0, 0, 1},
                               0) ||
            !PQpipelineSync(f->connection))
            die(f, "upload");
    }
    for (size_t k = 0; k <= f->shards; k++) {
        PGresult *r = PQgetResult(f->connection);
        if (PQresultStatus(r) != PGRES_TUPLES_OK || (strcmp(PQgetvalue(r, 0, 0), "accepted") != 0 &&
                                                     strcmp(PQgetvalue(r, 0, 0), "already") != 0))
            die(f, PQresultStatus(r) == PGRES_TUPLES_OK ? PQgetvalue(r, 0, 0) : "gan_upload");
        PQclear(r);
        PQclear(PQgetResult(f->connection)); /* the end of the statement */
        r = PQgetResult(f->connection);
        if (PQresultStatus(r) != PGRES_PIPELINE_SYNC)
            die(f, "the pipeline's end");
        PQclear(r);
    }
    if (!PQexitPipelineMode(f->connection))
        die(f, "pipeline mode");
}

/* Does one unit; returns the milliseconds of its upload, 0 if there was no work, -1 if there will
 * be none. */
static double feed_unit(feeder *f) {
    char worker[16];
    double begin = now_ms(), claimed, uploaded;
    PGresult *claim, *submitted;
    const char *reason;

    snprintf(worker, sizeof worker, "%d", f->worker);
    claim = query(
        f, "SELECT unit, token, iteration, reason, retry_seconds, weights_nonce FROM gan_claim($1)",
        1, (const char *[]){worker});
    reason = PQgetvalue(claim, 0, 3);
    if (strcmp(reason, "work") != 0) {
        int over = strcmp(reason, "finished") == 0 || strcmp(reason, "stopped") == 0;
        PQclear(claim);
        if (!over)
            nanosleep(&(struct timespec){0, 5000000}, NULL);
        return over ? -1 : 0;
    }
    claimed = now_ms();
    upload(f, PQgetvalue(claim, 0, 0), PQgetvalue(claim, 0, 1));
    uploaded = now_ms();
    submitted =
        query(f, "SELECT answer, message FROM gan_submit($1, $2, $3, 64, 1, 1, 0.5, 0.5)", 3,
              (const char *[]){PQgetvalue(claim, 0, 0), PQgetvalue(claim, 0, 1),
                               PQgetvalue(claim, 0, 5)});
    if (strcmp(PQgetvalue(submitted, 0, 0), "accepted") != 0)
        die(f, PQgetvalue(submitted, 0, 1));
    printf("unit %s iteration %s claim_ms %.2f upload_ms %.2f submit_ms %.2f\n",
           PQgetvalue(claim, 0, 0), PQgetvalue(claim, 0, 2), claimed - begin, uploaded - claimed,
           now_ms() - uploaded);
    fflush(stdout);
    PQclear(submitted);
    PQclear(claim);
    return uploaded - claimed;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    feeder f = {0};
    size_t wanted, done = 0;
    double *taken;

    if (count < 4) {
        fprintf(stderr, "usage: feed_units CONNECTION RUN UNITS [NAME [SEED]]\n");
        return 2;
    }
    wanted = strtoul(arguments[3], NULL, 10);
    taken = calloc(wanted + 1, sizeof *taken);
    f.connection = PQconnectdb(arguments[1]);
    if (!taken || PQstatus(f.connection) != CONNECTION_OK)
        die(&f, "connection");
    join_run(&f, arguments[2], count > 4 ? arguments[4] : "feeder",
             count > 5 ? strtoull(arguments[5], NULL, 10) : 1);
    while (done < wanted) {
        double ms = feed_unit(&f);
        if (ms < 0)
            break;
        if (ms > 0)
            taken[done++] = ms;
    }
    qsort(taken, done, sizeof *taken, ascending);
    printf("units %zu upload_seconds_median %.4f\n", done, done ? taken[done / 2] * 1e-3 : 0.0);
    PQfinish(f.connection);
    return 0;
}
