/*
 * next_run.h - which run to work in: the one that is meant, or, when it is over, the class's next
 * one
 */
#ifndef GANN_NEXT_RUN_H
#define GANN_NEXT_RUN_H

#include "../student/options.h"
#include "net/protocol.h"

typedef enum next_run { NEXT_RUN_FOUND, NEXT_RUN_STOPPED, NEXT_RUN_FAILED } next_run;

/*
 * Finds a run that is not over and reads its configuration; waits until there is one, unless the
 * program is to end with a run. after: the run that is there was worked in and is over; only a
 * younger one comes next (or that one itself, should it be taken up again). What fails for good is
 * said.
 */
next_run next_run_find(server *s, const options *o, bool after, server_run *run);

#endif
