/*
 * claims.c - many students who claim at the same time
 *
 *   claims RUN WORKERS ROUND… < connection strings, one per line: a client each
 *
 * Every client has WORKERS workers and claims once for each: units that nobody has had, as in a
 * class. A client waits for an answer before it asks again. Rounds:
 *
 *   full     as fast as answers come
 *   old      the same while another session holds a snapshot from before the round
 *   bare     as fast as answers come, but by one UPDATE on rows of the same width, as in a queue
 *            without leases, accounts and runs: the least that a claim could cost
 *   RATE     this number of claims per second over all clients, at random times; latency counts
 *            from the time at which a claim was due, so it includes waiting for the previous one
 *
 * A round of full, old or bare claims everything, releases it, and claims everything again: both
 * times count. Prints a line per round: "full 2345.6 claims/s p50 1.23 p99 4.56 max 7.89 ms,
 * 7680 claims".
 */
#define _GNU_SOURCE /* ppoll */

#include "client.h"
#include "samples.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 1000
#define TIMEOUT 120.0 /* seconds that one pass may take */

typedef struct worker {
    char number[16], unit[24], token[CLIENT_TOKEN_SIZE];
} worker;

typedef struct crowd_member {
    PGconn *link;
    worker *workers;
    int next;          /* the worker that claims next */
    int busy;          /* a statement is under way */
    double due, asked; /* when the next statement is due; when the current one counts from */
} crowd_member;

/* What all clients do at the moment. */
typedef enum pass { JOIN, CLAIM, RELEASE, BARE, PASSES } pass;

static const char *const statements[] = {
    "SELECT gan_join($1::int4, $2::text, 60000, "
    "pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'), 1, 1024, "
    "'bench', 'bench')",
    "SELECT unit, token FROM gan_claim($1::int4)", "SELECT gan_release($1::int8, $2::uuid)",
    /* its transaction does not wait for the disk, like a claim's */
    "UPDATE bare_unit SET state = 'claimed', worker = $1::int4, attempts = attempts + 1, "
    "token = gen_random_uuid(), claimed_at = statement_timestamp(), lease_seconds = 60, "
    "lease_until = statement_timestamp() + interval '60 s' WHERE unit = (SELECT unit FROM "
    "bare_unit WHERE state = 'pending' ORDER BY first_position LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "RETURNING unit, token"};
static const char *const names[] = {"join", "claim", "release", "bare"};

/* The table of a bare queue: the same units, and the indexes that a queue needs. */
static const char *const make_bare[] = {
    "DROP TABLE IF EXISTS bare_unit",
    "CREATE TABLE bare_unit WITH (fillfactor = 50) AS SELECT * FROM gan_work_unit",
    "ALTER TABLE bare_unit ADD PRIMARY KEY (unit)",
    "CREATE INDEX ON bare_unit (first_position) WHERE state = 'pending'",
    "GRANT SELECT, UPDATE ON bare_unit TO PUBLIC",
    "VACUUM ANALYZE bare_unit"};

typedef struct crowd {
    crowd_member members[CLIENTS_MAX];
    int count, workers;
    char run[16];
    PGconn *admin;
    samples latencies; /* milliseconds of the claims of a round */
} crowd;

/* Draws a waiting time with the given mean, as between independent arrivals. */
static double draw_wait(double mean) {
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return -mean * log(1.0 - (double)(state >> 11) / 9007199254740992.0);
}

/* Makes the table of the bare queue, in which nothing is claimed. */
static void renew_bare(crowd *c) {
    for (size_t i = 0; i < sizeof make_bare / sizeof *make_bare; i++)
        PQclear(client_query(c->admin, make_bare[i], 0, NULL));
}

/* Connects all clients and prepares their statements. */
static void connect_all(crowd *c) {
    char line[1000];

    c->admin = client_connect("");
    renew_bare(c);
    while (c->count < CLIENTS_MAX && fgets(line, sizeof line, stdin)) {
        crowd_member *m = &c->members[c->count++];
        line[strcspn(line, "\n")] = '\0';
        m->link = client_connect(line);
        m->workers = calloc((size_t)c->workers, sizeof *m->workers);
        if (!m->workers)
            client_fail("no memory for %d workers", c->workers);
        PQclear(client_query(m->link, "SET synchronous_commit = off", 0, NULL)); /* for bare */
        for (int s = JOIN; s < PASSES; s++)
            PQclear(PQprepare(m->link, names[s], statements[s], 0, NULL));
    }
    if (c->count == 0)
        client_fail("no connection strings on standard input");
}

/* Sends a client's next statement. */
static void ask(crowd *c, crowd_member *m, pass what) {
    worker *w = &m->workers[m->next];
    char name[24];
    const char *const join[] = {c->run, name}, *const claim[] = {w->number},
                      *const release[] = {w->unit, w->token};
    const char *const *const values[] = {join, claim, release, claim};
    static const int counts[] = {2, 1, 2, 1};

    snprintf(name, sizeof name, "crowd%d", m->next);
    if (!PQsendQueryPrepared(m->link, names[what], counts[what], values[what], NULL, NULL, 0))
        client_fail("%s: %s", names[what], PQerrorMessage(m->link));
    m->busy = 1;
}

/* Keeps what a statement answered; returns 0 for a claim that found nothing. */
static int keep(crowd_member *m, const PGresult *row, pass what) {
    worker *w = &m->workers[m->next];

    client_expect_rows(m->link, row, names[what]);
    if (what == JOIN) {
        snprintf(w->number, sizeof w->number, "%s", PQgetvalue(row, 0, 0));
        return 1;
    }
    if (what == RELEASE)
        return 1;
    snprintf(w->unit, sizeof w->unit, "%s", PQgetvalue(row, 0, 0));
    snprintf(w->token, sizeof w->token, "%s", PQgetvalue(row, 0, 1));
    return w->unit[0] != '\0';
}

/* Reads the answers for a client; when one is complete, its next worker follows. */
static void listen_to(crowd *c, crowd_member *m, pass what, double mean_wait) {
    PGresult *row;

    if (!PQconsumeInput(m->link))
        client_fail("%s: %s", names[what], PQerrorMessage(m->link));
    while (!PQisBusy(m->link)) {
        if ((row = PQgetResult(m->link)) == NULL) {
            m->busy = 0;
            return;
        }
        if (keep(m, row, what)) {
            double now = samples_clock();
            if (what == CLAIM || what == BARE)
                samples_add(&c->latencies, 1e3 * (now - m->asked));
            m->next++;
            m->due = mean_wait > 0 ? m->due + draw_wait(mean_wait) : now;
            m->asked = m->due;
        }
        PQclear(row);
    }
}

/* Sends the statements that are due; returns the seconds until the next one, or -1 at the end. */
static double ask_all(crowd *c, pass what) {
    double now = samples_clock(), soonest = 1;
    int open = 0;

    for (int i = 0; i < c->count; i++) {
        crowd_member *m = &c->members[i];
        if (m->busy || m->next < c->workers)
            open++;
        if (m->busy || m->next >= c->workers)
            continue;
        if (m->due <= now)
            ask(c, m, what);
        else
            soonest = fmin(soonest, m->due - now);
    }
    return open ? soonest : -1;
}

/* Lets every client do one thing for each of its workers; returns the seconds. rate 0: as fast as
 * it can. */
static double run_pass(crowd *c, pass what, double rate) {
    double start = samples_clock(), mean_wait = rate > 0 ? c->count / rate : 0;
    struct pollfd polled[CLIENTS_MAX];
    double wait;

    for (int i = 0; i < c->count; i++) {
        crowd_member *m = &c->members[i];
        m->next = 0;
        m->due = m->asked = start + (mean_wait > 0 ? draw_wait(mean_wait) : 0);
        polled[i] = (struct pollfd){.fd = PQsocket(m->link), .events = POLLIN};
    }
    while ((wait = ask_all(c, what)) >= 0) {
        if (samples_clock() - start > TIMEOUT)
            client_fail("%s: not done after %.0f s", names[what], TIMEOUT);
        const struct timespec most = {.tv_sec = (time_t)wait,
                                      .tv_nsec = (long)(1e9 * fmod(wait, 1))};
        if (ppoll(polled, (nfds_t)c->count, &most, NULL) < 0)
            client_fail("poll failed");
        for (int i = 0; i < c->count; i++)
            if (polled[i].revents)
                listen_to(c, &c->members[i], what, mean_wait);
    }
    return samples_clock() - start;
}

/* Starts a round with freshly vacuumed tables. */
static void tidy(crowd *c) {
    PQclear(client_query(c->admin, "VACUUM ANALYZE gan_work_unit", 0, NULL));
    PQclear(client_query(c->admin, "VACUUM ANALYZE gan_worker", 0, NULL));
}

/* Opens a transaction with a snapshot of now. */
static PGconn *hold_snapshot(void) {
    PGconn *link = client_connect("");

    PQclear(client_query(link, "BEGIN ISOLATION LEVEL REPEATABLE READ", 0, NULL));
    client_number(link, "SELECT count(*) FROM gan_run");
    return link;
}

/* Runs and prints a round. */
static void run_round(crowd *c, const char *what) {
    double rate = atof(what), seconds = 0;
    pass claim = strcmp(what, "bare") == 0 ? BARE : CLAIM;
    PGconn *snapshot = NULL;
    samples *l = &c->latencies;

    tidy(c);
    samples_clear(l);
    if (strcmp(what, "old") == 0)
        snapshot = hold_snapshot();
    for (int i = 0; i < (rate > 0 ? 1 : 2); i++) {
        if (claim == BARE)
            renew_bare(c);
        seconds += run_pass(c, claim, rate);
        if (claim == CLAIM)
            run_pass(c, RELEASE, 0);
    }
    PQfinish(snapshot);
    printf("%s %.1f claims/s p50 %.3f p99 %.3f max %.3f ms, %zu claims\n", what,
           (double)l->count / seconds, samples_quantile(l, 0.5), samples_quantile(l, 0.99),
           samples_quantile(l, 1), l->count);
    fflush(stdout);
}

/* Closes all. */
static void tear_down(crowd *c) {
    for (int i = 0; i < c->count; i++) {
        PQfinish(c->members[i].link);
        free(c->members[i].workers);
    }
    PQfinish(c->admin);
    samples_free(&c->latencies);
}

int main(int argc, char **argv) {
    static crowd c;

    if (argc < 4 || (c.workers = atoi(argv[2])) < 1 || strlen(argv[1]) >= sizeof c.run)
        client_fail("usage: claims RUN WORKERS ROUND... < connection strings");
    snprintf(c.run, sizeof c.run, "%s", argv[1]);
    connect_all(&c);
    run_pass(&c, JOIN, 0);
    for (int i = 3; i < argc; i++)
        run_round(&c, argv[i]);
    tear_down(&c);
    return 0;
}
