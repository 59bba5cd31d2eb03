/*
 * sheets.h - a cache of sheets of samples between the database and the pages: each sheet is fetched
 * once and kept; when memory runs short, the least recently used ones are dropped
 *
 * A sheet never changes. Safe to call from any thread.
 */
#ifndef GANN_SHEETS_H
#define GANN_SHEETS_H

#include "bytes.h"

#include <stddef.h>

#define SHEETS_WANTED_MAX 64 /* sheets that may be requested at a time */
#define SHEETS_AT_ONCE 8     /* of them, fetched by one statement */

typedef struct sheets sheets;

typedef struct sheet_name {
    int run, iteration;
} sheet_name;

typedef enum sheets_answer {
    SHEETS_HERE,   /* take it */
    SHEETS_WAIT,   /* the connection was put to sleep; ask again when it is woken */
    SHEETS_NONE,   /* there is no such sheet */
    SHEETS_FAILED, /* the database doesn't answer */
    SHEETS_FULL    /* too many are requested */
} sheets_answer;

typedef void sheets_signal(void *connection);

/* Makes a cache of the given size in bytes. bell: see hub_new(). */
sheets *sheets_new(size_t limit, sheets_signal *sleep, sheets_signal *wake, int bell);
void sheets_free(sheets *c);

/*
 * Asks for a sheet. *request: NULL at first, then as the last call left it; the connection must
 * keep it, and pass it to sheets_forget() at its end.
 */
sheets_answer sheets_ask(sheets *c, sheet_name name, void *connection, void **request, bytes **png);
void sheets_forget(sheets *c, void *request);

/* Writes the names of the next sheets to fetch, at most SHEETS_AT_ONCE; returns how many. */
size_t sheets_wanted(sheets *c, sheet_name *names);

/* Takes the result of fetching a sheet: its bytes (which now belong to the cache), or NULL if there
 * is no such sheet. */
void sheets_put(sheets *c, sheet_name name, bytes *png);

/* Drops all cached sheets. */
void sheets_clear(sheets *c);

/* Fails all requests. closed: all later ones, too. */
void sheets_fail(sheets *c, int closed);

#endif
