/*
 * clock.c - the coordinator's clock, which can't be set
 *
 * While a class computes, the time of day may be set by hours, and the machine may be suspended.
 * CLOCK_MONOTONIC measures the time that passes; if its difference from the time of day changes,
 * the clock was set or the machine was suspended.
 */
#include "coordinate.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include <math.h>
#include <time.h>

/* if a sleep lasts longer by more than this many seconds, the machine was suspended */
#define LONG_NAP 5.0

/* seconds in this session in which nothing ran although CLOCK_MONOTONIC advanced */
static double stood_still;

/* Returns the seconds of a clock that only moves forward, the same in all processes. */
double gan_monotonic_seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Returns the seconds that this session has seen pass; only differences mean something. */
double gan_seconds(void) {
    return gan_monotonic_seconds() - stood_still;
}

/* Returns by how many seconds the time of day (since 2000) is ahead of that. Only its changes mean
 * something. */
double gan_clock_offset(void) {
    return (double)GetCurrentTimestamp() / USECS_PER_SEC - gan_seconds();
}

/* Reloads the configuration if the server was told to. PostgreSQL does that between a session's
 * statements, but the coordinator's statement lasts for hours. */
static void reload_configuration(void) {
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
}

/* Sleeps for a number of seconds, or until the latch is set. (pg_sleep() waits for a time of day:
 * if the clock is set back by an hour meanwhile, it lasts an hour longer.) */
void gan_sleep(double seconds) {
    double end = gan_monotonic_seconds() + seconds, left;

    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                    (long)ceil(Max(seconds, 0) * 1000), PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    reload_configuration();
    left = end - gan_monotonic_seconds();
    if (left < -LONG_NAP)
        stood_still -= left;
}
