/*
 * connection.h - a connection that is made when it is needed, and the sorting of errors (used by server.c only)
 */
#ifndef GANN_CONNECTION_H
#define GANN_CONNECTION_H

#include "server.h"

#include <libpq-fe.h>

#define SERVER_ERROR_SIZE 2048

struct server {
    char *conninfo; /* may be NULL; holds a password: never to be printed */
    PGconn *link;   /* NULL: not connected */
    char error[SERVER_ERROR_SIZE];
    char state[6]; /* SQLSTATE of the last failure, or "" */
};

/* A parameter of a statement: a text, or bytes if size is not 0. NULL is SQL's NULL. */
typedef struct server_value {
    const void *data;
    size_t size;
} server_value;

/*
 * Runs one statement in autocommit and expects one row of the given number of columns. On SERVER_OK the caller
 * clears the result.
 */
server_status connection_row(server *s, const char *sql, const server_value *values, int count, int columns,
                             bool binary_result, PGresult **result);

/* Fails because the server sent what it should not: column names the thing. Returns SERVER_FATAL. */
server_status connection_nonsense(server *s, const char *thing);

#endif
