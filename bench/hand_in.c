/*
 * hand_in.c - a student that computes nothing: claims, uploads random gradients, submits
 *
 *   hand_in step URI RUN UNITS ITERATIONS [URI…]      ticks and takes the step by hand, as the
 *       administrator; these students submit units in turns
 *   hand_in react URI RUN UNITS ITERATIONS             a coordinator runs beside it
 *   hand_in grow URI RUN UNITS ITERATIONS SECONDS      as step, for at most SECONDS
 *
 * URI is the student's; the administrator's connection comes from PGHOST and so on. One sample per
 * line:
 *
 *   upload S, upload_one_by_one S
 *       seconds of a unit's shards, checksums and acknowledgements in it: all sent at once (libpq's
 *       pipeline mode), or each after the last one's answer
 *   download S, download_one_by_one S
 *       the same of an iteration's weights
 *   step S
 *       seconds of gan_aggregate, its commit in it
 *   react S
 *       from sending an iteration's last submission to holding a unit of the next
 *   size ITERATION MB
 *       of the database when the units of iteration 1, 2, ... are in
 */
#include "client.h"
#include "samples.h"
#include "../src/formats/wire/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 60.0 /* seconds to wait for an iteration */

/* Seconds of computing a unit, by which the work that follows a step is over. */
#define COMPUTING 0.1

#define MOST_STUDENTS 64

typedef struct feed {
    PGconn *student, *admin; /* student and worker: of the current turn */
    client_run run;
    dcgan_model model;
    int worker, units;
    PGconn *students[MOST_STUDENTS];
    int workers[MOST_STUDENTS], student_count;
    float *gradient, *statistics, *weights;
    unsigned char *blob;
} feed;

/* Draws a number between 0 and 1: the same ones each time. */
static float uniform(void) {
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 16777216.0f;
}

/* Allocates. */
static void *take(size_t bytes) {
    void *memory = malloc(bytes);

    if (!memory)
        client_fail("no memory for %zu bytes", bytes);
    return memory;
}

/* Numbers of the vector's shard; the last one holds the statistics. */
static size_t length(const feed *f, int shard) {
    return shard == f->run.shards ? f->model.statistics_count
                                  : shard_length(f->model.parameter_count, (size_t)shard);
}

/* Gives a student the turn. */
static void take_turn(feed *f, int turn) {
    f->student = f->students[turn % f->student_count];
    f->worker = f->workers[turn % f->student_count];
}

/* Connects a student and joins. */
static void add_student(feed *f, const char *uri) {
    PGconn *link = client_connect(uri);

    if (f->student_count == MOST_STUDENTS)
        client_fail("more than %d students", MOST_STUDENTS);
    f->students[f->student_count] = link;
    f->workers[f->student_count++] = client_join(link, f->run.run, "feed");
    PQclear(PQprepare(link, "upload", "SELECT gan_upload($1::int8, $2::uuid, $3::int4, $4::bytea)",
                      4, NULL));
    PQclear(PQprepare(link, "fetch", "SELECT gan_fetch_weights($1::int4, $2::int4, $3::int4)", 3,
                      NULL));
}

/* Connects, joins, draws a gradient. */
static void set_up(feed *f, const char *uri, const char *run, int units) {
    size_t parameters, statistics, largest;

    f->student = client_connect(uri);
    f->admin = client_connect("");
    f->units = units;
    client_read_run(f->student, run, &f->run);
    if (dcgan_model_init(&f->model, &f->run.network) != DCGAN_OK)
        client_fail("run %s has a network that this program does not know", run);
    parameters = f->model.parameter_count;
    statistics = f->model.statistics_count;
    largest = statistics > SHARD_COUNT ? statistics : SHARD_COUNT;
    f->gradient = take(parameters * sizeof(float));
    f->weights = take(((size_t)f->run.shards * SHARD_COUNT + statistics) * sizeof(float));
    f->statistics = take(statistics * sizeof(float));
    f->blob = take(blob_size(largest));
    for (size_t i = 0; i < parameters; i++)
        f->gradient[i] = 0.002f * uniform() - 0.001f;
    for (size_t i = 0; i < statistics; i++)
        f->statistics[i] = 0.5f + uniform();
    PQfinish(f->student);
    add_student(f, uri);
    take_turn(f, 0);
}

/* Frees what set_up took. */
static void tear_down(feed *f) {
    for (int i = 0; i < f->student_count; i++)
        PQfinish(f->students[i]);
    PQfinish(f->admin);
    free(f->gradient);
    free(f->weights);
    free(f->statistics);
    free(f->blob);
}

/* Ends the program if a call of libpq could not send. */
static void expect_sent(const feed *f, int sent) {
    if (!sent)
        client_fail("sending: %s", PQerrorMessage(f->student));
}

/* Sends one shard of a unit. */
static void send_shard(feed *f, const client_unit *unit, int shard) {
    size_t count = length(f, shard);
    char number[16];
    const char *const values[] = {unit->unit, unit->token, number, (const char *)f->blob};
    const int lengths[] = {0, 0, 0, (int)blob_size(count)}, formats[] = {0, 0, 0, 1};

    snprintf(number, sizeof number, "%d", shard);
    blob_write(f->blob,
               shard == f->run.shards ? f->statistics : f->gradient + (size_t)shard * SHARD_COUNT,
               count);
    expect_sent(f, PQsendQueryPrepared(f->student, "upload", 4, values, lengths, formats, 0));
}

/* Asks for one shard of the weights. */
static void send_request(feed *f, const client_unit *unit, int shard) {
    char numbers[3][16];
    const char *const values[] = {numbers[0], numbers[1], numbers[2]};

    snprintf(numbers[0], sizeof numbers[0], "%d", f->run.run);
    snprintf(numbers[1], sizeof numbers[1], "%d", unit->iteration);
    snprintf(numbers[2], sizeof numbers[2], "%d", shard);
    expect_sent(f, PQsendQueryPrepared(f->student, "fetch", 3, values, NULL, NULL, 1));
}

/* Checks the answer to an upload. */
static void take_answer(feed *f, const PGresult *row, int shard) {
    client_expect_rows(f->student, row, "gan_upload");
    if (strcmp(PQgetvalue(row, 0, 0), "accepted") != 0)
        client_fail("shard %d: %s", shard, PQgetvalue(row, 0, 0));
}

/* Checks and keeps a shard of the weights. */
static void take_weights(feed *f, const PGresult *row, int shard) {
    const unsigned char *blob;
    blob_status status;

    client_expect_rows(f->student, row, "gan_fetch_weights");
    blob = (const unsigned char *)PQgetvalue(row, 0, 0);
    status = blob_check(blob, (size_t)PQgetlength(row, 0, 0), length(f, shard));
    if (status != BLOB_OK)
        client_fail("shard %d of the weights %s", shard, blob_status_text(status));
    memcpy(f->weights + (size_t)shard * SHARD_COUNT, blob + BLOB_HEADER_SIZE,
           length(f, shard) * sizeof(float));
}

typedef void (*sender)(feed *f, const client_unit *unit, int shard);
typedef void (*taker)(feed *f, const PGresult *row, int shard);

/* Receives one statement's answer, and the pipeline's mark after it. */
static void receive(feed *f, taker take_one, int shard, int pipelined) {
    PGresult *row = PQgetResult(f->student);

    take_one(f, row, shard);
    PQclear(row);
    while ((row = PQgetResult(f->student)) != NULL) /* ends the statement */
        PQclear(row);
    if (!pipelined)
        return;
    row = PQgetResult(f->student);
    if (PQresultStatus(row) != PGRES_PIPELINE_SYNC)
        client_fail("the pipeline broke: %s", PQerrorMessage(f->student));
    PQclear(row);
}

/* Moves all shards, each in a transaction of its own; returns the seconds. */
static double transfer(feed *f, const client_unit *unit, int last, sender send_one, taker take_one,
                       int pipelined) {
    double start = samples_clock();

    if (pipelined)
        expect_sent(f, PQenterPipelineMode(f->student));
    for (int shard = 0; shard <= last; shard++) {
        send_one(f, unit, shard);
        if (pipelined)
            expect_sent(f, PQpipelineSync(f->student));
        else
            receive(f, take_one, shard, 0);
    }
    for (int shard = 0; pipelined && shard <= last; shard++)
        receive(f, take_one, shard, 1);
    if (pipelined)
        expect_sent(f, PQexitPipelineMode(f->student));
    return samples_clock() - start;
}

/* Claims the next unit, and waits for the next iteration if necessary. */
static void claim(feed *f, client_unit *unit) {
    double end = samples_clock() + PATIENCE;

    while (!client_claim(f->student, f->worker, unit)) {
        if (samples_clock() > end)
            client_fail("no work for %.0f s", PATIENCE);
        samples_sleep_until(samples_clock() + 0.001);
    }
}

/* Uploads a unit; pipelined or one by one. */
static void upload(feed *f, const client_unit *unit, int pipelined, int quiet) {
    double seconds = transfer(f, unit, f->run.shards, send_shard, take_answer, pipelined);

    if (!quiet)
        printf("%s %.6f\n", pipelined ? "upload" : "upload_one_by_one", seconds);
}

/* Takes the step; returns its seconds. */
static double step(feed *f, int iteration) {
    char numbers[2][16];
    const char *const values[] = {numbers[0], numbers[1]};
    double start = samples_clock();

    snprintf(numbers[0], sizeof numbers[0], "%d", iteration);
    snprintf(numbers[1], sizeof numbers[1], "%d", f->run.run);
    PQclear(client_query(f->admin, "SELECT gan_aggregate($1, $2)", 2, values));
    return samples_clock() - start;
}

/* Does what the coordinator does many times while the class computes. */
static void tick(feed *f) {
    char number[16];
    const char *const values[] = {number};

    snprintf(number, sizeof number, "%d", f->run.run);
    PQclear(client_query(f->admin, "SELECT gan_tick($1)", 1, values));
}

/* Measures everything but the coordinator. */
static void measure_step(feed *f, int iterations) {
    for (int i = 0; i < iterations; i++) {
        client_unit unit = {0};
        tick(f);
        for (int u = 0; u < f->units; u++) {
            take_turn(f, u);
            claim(f, &unit);
            if (u < 2)
                printf("%s %.6f\n", u ? "download_one_by_one" : "download",
                       transfer(f, &unit, f->run.shards, send_request, take_weights, !u));
            upload(f, &unit, u % 2 == 0, 0);
            client_submit(f->student, &unit);
        }
        printf("step %.6f\n", step(f, unit.iteration));
    }
}

/* Measures how soon the next iteration begins. */
static void measure_reaction(feed *f, int iterations) {
    client_unit unit = {0};

    claim(f, &unit);
    for (int i = 0; i < iterations; i++) {
        double start = 0;
        for (int u = 0; u < f->units; u++) {
            upload(f, &unit, 1, 1);
            samples_sleep_until(samples_clock() + COMPUTING);
            start = samples_clock();
            client_submit(f->student, &unit);
            claim(f, &unit);
        }
        printf("react %.6f\n", samples_clock() - start);
    }
}

/* Prints the size of the database. */
static void print_size(feed *f, int iteration) {
    printf("size %d %.1f\n", iteration,
           client_number(f->admin, "SELECT pg_database_size(current_database()) / 1e6"));
    fflush(stdout);
}

/* Watches the database grow. */
static void measure_growth(feed *f, int iterations, double seconds) {
    double end = samples_clock() + seconds;
    int i;

    for (i = 1; i <= iterations && samples_clock() < end; i++) {
        client_unit unit = {0};
        tick(f);
        for (int u = 0; u < f->units; u++) {
            claim(f, &unit);
            upload(f, &unit, 1, 1);
            client_submit(f->student, &unit);
        }
        print_size(f, i); /* at its largest: all units are submitted */
        step(f, unit.iteration);
    }
}

int main(int argc, char **argv) {
    feed f = {0};
    int units, iterations;

    if (argc < 6 || (units = atoi(argv[4])) < 1 || (iterations = atoi(argv[5])) < 1)
        client_fail("usage: feed step|react|grow URI RUN UNITS ITERATIONS [SECONDS]");
    set_up(&f, argv[2], argv[3], units);
    for (int i = 6; strcmp(argv[1], "step") == 0 && i < argc; i++)
        add_student(&f, argv[i]);
    if (strcmp(argv[1], "step") == 0)
        measure_step(&f, iterations);
    else if (strcmp(argv[1], "react") == 0)
        measure_reaction(&f, iterations);
    else if (strcmp(argv[1], "grow") == 0 && argc > 6)
        measure_growth(&f, iterations, atof(argv[6]));
    else
        client_fail("feed %s is not known", argv[1]);
    tear_down(&f);
    return 0;
}
