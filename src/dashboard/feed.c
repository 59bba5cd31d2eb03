/*
 * feed.c - from the database to the pages
 */
#include "feed.h"
#include "../common/backoff.h"
#include "../common/clock.h"
#include "../common/stop.h"
#include "link.h"

#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAST_SECONDS 1.0   /* between two questions about the runs */
#define RUNNING_SECONDS 2.0 /* without a notification */
#define IDLE_SECONDS 5.0    /* the same, while no run is running */
#define SHEETS_SECONDS 0.1  /* between two statements that fetch sheets */
/* The same, after a statement for sheets that don't exist: those are not cached. */
#define ABSENT_SECONDS 1.0
#define CURVES_SECONDS 4.0 /* curves move slowly, and are most of the bytes */
#define BEAT_SECONDS 5.0   /* a closed page is noticed at the second beat */

/* One statement for all pages; each of them gets the same bytes. */
static const char question[] =
    "SELECT r.run, r.channel, r.summary, r.state = 'running', extract(epoch FROM "
    "r.created_at) || ' ' || r.branch,"
    " CASE WHEN r.run = ANY ($1::int[]) THEN gan_dashboard(r.run) END,"
    " CASE WHEN r.run = ANY ($2::int[]) THEN gan_dashboard_curves(r.run) END"
    " FROM gan_dashboard_runs() AS r ORDER BY r.run";
/* A visitor may name any run, so a missing one must not be an error, which would fail all. */
static const char fetch[] = "SELECT w.run, w.iteration,"
                            " CASE WHEN EXISTS (SELECT FROM gan_sheet_list l"
                            " WHERE l.run = w.run AND l.iteration = w.iteration)"
                            " THEN encode(gan_sheet_png(w.run, w.iteration), 'hex') END"
                            " FROM unnest($1::int[], $2::int[]) AS w (run, iteration)";

typedef struct feed {
    db_link link;
    hub *pages;
    sheets *pictures;
    int bell;
    backoff wait;
    double asked_at, curves_at, beat_at;
    double fetch_at;             /* sheets, not before */
    bool woken;                  /* since the last question */
    bool running;                /* some run is */
    bool known;                  /* the last question was answered */
    int listening[HUB_RUNS_MAX]; /* runs whose channels are listened to */
    size_t listening_count;
    int runs; /* how many there are, and which */
    uint64_t runs_print;
} feed;

/* Writes numbers as a PostgreSQL array: {1,2,3}. */
static void write_array(char *to, const int *numbers, size_t count, size_t step) {
    size_t used = 0;

    to[used++] = '{';
    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(to + used, "%s%d", i > 0 ? "," : "", numbers[i * step]);
    to[used++] = '}';
    to[used] = '\0';
}

#define ARRAY_SIZE(count) (12 * (count) + 3)

/* Tells the pages that the database does not answer (or, with NULL, that it answers again). */
static void tell_trouble(feed *f, const char *why) {
    char *text = why != NULL ? bytes_json_string(why) : strdup("null");

    if (text != NULL)
        hub_publish(f->pages, HUB_TROUBLE, 0, bytes_event("trouble", text));
    free(text);
}

/* Publishes the list of runs: one event with all the summaries. */
static void publish_runs(feed *f, const PGresult *rows) {
    int count = PQntuples(rows);
    int *runs = malloc((size_t)(count + 1) * sizeof *runs);
    size_t size = 3, used = 1;
    char *list;

    for (int i = 0; i < count; i++)
        size += (size_t)PQgetlength(rows, i, 2) + 1;
    list = malloc(size);
    if (list != NULL && runs != NULL) {
        list[0] = '[';
        for (int i = 0; i < count; i++) {
            runs[i] = atoi(PQgetvalue(rows, i, 0));
            used += (size_t)sprintf(list + used, "%s%s", i > 0 ? "," : "", PQgetvalue(rows, i, 2));
        }
        memcpy(list + used, "]", 2);
        hub_know_runs(f->pages, runs, (size_t)count);
        hub_publish(f->pages, HUB_RUNS, 0, bytes_event("runs", list));
    }
    free(list);
    free(runs);
}

/* Listens on the channels that wake the workers of the watched runs. */
static void listen_to(feed *f, const PGresult *rows, const int *watched, size_t count) {
    const char *channels[HUB_RUNS_MAX];
    size_t found = 0;

    if (count == f->listening_count && memcmp(watched, f->listening, count * sizeof *watched) == 0)
        return;
    for (int i = 0; i < PQntuples(rows); i++)
        for (size_t w = 0; w < count && found < HUB_RUNS_MAX; w++)
            if (atoi(PQgetvalue(rows, i, 0)) == watched[w])
                channels[found++] = PQgetvalue(rows, i, 1);
    if (link_listen(&f->link, channels, found)) {
        memcpy(f->listening, watched, count * sizeof *watched);
        f->listening_count = count;
    }
}

/* Computes a fingerprint of the first runs: their numbers, when they were created and how often
 * they were rolled back. */
static uint64_t fingerprint(const PGresult *rows, int count) {
    uint64_t hash = UINT64_C(14695981039346656037);

    for (int i = 0; i < count; i++)
        for (int column = 0; column <= 4; column += 4)
            for (const char *c = PQgetvalue(rows, i, column); *c != '\0'; c++)
                hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return hash;
}

/* Drops all sheets if a run is gone, because its number may be given to another one (after DROP
 * EXTENSION, say), or if a run was rolled back, because its sheets may be drawn again. New runs
 * come last. */
static void drop_stale_sheets(feed *f, const PGresult *rows) {
    int count = PQntuples(rows);

    if (count < f->runs || fingerprint(rows, f->runs) != f->runs_print)
        sheets_clear(f->pictures);
    f->runs = count;
    f->runs_print = fingerprint(rows, count);
}

/* Publishes the answer to a question. */
static void publish(feed *f, const PGresult *rows) {
    drop_stale_sheets(f, rows);
    f->running = false;
    for (int i = 0; i < PQntuples(rows); i++) {
        int run = atoi(PQgetvalue(rows, i, 0));
        f->running = f->running || PQgetvalue(rows, i, 3)[0] == 't';
        if (!PQgetisnull(rows, i, 5))
            hub_publish(f->pages, HUB_STATE, run, bytes_event("state", PQgetvalue(rows, i, 5)));
        if (!PQgetisnull(rows, i, 6))
            hub_publish(f->pages, HUB_CURVES, run, bytes_event("curves", PQgetvalue(rows, i, 6)));
    }
    publish_runs(f, rows);
}

/* Asks for the state of the watched runs; returns whether there was an answer. */
static bool ask(feed *f) {
    int watched[HUB_RUNS_MAX], fresh[HUB_RUNS_MAX];
    char all[ARRAY_SIZE(HUB_RUNS_MAX)], curves[ARRAY_SIZE(HUB_RUNS_MAX)];
    const char *values[] = {all, curves};
    size_t pages, count = hub_watched(f->pages, watched, false, &pages);
    double now = clock_now();
    bool all_curves = now >= f->curves_at + CURVES_SECONDS;
    size_t fresh_count = hub_watched(f->pages, fresh, !all_curves, &pages);
    PGresult *rows;

    write_array(all, watched, count, 1);
    write_array(curves, fresh, fresh_count, 1);
    f->asked_at = now;
    f->woken = false;
    rows = link_ask(&f->link, question, 2, values);
    if (rows == NULL)
        return false;
    if (all_curves)
        f->curves_at = now;
    publish(f, rows);
    listen_to(f, rows, watched, count);
    PQclear(rows);
    return true;
}

/* Reads the digits of encode(…, 'hex'). */
static bytes *from_hex(const char *text, size_t length) {
    bytes *made = bytes_new(text, length / 2);

    for (size_t i = 0; made != NULL && i < length / 2; i++) {
        int high = text[2 * i], low = text[2 * i + 1];
        high = high >= 'a' ? high - 'a' + 10 : high - '0';
        low = low >= 'a' ? low - 'a' + 10 : low - '0';
        made->data[i] = (char)(high << 4 | low);
    }
    return made;
}

/* Fetches requested sheets; returns whether the database answered. */
static bool fetch_sheets(feed *f, const sheet_name *names, size_t count) {
    char runs[ARRAY_SIZE(SHEETS_AT_ONCE)], iterations[ARRAY_SIZE(SHEETS_AT_ONCE)];
    const char *values[] = {runs, iterations};
    PGresult *rows;

    write_array(runs, &names[0].run, count, 2);
    write_array(iterations, &names[0].iteration, count, 2);
    f->fetch_at = clock_now() + SHEETS_SECONDS;
    rows = link_ask(&f->link, fetch, 2, values);
    if (rows == NULL)
        return false;
    for (int i = 0; i < PQntuples(rows); i++) {
        sheet_name name = {atoi(PQgetvalue(rows, i, 0)), atoi(PQgetvalue(rows, i, 1))};
        if (PQgetisnull(rows, i, 2))
            f->fetch_at = clock_now() + ABSENT_SECONDS;
        sheets_put(f->pictures, name,
                   PQgetisnull(rows, i, 2)
                       ? NULL
                       : from_hex(PQgetvalue(rows, i, 2), (size_t)PQgetlength(rows, i, 2)));
    }
    PQclear(rows);
    return true;
}

/* Computes when to ask for the runs' state next. */
static double next_question(const feed *f, size_t fresh) {
    if (f->woken || fresh > 0 || !f->known)
        return f->asked_at + LEAST_SECONDS;
    return f->asked_at + (f->running ? RUNNING_SECONDS : IDLE_SECONDS);
}

/* After a failure: prints it once, and waits longer each time. */
static void stand_back(feed *f) {
    f->known = false;
    if (stop_asked())
        return;
    if (f->wait.ceiling == 0)
        fprintf(stderr, "gan_dashboard: the database does not answer: %s\n", f->link.trouble.text);
    tell_trouble(f, "The database does not answer. Trying again.");
    sheets_fail(f->pictures, 0);
    hub_publish(f->pages, HUB_BEAT, 0, bytes_new(": beat\n\n", 8));
    stop_wait(-1, 0, backoff_next(&f->wait));
}

/* Asks for the first time: a final failure (a mistake in the connection string or in the rights) is
 * shown at once, a temporary one is tried again. Returns the exit status; 0: the database
 * answers. */
static int begin(feed *f) {
    while (!link_connect(&f->link) || !ask(f)) {
        if (stop_asked())
            return 0;
        if (!f->link.trouble.passes || f->wait.ceiling == 0)
            fprintf(stderr, "gan_dashboard: %s\n", f->link.trouble.text);
        if (!f->link.trouble.passes)
            return 2;
        stop_wait(-1, 0, backoff_next(&f->wait));
    }
    f->link.dialler.known = SQLSTATE_WORK;
    if (backoff_reset(&f->wait))
        fprintf(stderr, "gan_dashboard: the database answers\n");
    return 0;
}

/* Notes that the database answers. */
static void settle_down(feed *f) {
    f->known = true;
    if (backoff_reset(&f->wait)) {
        fprintf(stderr, "gan_dashboard: the database answers again\n");
        tell_trouble(f, NULL);
    }
}

/* Does the work that is due, and sets when there is work again; returns whether the database
 * answered. */
static bool do_round(feed *f, double *next) {
    sheet_name names[SHEETS_AT_ONCE];
    int fresh[HUB_RUNS_MAX];
    size_t pages, wanted = sheets_wanted(f->pictures, names),
                  fresh_count = hub_watched(f->pages, fresh, true, &pages);
    double now = clock_now();

    *next = f->beat_at + BEAT_SECONDS;
    if (pages == 0 && wanted == 0)
        return true; /* the connection stays as it is */
    if (f->link.to == NULL)
        f->listening_count = 0;
    if (!link_connect(&f->link))
        return false;
    if (pages > 0 && now >= next_question(f, fresh_count) && !ask(f))
        return false;
    if (wanted > 0 && now >= f->fetch_at && !fetch_sheets(f, names, wanted))
        return false;
    settle_down(f);
    fresh_count = hub_watched(f->pages, fresh, true, &pages);
    if (pages > 0)
        *next = fmin(*next, next_question(f, fresh_count));
    if (sheets_wanted(f->pictures, names) > 0)
        *next = fmin(*next, f->fetch_at);
    return true;
}

/* Waits for a notification, for a new page, or until it is time. */
static void pause_until(feed *f, double moment) {
    uint64_t rung;

    stop_wait_two(f->link.to != NULL ? PQsocket(f->link.to) : -1, POLLIN, f->bell, POLLIN,
                  moment - clock_now());
    if (read(f->bell, &rung, sizeof rung) < 0)
        rung = 0; /* nobody rang */
    if (link_notified(&f->link))
        f->woken = true;
}

int feed_run(const char *conninfo, hub *h, sheets *c, int bell, void (*started)(void *),
             void *context) {
    feed f = {.pages = h, .pictures = c, .bell = bell};
    int status;

    f.asked_at = -LEAST_SECONDS;
    f.curves_at = -CURVES_SECONDS;
    f.beat_at = clock_now();
    f.runs_print = UINT64_C(14695981039346656037);
    if (link_open(&f.link, conninfo) != 0) {
        fprintf(stderr, "gan_dashboard: There is not enough memory.\nClose other programs.\n");
        return 1;
    }
    status = begin(&f);
    if (status != 0 || stop_asked()) {
        link_free(&f.link);
        return status;
    }
    started(context);
    while (!stop_asked()) {
        double next;
        if (do_round(&f, &next))
            pause_until(&f, next);
        else
            stand_back(&f);
        if (clock_now() >= f.beat_at + BEAT_SECONDS) {
            f.beat_at = clock_now();
            hub_publish(h, HUB_BEAT, 0, bytes_new(": beat\n\n", 8));
        }
    }
    link_free(&f.link);
    return 0;
}
