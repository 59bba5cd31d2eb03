/*
 * watchdog.c - the background worker that ends students' sessions that hoard
 *
 * PostgreSQL's own timeouts are settings that a session may change, and none of them runs in a
 * pipeline without a Sync or while a failed pipeline is skipped. So a process of the server watches
 * the sessions from outside: how old the transaction is, and how long ago the last statement began
 * or ended, whatever the state. A message that arrives byte by byte counts as waiting, because the
 * statement has not begun. A backend obeys SIGTERM even while it reads or writes a message.
 */
#include "../module/module.h"
#include "guard.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include <signal.h>

int gan_watchdog_seconds;

PGDLLEXPORT void gan_watchdog_main(Datum argument);

static TimestampTz later(TimestampTz a, TimestampTz b) {
    return a > b ? a : b;
}

/* Returns since when a session has been in a state that must not last; 0: it is in no such
 * state. */
static TimestampTz hoards_since(const PgBackendStatus *session, const char **what) {
    TimestampTz last =
        later(session->st_proc_start_timestamp,
              later(session->st_activity_start_timestamp, session->st_state_start_timestamp));

    if (session->st_xact_start_timestamp != 0 && session->st_xact_start_timestamp < last) {
        *what = "its transaction began";
        return session->st_xact_start_timestamp;
    }
    *what = session->st_state == STATE_IDLE ? "its last statement ended" : "its statement began";
    return session->st_state == STATE_DISABLED ? 0 : last;
}

/* Ends the sessions of students that have hoarded for longer than the setting allows. */
static void end_hoarders(void) {
    TimestampTz now = GetCurrentTimestamp();

    pgstat_clear_backend_activity_snapshot();
    for (int i = 1; i <= pgstat_fetch_stat_numbackends(); i++) {
        const PgBackendStatus *session = pgstat_fetch_stat_beentry(i);
        const char *what;
        TimestampTz since;

        if (!session || session->st_procpid <= 0 || session->st_backendType != B_BACKEND ||
            !OidIsValid(session->st_userid))
            continue;
        since = hoards_since(session, &what);
        if (since == 0 || !TimestampDifferenceExceeds(since, now, gan_watchdog_seconds * 1000) ||
            !gan_is_student(session->st_userid))
            continue;
        ereport(LOG, (errmsg("session %d of student \"%s\" is ended: %s %ld s ago",
                             session->st_procpid, GetUserNameFromId(session->st_userid, true), what,
                             (long)((now - since) / USECS_PER_SEC)),
                      errdetail("gannsfriends.watchdog_seconds is %d.", gan_watchdog_seconds)));
        (void)kill(session->st_procpid, SIGTERM); /* it may have ended by itself */
    }
}

/* Chooses how long to sleep: a twelfth of the limit, but at least a second, so that a session is
 * ended with no more delay than that. */
static long nap_ms(void) {
    return gan_watchdog_seconds == 0 ? 10000L
                                     : Max(1000L, Min(5000L, gan_watchdog_seconds * 1000L / 12));
}

void gan_watchdog_main(Datum argument) {
    (void)argument;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    BackgroundWorkerUnblockSignals();
    /* No database: roles and sessions belong to the server. */
    BackgroundWorkerInitializeConnection(NULL, NULL, 0);
    while (!ShutdownRequestPending) {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap_ms(),
                        PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
        }
        if (gan_watchdog_seconds == 0 || ShutdownRequestPending)
            continue;
        StartTransactionCommand();
        end_hoarders();
        CommitTransactionCommand();
    }
    proc_exit(1); /* 0 would mean that it is not to be started again */
}

void gan_watchdog_init(void) {
    BackgroundWorker worker = {.bgw_flags =
                                   BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
                               .bgw_start_time = BgWorkerStart_ConsistentState,
                               .bgw_restart_time = 5,
                               .bgw_name = "gannsfriends watchdog",
                               .bgw_type = "gannsfriends watchdog",
                               .bgw_library_name = "gannsfriends",
                               .bgw_function_name = "gan_watchdog_main"};

    RegisterBackgroundWorker(&worker);
}
