/*
 * claim_load.c - many workers that claim units and release them again: how many claims a second, how long one
 * takes
 *
 *   claim_load [--clients 64] [--seconds 5] [--rate CLAIMS_A_SECOND] [--units 4096] [--old-snapshot]
 *
 * Connects by libpq's environment (PGHOST, PGDATABASE …) as an instructor who may create roles, makes a run and
 * a login of its own, and drops both at the end. Without --rate each client claims again as soon as it has its
 * answer: that gives the throughput, and latencies that are the queue's (clients / throughput). With --rate the
 * claims come at that pace in all, at moments drawn at random: that gives the latency under a load.
 * --old-snapshot lets one more session hold a snapshot from before the load, as a pg_dump would, so that
 * nothing that dies meanwhile can be cleaned up. Prints name, value and unit of each figure, one a line.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENTS_MAX 256
#define SAMPLES_MAX 2000000

typedef enum phase { IDLE, CLAIMING, RELEASING } phase;

typedef struct client {
    PGconn *link;
    phase at;
    char worker[16], unit[24], token[40];
    double due, sent; /* when to claim next; when the statement under way was sent */
} client;

static int clients = 64, units = 4096;
static double duration = 5, rate;
static bool old_snapshot;
static client all[CLIENTS_MAX];
static float *samples; /* milliseconds a claim */
static size_t claims, empty;
static PGconn *instructor, *holder;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void clean_up(void);

/* Ends with a message after cleaning up. */
static void fail(const char *what, const char *why) {
    static bool failing;
    fprintf(stderr, "claim_load: %s: %s\n", what, why);
    if (!failing) {
        failing = true;
        clean_up();
    }
    exit(1);
}

/* Runs a statement and returns its first value, to be freed. */
static char *ask(PGconn *link, const char *sql) {
    PGresult *r = PQexec(link, sql);
    char *answer;

    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
        fail(sql, PQerrorMessage(link));
    answer = strdup(PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    return answer;
}

static void tell(PGconn *link, const char *sql) {
    free(ask(link, sql));
}

/* Connects as the given user, or as the environment says. */
static PGconn *connect_as(const char *user) {
    const char *const names[] = {"user", "password", "fallback_application_name", NULL};
    const char *const values[] = {user, user, "claim_load", NULL};
    PGconn *link = PQconnectdbParams(names, values, 0);

    if (PQstatus(link) != CONNECTION_OK)
        fail("connecting", PQerrorMessage(link));
    return link;
}

/* Drops what set_up made. */
static void clean_up(void) {
    for (int i = 0; i < clients; i++)
        PQfinish(all[i].link);
    PQfinish(holder);
    holder = NULL;
    memset(all, 0, sizeof all);
    if (!instructor)
        return;
    PQclear(PQexec(instructor, "SELECT gan_drop_run(run) FROM gan_run WHERE name = 'claim load'"));
    PQclear(PQexec(instructor, "DROP ROLE IF EXISTS gan_claim_load"));
    PQfinish(instructor);
    instructor = NULL;
}

/* Makes the run, the login and a connection for each worker, with the two statements prepared. */
static void set_up(void) {
    char sql[512];

    instructor = connect_as(NULL);
    PQclear(PQexec(instructor, "SET client_min_messages = error"));
    tell(instructor, "CREATE ROLE gan_claim_load LOGIN PASSWORD 'gan_claim_load' IN ROLE gan_student");
    snprintf(
        sql, sizeof sql,
        "SELECT gan_create_run('claim load', seed => 1, channels => 1, image_size => 32, latent => 2, "
        "generator_features => 1, discriminator_features => 1, images_per_unit => 1, lease_seconds => 3600, "
        "units_per_iteration => %d, dataset_images => 100, dataset_digest => sha256('x'))",
        units);
    tell(instructor, sql);
    tell(instructor, "SELECT gan_start(run) FROM gan_run WHERE name = 'claim load'");
    tell(instructor, "ANALYZE gan_work_unit");
    for (int i = 0; i < clients; i++) {
        client *c = &all[i];
        PGresult *r;
        char *worker;

        c->link = connect_as("gan_claim_load");
        snprintf(sql, sizeof sql,
                 "SELECT gan_join((SELECT run FROM gan_run_config('claim load')), 'w%d', 100, sha256('x'), 1, "
                 "1, '', '')",
                 i % 64);
        worker = ask(c->link, sql);
        snprintf(c->worker, sizeof c->worker, "%s", worker);
        free(worker);
        r = PQprepare(c->link, "claim", "SELECT unit, token FROM gan_claim($1::int4)", 1, NULL);
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            fail("prepare", PQerrorMessage(c->link));
        PQclear(r);
        r = PQprepare(c->link, "release", "SELECT gan_release($1::int8, $2::uuid)", 2, NULL);
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            fail("prepare", PQerrorMessage(c->link));
        PQclear(r);
    }
    if (old_snapshot) {
        holder = connect_as(NULL);
        tell(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        tell(holder, "SELECT count(*) FROM gan_work_unit");
    }
}

/* Sends a client's next statement. */
static void send_next(client *c, phase next) {
    const char *claim[] = {c->worker}, *release[] = {c->unit, c->token};
    int sent = next == CLAIMING ? PQsendQueryPrepared(c->link, "claim", 1, claim, NULL, NULL, 0)
                                : PQsendQueryPrepared(c->link, "release", 2, release, NULL, NULL, 0);

    if (!sent)
        fail("send", PQerrorMessage(c->link));
    c->at = next;
    c->sent = now();
}

/* Chooses when a client claims next. */
static void schedule(client *c, double from) {
    c->at = IDLE;
    c->due = rate > 0 ? from + 2 * drand48() * clients / rate : from;
}

/* Takes a claim's answer: notes how long it took, releases the unit. */
static void take_claim(client *c, const PGresult *r) {
    double since = rate > 0 && c->due < c->sent ? c->due : c->sent; /* a claim that had to wait for its turn */

    if (claims < SAMPLES_MAX)
        samples[claims] = (float)((now() - since) * 1000);
    claims++;
    if (PQgetisnull(r, 0, 0)) {
        empty++;
        schedule(c, c->due);
        return;
    }
    snprintf(c->unit, sizeof c->unit, "%s", PQgetvalue(r, 0, 0));
    snprintf(c->token, sizeof c->token, "%s", PQgetvalue(r, 0, 1));
    send_next(c, RELEASING);
}

/* Reads what a client's connection has to say. */
static void receive(client *c) {
    PGresult *r, *kept = NULL;

    if (!PQconsumeInput(c->link))
        fail("receive", PQerrorMessage(c->link));
    if (PQisBusy(c->link))
        return;
    while ((r = PQgetResult(c->link)) != NULL) {
        if (PQresultStatus(r) != PGRES_TUPLES_OK)
            fail(c->at == CLAIMING ? "claim" : "release", PQresultErrorMessage(r));
        PQclear(kept);
        kept = r;
    }
    if (!kept)
        return;
    if (c->at == CLAIMING)
        take_claim(c, kept);
    else
        schedule(c, rate > 0 ? c->due : now());
    PQclear(kept);
}

/* Lets all clients claim and release for a while. */
static void load(double seconds) {
    struct pollfd fds[CLIENTS_MAX];
    double end = now() + seconds, at;

    for (int i = 0; i < clients; i++)
        schedule(&all[i], now());
    while ((at = now()) < end) {
        double next = end;
        for (int i = 0; i < clients; i++) {
            client *c = &all[i];
            if (c->at == IDLE && c->due <= at)
                send_next(c, CLAIMING);
            if (c->at == IDLE && c->due < next)
                next = c->due;
            fds[i] = (struct pollfd){.fd = PQsocket(c->link), .events = POLLIN};
        }
        struct timespec wait = {(time_t)(next - at), (long)((next - at - (double)(time_t)(next - at)) * 1e9)};
        if (ppoll(fds, (nfds_t)clients, &wait, NULL) > 0)
            for (int i = 0; i < clients; i++)
                if (fds[i].revents)
                    receive(&all[i]);
    }
    for (int i = 0; i < clients; i++) /* what is under way is neither counted nor left */
        while (all[i].at == CLAIMING || all[i].at == RELEASING) {
            PGresult *r = PQgetResult(all[i].link);
            if (!r)
                all[i].at = IDLE;
            PQclear(r);
        }
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (strcmp(arguments[i], "--old-snapshot") == 0)
            old_snapshot = true;
        else if (strcmp(arguments[i], "--clients") == 0)
            clients = atoi(value), i++;
        else if (strcmp(arguments[i], "--seconds") == 0)
            duration = atof(value), i++;
        else if (strcmp(arguments[i], "--rate") == 0)
            rate = atof(value), i++;
        else if (strcmp(arguments[i], "--units") == 0)
            units = atoi(value), i++;
        else {
            fprintf(stderr,
                    "claim_load [--clients 64] [--seconds 5] [--rate N] [--units 4096] [--old-snapshot]\n");
            return 2;
        }
    }
    if (clients < 1 || clients > 64 || units < clients || duration <= 0) {
        fprintf(stderr, "claim_load: 1 to 64 clients, at least as many units, more than no time\n");
        return 2;
    }
    if (!(samples = malloc(SAMPLES_MAX * sizeof *samples)))
        return 1;
    set_up();
    load(0.5); /* connections have planned their statements by then */
    claims = empty = 0;
    double start = now();
    load(duration);
    double seconds = now() - start;
    size_t n = claims < SAMPLES_MAX ? claims : SAMPLES_MAX;

    clean_up();
    if (n == 0 || empty > 0) {
        fprintf(stderr, "claim_load: %zu claims, %zu of them got no unit\n", claims, empty);
        return 1;
    }
    qsort(samples, n, sizeof *samples, compare);
    printf("claims_per_second %.0f 1/s\nclaim_ms_p50 %.2f ms\nclaim_ms_p99 %.2f ms\n", (double)claims / seconds,
           (double)samples[n / 2], (double)samples[n - 1 - n / 100]);
    free(samples);
    return 0;
}
