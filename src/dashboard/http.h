/*
 * http.h - the web server: the page, its events, and sheets of samples; GET and HEAD only
 */
#ifndef GANN_HTTP_H
#define GANN_HTTP_H

#include "hub.h"
#include "command_line.h"
#include "sheets.h"

typedef struct http http;

/* Listens, and serves from a thread of its own. NULL: failure, printed on standard error. */
http *http_start(const options *o, hub *pages, sheets *pictures);

/* Prints where it listens. */
void http_announce(const http *s);

/* Ends all connections. The hub must be closed, and the sheets failed, before. */
void http_stop(http *s);

/* The functions by which hub and sheets put a connection to sleep and wake it. */
void http_sleep(void *connection);
void http_wake(void *connection);

#endif
