/*
 * client.h - a student's or an administrator's connection, for measurements: every failure ends the
 * program
 *
 * Depends on the SQL functions of docs/protocol.md only.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdint.h>

#include <libpq-fe.h>

#include "../src/dcgan/dcgan.h"

#define CLIENT_TOKEN_SIZE 37

typedef struct client_run {
    int run, iteration, shards; /* the iteration at the time of asking */
    dcgan_config network;
} client_run;

typedef struct client_unit {
    char unit[24], token[CLIENT_TOKEN_SIZE], nonce[24];
    int iteration, images;
} client_unit;

/* Ends the program with a reason. */
_Noreturn void client_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Connects by a connection string; "" leaves it to PGHOST and so on. */
PGconn *client_connect(const char *conninfo);

/* Runs a statement with text parameters; returns its rows as text. */
PGresult *client_query(PGconn *link, const char *sql, int count, const char *const *values);

/* Runs a statement without parameters and returns the first number of its answer, 0 if there is
 * none. */
double client_number(PGconn *link, const char *sql);

/* Ends the program unless the result has rows. */
void client_expect_rows(PGconn *link, const PGresult *result, const char *what);

/* Reads the configuration of a run, or of the only one. */
void client_read_run(PGconn *link, const char *name, client_run *run);

/* Joins a run under a name; returns the number of the worker. */
int client_join(PGconn *link, int run, const char *name);

/* Claims; returns 0 where there is no work. */
int client_claim(PGconn *link, int worker, client_unit *unit);

/* Submits with invented losses; anything but "accepted" ends the program. */
void client_submit(PGconn *link, const client_unit *unit);

#endif
