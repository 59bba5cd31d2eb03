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
    bool patient;  /* silent addresses get all of their time */
    bool answered; /* some server has answered before: its name is no typing mistake */
    char last[64]; /* the address that answered last, which is asked first */
} dialler;

/* Prepares connections; returns -1 when memory is short. conninfo may be NULL. */
int dial_open(dialler *d, const char *conninfo, const char *program);
void dial_close(dialler *d);

/* Connects. NULL: the trouble says why; when to stop is asked it is one that passes. */
PGconn *dial(dialler *d, trouble *t);

#endif
