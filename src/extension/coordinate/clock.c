/*
 * clock.c - the coordinator's clock, which nobody sets
 *
 * The time of day may be set by hours while a class computes, and the machine may be suspended.
 * What passes is told by CLOCK_MONOTONIC; the difference of the two tells when something else has
 * happened than time passing.
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

/* seconds that a sleep may last longer than it should before the machine stood still */
#define LONG_NAP 5.0

/* seconds in this session in which nothing ran, though CLOCK_MONOTONIC went on */
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

/* Returns by how many seconds the time of day (since 2000) is ahead of them. Only its changes mean
 * something. */
double gan_clock_offset(void) {
    return (double)GetCurrentTimestamp() / USECS_PER_SEC - gan_seconds();
}

/* Reads the configuration again if the server was told to. Otherwise that is done between a
 * session's statements, and the coordinator's lasts for hours. */
static void reload_configuration(void) {
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
}

/* Sleeps for so many seconds, or until the latch is set. (pg_sleep() waits for a time of day: one
 * that was begun before the clock was set back by an hour lasts an hour.) */
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
