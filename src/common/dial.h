/*
 * dial.h - connecting to the server: each address in turn, each for a limited time, until one
 * answers (used by the worker and by the dashboard)
 */
#ifndef GANN_DIAL_H
#define GANN_DIAL_H

#include <libpq-fe.h>

#include "hosts.h"
#include "trouble.h"

typedef struct dialler {
    char *conninfo; /* may be NULL; holds a password: never to be printed */
    hosts *hosts;
    const char *program;
    sqlstate_known known;
    bool patient;  /* silent addresses get their full time */
    bool answered; /* a server has answered before, so the name is not mistyped */
    char last[64]; /* the address that answered last: it is tried first */
} dialler;

/* Prepares connections; returns -1 when memory is short. conninfo may be NULL. */
int dial_open(dialler *d, const char *conninfo, const char *program);
void dial_close(dialler *d);

/* Connects. NULL: the trouble says why; after a request to stop it is a temporary one. */
PGconn *dial(dialler *d, trouble *t);

#endif
