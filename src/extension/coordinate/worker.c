/*
 * worker.c - the background worker that coordinates a database
 *
 * It exists while the database has an open run. Between two rounds it sleeps until a request comes,
 * or until the next lease or deadline is over. Every 3 s it looks at the clock, without a
 * transaction. When no run is open it exits, so that DROP DATABASE need not wait for its
 * connection.
 */
#include "coordinate.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* After this many seconds all runs are looked at, in case a request was lost; and so they are at
 * the next request, if that much time has passed. */
#define LOOK_SECONDS 60.0
#define LOOK_AGAIN_SECONDS 1.0
/* Seconds between two looks at the clock. */
#define CLOCK_SECONDS 3.0

PGDLLEXPORT void gan_coordinator_main(Datum argument);

/* Transactions run as gan_owner. The process was started as a superuser, and SET SESSION
 * AUTHORIZATION could make it one again; the security context forbids that to all code that runs
 * here. */
static Oid owner;

static void begin_transaction(void) {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    if (OidIsValid(owner))
        SetUserIdAndSecContext(owner, SECURITY_LOCAL_USERID_CHANGE);
    XactIsoLevel = XACT_READ_COMMITTED;
    SPI_connect();
    PushActiveSnapshot(
        GetTransactionSnapshot()); /* SPI asks for one, and takes newer ones itself */
}

static void end_transaction(void) {
    SPI_finish();
    PopActiveSnapshot();
    CommitTransactionCommand(); /* deferred triggers are run in it */
    if (OidIsValid(owner))
        SetUserIdAndSecContext(owner, 0);
    pgstat_report_stat(false);
}

static void next_transaction(void) {
    end_transaction();
    begin_transaction();
}

/* Returns the quoted schema of the extension in this database; null if there is none, or if it is
 * of a version without background coordinator, which must be updated first. */
static const char *find_schema(void) {
    static gan_statement find = {
        "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace "
        "JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid "
        "AND p.proname OPERATOR(pg_catalog.=) 'gan_next_deadline' "
        "WHERE e.extname OPERATOR(pg_catalog.=) 'gannsfriends'",
        0};

    return gan_run_statement(&find, NULL) == 1 ? TextDatumGetCString(gan_value(0, 1, NULL)) : NULL;
}

/* Counts the runs that need a coordinator, and reads when the next thing is due. */
static int look_ahead(gan_rounds *rounds, double *seconds) {
    static gan_statement look = {"SELECT n.runs, n.seconds FROM %s.gan_next_deadline() AS n", 0};
    static bool named;
    int runs;

    if (!named)
        look.text = gan_with_schema(look.text, rounds->schema);
    named = true;
    begin_transaction();
    gan_run_statement(&look, NULL);
    runs = DatumGetInt32(gan_value(0, 1, NULL));
    *seconds = Min(DatumGetFloat8(gan_value(0, 2, NULL)), LOOK_SECONDS);
    if (rounds->read_only)
        *seconds = Min(*seconds, CLOCK_SECONDS);
    end_transaction();
    return runs;
}

/* Sleeps until there are more requests than seen so far, or for a number of seconds; true: there
 * are. (The latch alone is not enough: waiting for a lock resets it, too.) */
static bool sleep_until_asked(const gan_rounds *rounds, uint32 seen, double seconds) {
    const double end = gan_seconds() + seconds;

    for (double left; gan_coordinator_on && (left = end - gan_seconds()) > 0;) {
        if (gan_shared_asked() != seen)
            return true;
        if (gan_clock_has_jumped(rounds) && !rounds->read_only)
            return false;
        gan_sleep(Min(left, CLOCK_SECONDS));
    }
    return false;
}

/* Coordinates until no run is open. */
static void coordinate(gan_rounds *rounds) {
    bool every = true;

    for (;;) {
        const uint32 seen = gan_shared_asked();
        double seconds;
        int runs;

        begin_transaction();
        if (!OidIsValid(get_extension_oid("gannsfriends", true))) { /* it was dropped */
            end_transaction();
            runs = 0;
        } else {
            pgstat_report_activity(STATE_RUNNING, "gan_tick");
            gan_round(rounds, every);
            end_transaction();
            runs = look_ahead(rounds, &seconds);
            gan_shared_succeeded();
        }
        pgstat_report_activity(STATE_IDLE, NULL);
        if (!gan_coordinator_on) {
            gan_shared_abandon();
            return;
        }
        if (runs == 0 && gan_shared_leave(seen))
            return;
        every = rounds->stepped || runs == 0 || !sleep_until_asked(rounds, seen, seconds) ||
                gan_seconds() > rounds->ticked_all + LOOK_AGAIN_SECONDS;
    }
}

void gan_coordinator_main(Datum argument) {
    gan_rounds rounds = {.next_transaction = next_transaction};
    const Oid database = DatumGetObjectId(argument);
    const char *schema;

    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    if (!gan_shared_enter(database))
        proc_exit(0);
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    pgstat_report_appname("gannsfriends coordinator");
    begin_transaction();
    schema = find_schema();
    if (schema)
        gan_rounds_begin(&rounds, MemoryContextStrdup(TopMemoryContext, schema));
    end_transaction();
    if (schema) {
        begin_transaction();
        SetSessionAuthorization(get_role_oid("gan_owner", false), false);
        end_transaction();
        owner = GetSessionUserId();
        coordinate(&rounds);
    } else
        while (!gan_shared_leave(gan_shared_asked()))
            ;
    proc_exit(0);
}
