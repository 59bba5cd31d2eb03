/*
 * client.c - a student's or an administrator's connection, for measurements
 */
#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void client_fail(const char *format, ...) {
    va_list values;

    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

PGconn *client_connect(const char *conninfo) {
    PGconn *link = PQconnectdb(conninfo);

    if (PQstatus(link) != CONNECTION_OK)
        client_fail("no connection: %s", PQerrorMessage(link));
    return link;
}

void client_expect_rows(PGconn *link, const PGresult *result, const char *what) {
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        client_fail("%s: %s", what, result ? PQresultErrorMessage(result) : PQerrorMessage(link));
}

PGresult *client_query(PGconn *link, const char *sql, int count, const char *const *values) {
    PGresult *result = PQexecParams(link, sql, count, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        client_expect_rows(link, result, sql);
    return result;
}

double client_number(PGconn *link, const char *sql) {
    PGresult *result = client_query(link, sql, 0, NULL);
    double number = PQntuples(result) > 0 ? atof(PQgetvalue(result, 0, 0)) : 0;

    PQclear(result);
    return number;
}

void client_read_run(PGconn *link, const char *name, client_run *run) {
    PGresult *row =
        client_query(link,
                     "SELECT run, iteration, shards, channels, image_size, latent, "
                     "generator_features, discriminator_features FROM gan_run_config($1)",
                     1, &name);
    uint32_t *const fields[] = {&run->network.channels, &run->network.image_size,
                                &run->network.latent, &run->network.generator_features,
                                &run->network.discriminator_features};

    run->run = atoi(PQgetvalue(row, 0, 0));
    run->iteration = atoi(PQgetvalue(row, 0, 1));
    run->shards = atoi(PQgetvalue(row, 0, 2));
    for (int i = 0; i < 5; i++)
        *fields[i] = (uint32_t)atoi(PQgetvalue(row, 0, 3 + i));
    PQclear(row);
}

int client_join(PGconn *link, int run, const char *name) {
    char number[16];
    const char *const values[] = {number, name};
    PGresult *row;
    int worker;

    snprintf(number, sizeof number, "%d", run);
    row = client_query(
        link,
        "SELECT gan_join($1, $2, 60000, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'), "
        "1, 1024, 'bench', 'bench')",
        2, values);
    worker = atoi(PQgetvalue(row, 0, 0));
    PQclear(row);
    return worker;
}

int client_claim(PGconn *link, int worker, client_unit *unit) {
    char number[16];
    const char *const values[] = {number};
    PGresult *row;
    int work;

    snprintf(number, sizeof number, "%d", worker);
    row = client_query(
        link, "SELECT unit, token, iteration, images, weights_nonce FROM gan_claim($1)", 1, values);
    work = PQntuples(row) == 1 && !PQgetisnull(row, 0, 0);
    if (work) {
        snprintf(unit->unit, sizeof unit->unit, "%s", PQgetvalue(row, 0, 0));
        snprintf(unit->token, sizeof unit->token, "%s", PQgetvalue(row, 0, 1));
        unit->iteration = atoi(PQgetvalue(row, 0, 2));
        unit->images = atoi(PQgetvalue(row, 0, 3));
        snprintf(unit->nonce, sizeof unit->nonce, "%s", PQgetvalue(row, 0, 4));
    }
    PQclear(row);
    return work;
}

void client_submit(PGconn *link, const client_unit *unit) {
    const char *const values[] = {unit->unit, unit->token, unit->nonce};
    PGresult *row = client_query(
        link, "SELECT answer, message FROM gan_submit($1, $2, $3, 1, 1.0, 1.0, 0.5, 0.5)", 3,
        values);

    if (strcmp(PQgetvalue(row, 0, 0), "accepted") != 0)
        client_fail("unit %s was not accepted: %s: %s", unit->unit, PQgetvalue(row, 0, 0),
                    PQgetvalue(row, 0, 1));
    PQclear(row);
}
