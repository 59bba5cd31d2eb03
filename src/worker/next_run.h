/*
 * next_run.h - which run to work in: the chosen one or, when that is over, the class's next one
 */
#ifndef GANN_NEXT_RUN_H
#define GANN_NEXT_RUN_H

#include "../student/options.h"
#include "net/protocol.h"

typedef enum next_run { NEXT_RUN_FOUND, NEXT_RUN_STOPPED, NEXT_RUN_FAILED } next_run;

/*
 * Finds a run that is not over and reads its configuration. Waits until there is one, unless the
 * program is to end with a run. after: *run is the last run, which is over; only a newer one counts
 * (or the same one, if it is started again). Prints a failure that is final.
 */
next_run next_run_find(server *s, const options *o, bool after, server_run *run);

#endif
