/*
 * clock.c - the coordinator's clock, which nobody sets
 *
 * The time of day may be set by hours while a class computes, and the machine may be suspended.
 * What passes is told by CLOCK_MONOTONIC; the difference of the two tells when something else has
 * happened than time passing.
 */
#include "module.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include <math.h>
#include <time.h>

#define LONG_NAP                                                                                   \
    5.0 /* seconds that a sleep may last longer than it should before the machine stood still */

/* seconds in this session in which nothing ran, though CLOCK_MONOTONIC went on */
static double stood_still;

/* Returns the seconds of a clock that only moves forward. */
static double monotonic_seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Reads the configuration again if the server was told to. Otherwise that is done between a
 * session's statements, and the coordinator's lasts for hours. */
static void reload_configuration(void) {
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
}

PG_FUNCTION_INFO_V1(gan_sleep);

/* Sleeps for so many seconds, whatever wakes the session meanwhile. (pg_sleep() waits for a time of
 * day: one that was begun before the clock was set back by an hour lasts an hour.) */
Datum gan_sleep(PG_FUNCTION_ARGS) {
    double seconds = PG_GETARG_FLOAT8(0), end = monotonic_seconds() + seconds, left;

    if (!(seconds >= 0 && seconds <= 60))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("gan_sleep sleeps for 0 to 60 seconds, not %g", seconds)));
    while ((left = end - monotonic_seconds()) > 0) {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                        (long)ceil(left * 1000), PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
    reload_configuration();
    if (left < -LONG_NAP)
        stood_still -= left;
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(gan_clock_offset);

/* Returns by how many seconds the time of day (since 2000) is ahead of the time that this session
 * has seen pass (since the machine's start). Only its changes mean something. */
Datum gan_clock_offset(PG_FUNCTION_ARGS) {
    double time_of_day = (double)GetCurrentTimestamp() / USECS_PER_SEC;

    (void)fcinfo;
    PG_RETURN_FLOAT8(time_of_day - (monotonic_seconds() - stood_still));
}

PG_FUNCTION_INFO_V1(gan_outlast);

/* Ends the time-out of the statement under way: to change statement_timeout would begin with the
 * next one. */
Datum gan_outlast(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    disable_timeout(STATEMENT_TIMEOUT, false);
    PG_RETURN_VOID();
}
