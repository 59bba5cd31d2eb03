/*
 * link.h - the connection to the database: one statement at a time, read only; signals end its
 * waits
 */
#ifndef GANN_LINK_H
#define GANN_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "../common/dial.h"

typedef struct db_link {
    dialler dialler;
    PGconn *to;      /* NULL: not connected */
    trouble trouble; /* why the last call failed, without secrets */
} db_link;

/* Prepares connections; conninfo may be NULL: libpq's environment variables. Returns -1 when memory
 * is short. */
int link_open(db_link *l, const char *conninfo);

/* Connects if need be: tries each address once. The session is read only, and no statement of it
 * may take more than 10 s. */
bool link_connect(db_link *l);

/*
 * Runs a statement with text parameters and returns its rows, which the caller clears. NULL: it
 * failed, and if the connection is no longer usable, it was closed. An empty channel list aside,
 * statements that return no rows have none.
 */
PGresult *link_ask(db_link *l, const char *sql, int count, const char *const *values);

/* Listens on these channels, and on no others. */
bool link_listen(db_link *l, const char *const *channels, size_t count);

/* Takes notifications that came; returns whether there were any. Closes a connection that is
 * lost. */
bool link_notified(db_link *l);

/* Frees what link_open() made, too. */
void link_free(db_link *l);

#endif
