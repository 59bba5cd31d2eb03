/*
 * statement.h - the inside of a connection: a queue of statements on it, and the sorting of errors
 * (for connection.c, which has the functions, and protocol.c)
 */
#ifndef GANN_STATEMENT_H
#define GANN_STATEMENT_H

#include "../../common/dial.h"
#include "connection.h"

#include <libpq-fe.h>

#define REPLIES_MAX 32 /* statements under way at once */

struct server {
    dialler dialler;
    /* NULL: not connected; otherwise in pipeline mode and non-blocking */
    PGconn *link;
    /* whose answers are to come, the oldest first; NULL: nobody's */
    server_reply *queue[REPLIES_MAX];
    size_t first, waiting; /* of the queue, which is a ring */
    bool gap;              /* the oldest one's row has come, its end has not */
    bool unsent;           /* libpq holds bytes that the socket did not take */
    char channel[64];      /* to listen on, or "" */
    bool woken;            /* something came on it */
    bool noted;            /* the same, for those who ask for messages */
    trouble trouble;       /* the last failure */
};

/* A parameter of a statement: a text, or bytes if size is not 0. NULL is SQL's NULL. */
typedef struct server_value {
    const void *data;
    size_t size;
} server_value;

/*
 * Sends one statement that must return one row of the given number of columns. It is a transaction
 * of its own, independent of those before it. Connects first if there is no connection. The answer
 * arrives in the reply: see connection.h.
 */
void connection_send(server *s, const char *sql, const server_value *values, int count, int columns,
                     bool binary_result, server_reply *reply);

/* Waits for a reply; on SERVER_OK the caller clears the row. */
server_status connection_read(server *s, server_reply *reply, PGresult **row);

/* Sends one statement and waits for its row. */
server_status connection_row(server *s, const char *sql, const server_value *values, int count,
                             int columns, bool binary_result, PGresult **row);

/* Fails because the server sent something invalid: column names it. Returns
 * SERVER_FATAL. */
server_status connection_nonsense(server *s, const char *thing);

#endif
