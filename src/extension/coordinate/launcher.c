/*
 * launcher.c - the background worker that starts coordinators for databases with open runs
 *
 * It is not connected to a database; shared memory tells it which databases need a coordinator.
 * After a start of the server that memory is empty, so it starts a coordinator once for each
 * database, which looks for runs there.
 */
#include "coordinate.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

/* pg_database.datconnlimit of one whose DROP DATABASE was interrupted; -1 is no limit. */
#define DATABASE_BROKEN (-2)

/* How many databases are chosen at a time. */
#define BATCH 8

PGDLLEXPORT void gan_launcher_main(Datum argument);

/* Tells whether a database lets anybody in. (One below 0 connections was being dropped.) */
static bool is_open(const FormData_pg_database *database) {
    return database->datallowconn && database->datconnlimit != DATABASE_BROKEN;
}

/* Requests a coordinator for every database that allows connections. If there is no role gan_owner,
 * the extension was never created. */
static void ask_everywhere(void) {
    Relation databases;
    SysScanDesc scan;
    HeapTuple row;

    StartTransactionCommand();
    if (OidIsValid(get_role_oid("gan_owner", true))) {
        databases = table_open(DatabaseRelationId, AccessShareLock);
        scan = systable_beginscan(databases, InvalidOid, false, NULL, 0, NULL);
        while (HeapTupleIsValid(row = systable_getnext(scan))) {
            const FormData_pg_database *database = (Form_pg_database)GETSTRUCT(row);
            if (is_open(database))
                gan_shared_ask(database->oid);
        }
        systable_endscan(scan);
        table_close(databases, AccessShareLock);
    }
    CommitTransactionCommand();
}

static bool is_there(Oid database) {
    HeapTuple row;
    bool there;

    StartTransactionCommand();
    row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    there = HeapTupleIsValid(row) && is_open((Form_pg_database)GETSTRUCT(row));
    if (HeapTupleIsValid(row))
        ReleaseSysCache(row);
    CommitTransactionCommand();
    return there;
}

/* Starts a coordinator for a database. If the server has no free slot for one, it is tried
 * again. */
static void start(Oid database) {
    BackgroundWorker worker = {.bgw_flags =
                                   BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
                               .bgw_start_time = BgWorkerStart_RecoveryFinished,
                               .bgw_restart_time = BGW_NEVER_RESTART,
                               .bgw_name = "gannsfriends coordinator",
                               .bgw_type = "gannsfriends coordinator",
                               .bgw_library_name = "gannsfriends",
                               .bgw_function_name = "gan_coordinator_main",
                               .bgw_main_arg = ObjectIdGetDatum(database)};
    static bool complained;

    if (!RegisterDynamicBackgroundWorker(&worker, NULL) && !complained) {
        ereport(LOG, (errmsg("no coordinator can be started: the server has no background worker "
                             "left"),
                      errhint("Raise max_worker_processes.")));
        complained = true;
    }
}

/* Starts the coordinators that can be started now. Returns whether more are needed. */
static bool start_wanted(void) {
    Oid chosen[BATCH];
    bool more;
    int count = gan_shared_choose(chosen, BATCH, &more);

    for (int i = 0; i < count; i++)
        if (is_there(chosen[i]))
            start(chosen[i]);
        else
            gan_shared_forget(chosen[i]);
    return more;
}

/* Waits until the latch is set; with retry, a second at most. */
static void wait_for_latch(bool retry) {
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (retry ? WL_TIMEOUT : 0),
                    retry ? 1000 : -1, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
}

void gan_launcher_main(Datum argument) {
    bool was_on = false;

    (void)argument;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(NULL, NULL, 0);
    gan_shared_launcher();
    while (!ShutdownRequestPending) {
        if (gan_coordinator_on && !was_on)
            ask_everywhere();
        was_on = gan_coordinator_on;
        wait_for_latch(gan_coordinator_on && start_wanted());
    }
    proc_exit(1); /* 0 would mean that it is not to be started again */
}

void gan_launcher_init(void) {
    BackgroundWorker worker = {.bgw_flags =
                                   BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
                               .bgw_start_time = BgWorkerStart_RecoveryFinished,
                               .bgw_restart_time = 5,
                               .bgw_name = "gannsfriends launcher",
                               .bgw_type = "gannsfriends launcher",
                               .bgw_library_name = "gannsfriends",
                               .bgw_function_name = "gan_launcher_main"};

    RegisterBackgroundWorker(&worker);
}
