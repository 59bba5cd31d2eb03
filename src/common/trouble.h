/*
 * trouble.h - what went wrong, for a person: one sentence that says what is wrong, one that says
 * what to do
 */
#ifndef GANN_TROUBLE_H
#define GANN_TROUBLE_H

#include <stdbool.h>

#include "sqlstate.h"

typedef struct trouble {
    bool passes;   /* later it may go */
    char state[6]; /* SQLSTATE, or "" where no server has spoken */
    char what[900], remedy[400];
    char text[1400]; /* both, a line each */
} trouble;

/* Makes both sentences: capital letter, full stop, one line. Without a remedy it says that there is
 * nothing to do but to try again, or to tell the instructor. */
void trouble_set(trouble *t, bool passes, const char *state, const char *what, const char *remedy);

/* The same of an error of the server's: its own message and hint, or better ones. Either may be
 * NULL. */
void trouble_of_server(trouble *t, const char *state, const char *message, const char *hint,
                       sqlstate_known known);

#endif
