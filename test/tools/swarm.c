/*
 * swarm.c - many clients of one run that outlive crashes of the server, and write down every answer
 * they got
 *
 *   swarm CONNINFO RUN SHARDS CLIENTS HISTORY
 *
 * Each client is a process with a connection: join, claim, upload, submit, and after any failure a
 * new connection. What it uploads are the weights of iteration 0 and the running statistics, which
 * the run's table `kept` holds. HISTORY gets a line for each answer, in one write, so that lines
 * stay whole if a process is killed:
 *
 *   TIME claimed UNIT TOKEN            TIME accepted UNIT TOKEN NONCE ITERATION
 *   TIME unknown UNIT TOKEN (the answer to a submission was lost)
 *
 * TIME is in seconds, of CLOCK_REALTIME. The clients end with the process that started them, or
 * when the run is over.
 */
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 64

typedef struct client {
    const char *conninfo, *run;
    int shards, number, history;
    PGconn *link; /* null: not connected */
    char worker[16], name[32];
} client;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void rest(int milliseconds) {
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

/* Writes a line to the history. */
static void note(const client *c, const char *format, ...) {
    char line[256];
    va_list arguments;
    int length = snprintf(line, sizeof line, "%.6f ", now());

    va_start(arguments, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
    va_end(arguments);
    if (write(c->history, line, (size_t)length) != length)
        _exit(2);
}

static void disconnect(client *c) {
    PQfinish(c->link);
    c->link = NULL;
}

/* Asks for one row; null if that failed, and then there is no connection any more. */
static PGresult *ask(client *c, const char *sql, int count, const char *const *values) {
    PGresult *row = PQexecParams(c->link, sql, count, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(row) == PGRES_TUPLES_OK && PQntuples(row) == 1)
        return row;
    PQclear(row);
    disconnect(c);
    return NULL;
}

/* Connects and joins; tells whether that went well. */
static int come_in(client *c) {
    const char *const values[] = {c->run, c->name};
    PGresult *row;

    c->link = PQconnectdb(c->conninfo);
    if (PQstatus(c->link) != CONNECTION_OK) {
        disconnect(c);
        return 0;
    }
    row = ask(c, "SELECT gan_join($1, $2, 100, pg_catalog.sha256('x'), 1, 1, '', '')", 2, values);
    if (!row)
        return 0;
    snprintf(c->worker, sizeof c->worker, "%s", PQgetvalue(row, 0, 0));
    PQclear(row);
    return 1;
}

/* Uploads all shards of a unit; tells whether each was taken. */
static int upload(client *c, const char *unit, const char *token) {
    for (int shard = 0; shard <= c->shards; shard++) {
        char number[16];
        const char *const values[] = {unit, token, number};
        PGresult *row;
        int taken;
        snprintf(number, sizeof number, "%d", shard);
        row = ask(c, "SELECT gan_upload($1, $2, $3, (SELECT data FROM kept WHERE shard = $3::int))",
                  3, values);
        taken = row && strcmp(PQgetvalue(row, 0, 0), "stale") != 0;
        PQclear(row);
        if (!taken)
            return 0;
    }
    return 1;
}

/* Hands a unit in and notes the answer. */
static void submit(client *c, const PGresult *claim) {
    const char *unit = PQgetvalue(claim, 0, 0), *token = PQgetvalue(claim, 0, 1),
               *nonce = PQgetvalue(claim, 0, 2);
    const char *const values[] = {unit, token, nonce};
    PGresult *row =
        ask(c, "SELECT answer FROM gan_submit($1, $2, $3, 4, 1, 1, 0.5, 0.5)", 3, values);

    if (!row)
        note(c, "unknown %s %s\n", unit, token);
    else if (strcmp(PQgetvalue(row, 0, 0), "accepted") == 0)
        note(c, "accepted %s %s %s %s\n", unit, token, nonce, PQgetvalue(claim, 0, 3));
    PQclear(row);
}

/* Claims a unit and does it; tells whether the run continues. */
static int work(client *c) {
    const char *const values[] = {c->worker};
    PGresult *claim = ask(
        c, "SELECT unit, token, weights_nonce, iteration, reason FROM gan_claim($1)", 1, values);
    int over;

    if (!claim)
        return 1;
    over = strcmp(PQgetvalue(claim, 0, 4), "finished") == 0 ||
           strcmp(PQgetvalue(claim, 0, 4), "stopped") == 0;
    if (!PQgetisnull(claim, 0, 0)) {
        note(c, "claimed %s %s\n", PQgetvalue(claim, 0, 0), PQgetvalue(claim, 0, 1));
        if (upload(c, PQgetvalue(claim, 0, 0), PQgetvalue(claim, 0, 1)))
            submit(c, claim);
    } else
        rest(20);
    PQclear(claim);
    return !over;
}

static void live(client *c) {
    snprintf(c->name, sizeof c->name, "swarm-%d", c->number);
    for (int on = 1; on;) {
        if (c->link || come_in(c))
            on = work(c);
        else
            rest(30);
    }
    disconnect(c);
}

int main(int count, char **arguments) {
    client c = {0};
    int clients;

    if (count != 6) {
        fprintf(stderr, "usage: swarm CONNINFO RUN SHARDS CLIENTS HISTORY\n");
        return 2;
    }
    c.conninfo = arguments[1];
    c.run = arguments[2];
    c.shards = atoi(arguments[3]);
    clients = atoi(arguments[4]);
    c.history = open(arguments[5], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (c.history < 0 || clients < 1 || clients > CLIENTS_MAX || setpgid(0, 0) != 0) {
        perror("swarm");
        return 2;
    }
    for (c.number = 0; c.number < clients; c.number++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            live(&c);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    return 0;
}
