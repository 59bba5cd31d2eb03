/*
 * sqlstate.h - which of the server's errors are final, and why. All others are temporary: a server
 * that restarts, fails over, is full or accepts no changes for a while is asked again.
 */
#ifndef GANN_SQLSTATE_H
#define GANN_SQLSTATE_H

#include <stdbool.h>

/* What is known of the class so far. */
typedef enum sqlstate_known {
    SQLSTATE_NOTHING, /* the class has not answered yet */
    SQLSTATE_CLASS,   /* it has told us its run */
    SQLSTATE_WORK     /* it has given out work, or said that there is none just now */
} sqlstate_known;

typedef struct sqlstate_advice {
    bool final;
    const char *what;    /* in place of the server's message, or NULL */
    const char *remedy;  /* a sentence without its full stop */
    bool remedy_is_ours; /* replaces the server's hint, too */
} sqlstate_advice;

/* Returns what to do after an error with this SQLSTATE. */
sqlstate_advice sqlstate_advise(const char *state, sqlstate_known known);

#endif
