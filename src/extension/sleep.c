/*
 * sleep.c - the coordinator's sleep, by a clock that nobody sets
 *
 * pg_sleep() waits for a time of day: one that was begun before the clock was set back by an hour lasts an
 * hour.
 */
#include "gannsfriends.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(gan_sleep);

/* Sleeps for so many seconds, or less if there is something else to heed. */
Datum gan_sleep(PG_FUNCTION_ARGS) {
    double milliseconds = PG_GETARG_FLOAT8(0) * 1000;

    if (!(milliseconds >= 0 && milliseconds <= 60000))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("gan_sleep sleeps for 0 to 60 seconds, not %g", milliseconds / 1000)));
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long)milliseconds,
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    PG_RETURN_VOID();
}
