/*
 * trouble.h - a failure in words for a person: one sentence says what is wrong, one says what to
 * do
 */
#ifndef GANN_TROUBLE_H
#define GANN_TROUBLE_H

#include <stdbool.h>

#include "sqlstate.h"

typedef struct trouble {
    bool passes;   /* temporary: may work later */
    char state[6]; /* SQLSTATE, or "" where no server has spoken */
    char what[900], remedy[400];
    char text[1400]; /* both, a line each */
} trouble;

/* Makes both sentences: capital letter, full stop, one line. Without a remedy the second one says
 * that the program tries again, or to tell the instructor. */
void trouble_set(trouble *t, bool passes, const char *state, const char *what, const char *remedy);

/* The same for an error of the server: its own message and hint, or better ones. Either may be
 * NULL. */
void trouble_of_server(trouble *t, const char *state, const char *message, const char *hint,
                       sqlstate_known known);

#endif
