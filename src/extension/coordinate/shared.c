/*
 * shared.c - memory that sessions and coordinators share: which databases need a coordinator
 *
 * A session that makes something due sends a request when it commits: it increments a counter and
 * sets the latch of the database's coordinator or, if there is none, of the launcher. A coordinator
 * ends only if no request has come since its last look, so none is lost.
 */
#include "coordinate.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#define DATABASES_MAX 256
/* How many coordinators may be starting at a time: many databases have nothing to coordinate. */
#define STARTING_MAX 2
/* Seconds that a coordinator may take to start. One that failed is started again after as many
 * seconds, and after twice as many for each further failure, up to five minutes. */
#define STARTING_SECONDS 5.0
#define RETRY_SECONDS 5.0
#define RETRY_MOST 300.0

bool gan_coordinator_on = true;

typedef struct database {
    Oid oid;            /* InvalidOid: the slot is free */
    uint32 asked;       /* requests so far; a slot is free again when all are answered */
    Latch *coordinator; /* null: there is none */
    /* by gan_monotonic_seconds: the time of the first request; until when a coordinator may be
     * starting; and before when none is started, because the last ones have failed */
    double asked_at, starting_until, not_before;
    int failures; /* in a row */
} database;

typedef struct shared {
    LWLock *lock;
    Latch *launcher;
    database databases[DATABASES_MAX];
} shared;

static shared *state; /* null if the library is not preloaded */
static database *mine;
static bool ask_at_commit;
static shmem_request_hook_type next_request;
static shmem_startup_hook_type next_startup;
static object_access_hook_type next_access;

static void request_memory(void) {
    if (next_request)
        next_request();
    RequestAddinShmemSpace(MAXALIGN(sizeof(shared)));
    RequestNamedLWLockTranche("gannsfriends", 1);
}

static void start_memory(void) {
    bool found;

    if (next_startup)
        next_startup();
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    state = ShmemInitStruct("gannsfriends", sizeof(shared), &found);
    if (!found) {
        memset(state, 0, sizeof *state);
        state->lock = &GetNamedLWLockTranche("gannsfriends")->lock;
    }
    LWLockRelease(AddinShmemInitLock);
}

/* Finds the slot of a database or, if it has none, a free one; null if there is none. */
static database *find(Oid oid) {
    database *free = NULL;

    for (int i = 0; i < DATABASES_MAX; i++) {
        database *d = &state->databases[i];
        if (d->oid == oid)
            return d;
        if (!free && d->oid == InvalidOid)
            free = d;
    }
    return free;
}

/* Requests a coordinator for a database. */
void gan_shared_ask(Oid oid) {
    static bool complained;
    database *d;
    Latch *woken = NULL;

    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    if ((d = find(oid)) != NULL) {
        d->oid = oid;
        if (d->asked++ == 0)
            d->asked_at = gan_monotonic_seconds();
        woken = d->coordinator ? d->coordinator : state->launcher;
    }
    LWLockRelease(state->lock);
    if (woken)
        SetLatch(woken);
    if (!d && !complained) {
        complained = true;
        ereport(LOG, (errmsg("more than %d databases need a coordinator", DATABASES_MAX)));
    }
}

static void at_end(XactEvent event, void *context) {
    (void)context;
    /* A coordinator sees its own changes anyway. */
    if (event == XACT_EVENT_COMMIT && ask_at_commit && !mine)
        gan_shared_ask(MyDatabaseId);
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        ask_at_commit = false;
}

/* Makes the coordinator of this database look at its runs when this transaction commits. */
void gan_ask_coordinator(void) {
    static bool registered;

    if (!state)
        return;
    if (!registered)
        RegisterXactCallback(at_end, NULL);
    registered = true;
    ask_at_commit = true;
}

/* When an extension is dropped, the coordinator checks whether it was this one. */
static void at_access(ObjectAccessType access, Oid class, Oid object, int part, void *argument) {
    if (access == OAT_DROP && class == ExtensionRelationId)
        gan_ask_coordinator();
    if (next_access)
        next_access(access, class, object, part, argument);
}

PG_FUNCTION_INFO_V1(gan_call_coordinator);

/* The same for SQL. */
Datum gan_call_coordinator(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    gan_ask_coordinator();
    PG_RETURN_VOID();
}

/* Makes this process the one that is woken when a database has no coordinator. */
void gan_shared_launcher(void) {
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    state->launcher = MyLatch;
    LWLockRelease(state->lock);
}

/* Chooses databases that need a coordinator and have none, and stores that one is starting. Sets
 * *more if others need one, now or later. Returns how many were chosen. */
int gan_shared_choose(Oid *databases, int max, bool *more) {
    static int last; /* whose turn it was */
    double now = gan_monotonic_seconds();
    int count = 0, starting = 0;

    *more = false;
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    for (int i = 0; i < DATABASES_MAX; i++)
        starting += !state->databases[i].coordinator && state->databases[i].starting_until > now;
    for (int i = 1, first = last; i <= DATABASES_MAX; i++) {
        int place = (first + i) % DATABASES_MAX;
        database *d = &state->databases[place];
        if (d->oid == InvalidOid || d->coordinator)
            continue;
        *more = true;
        if (d->not_before > now || d->starting_until > now || count == max ||
            starting + count >= STARTING_MAX)
            continue;
        d->starting_until = now + STARTING_SECONDS;
        databases[count++] = d->oid;
        last = place;
    }
    LWLockRelease(state->lock);
    return count;
}

/* Forgets a database that was dropped. */
void gan_shared_forget(Oid oid) {
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    for (int i = 0; i < DATABASES_MAX; i++)
        if (state->databases[i].oid == oid && !state->databases[i].coordinator)
            memset(&state->databases[i], 0, sizeof state->databases[i]);
    LWLockRelease(state->lock);
}

/* However this process ends, it wakes the launcher: unanswered requests remain. */
static void leave_at_exit(int code, Datum argument) {
    Latch *launcher;

    (void)code, (void)argument;
    if (!mine)
        return;
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    mine->coordinator = NULL;
    mine->not_before =
        gan_monotonic_seconds() + Min(RETRY_SECONDS * (1 << Min(mine->failures, 10)), RETRY_MOST);
    mine->failures++;
    launcher = state->launcher;
    LWLockRelease(state->lock);
    mine = NULL;
    if (launcher)
        SetLatch(launcher);
}

/* Makes this process the coordinator of a database; false: there is one already. */
bool gan_shared_enter(Oid oid) {
    database *d;

    before_shmem_exit(leave_at_exit, (Datum)0);
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    d = find(oid);
    if (d && !d->coordinator) {
        d->oid = oid;
        d->coordinator = MyLatch;
        d->starting_until = 0;
        mine = d;
    }
    LWLockRelease(state->lock);
    return mine != NULL;
}

/* Returns the number of requests for this coordinator's database so far. */
uint32 gan_shared_asked(void) {
    uint32 asked;

    LWLockAcquire(state->lock, LW_SHARED);
    asked = mine->asked;
    LWLockRelease(state->lock);
    return asked;
}

/* Stops being the coordinator, unless there was a request since; false: it continues. The slot
 * becomes free: it holds nothing that is still needed. */
bool gan_shared_leave(uint32 seen) {
    Latch *launcher;
    bool left;

    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    left = mine->asked == seen;
    if (left) {
        memset(mine, 0, sizeof *mine);
        mine = NULL;
    }
    launcher = state->launcher;
    LWLockRelease(state->lock);
    if (left && launcher)
        SetLatch(launcher); /* there is room for another one */
    return left;
}

/* Stops being the coordinator because it was switched off: requests remain for when it is on
 * again. */
void gan_shared_abandon(void) {
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    mine->coordinator = NULL;
    LWLockRelease(state->lock);
    mine = NULL;
}

/* Stores that a round succeeded: only failures in a row count. */
void gan_shared_succeeded(void) {
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    mine->failures = 0;
    LWLockRelease(state->lock);
}

/* Tells whether the server coordinates by itself, but this database has no coordinator and no
 * request for one: after a restore of a running run, or a copy of its database. */
bool gan_coordinator_forgotten(void) {
    const database *d;
    bool forgotten;

    if (!state || !gan_coordinator_on)
        return false;
    LWLockAcquire(state->lock, LW_SHARED);
    d = find(MyDatabaseId);
    forgotten = d && d->oid != MyDatabaseId;
    LWLockRelease(state->lock);
    return forgotten;
}

/* Returns the state of this database's coordinator. */
static const char *describe_mine(void) {
    const char *what = "idle";
    const database *d;

    LWLockAcquire(state->lock, LW_SHARED);
    d = find(MyDatabaseId);
    if (!d)
        what = "missing"; /* all slots are taken */
    else if (d->oid == MyDatabaseId && d->coordinator)
        what = "running";
    else if (d->oid == MyDatabaseId)
        what = d->failures == 0 && gan_monotonic_seconds() < d->asked_at + STARTING_SECONDS
                   ? "starting"
                   : "missing";
    LWLockRelease(state->lock);
    return what;
}

PG_FUNCTION_INFO_V1(gan_background_coordinator);

/* Returns the state of the server's own coordinator for this database: "running", "starting",
 * "idle" (there is nothing to coordinate), "missing" (it could not be started), "off" (by the
 * setting) or "not loaded". */
Datum gan_background_coordinator(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(!state                ? "not loaded"
                                     : !gan_coordinator_on ? "off"
                                                           : describe_mine()));
}

void gan_shared_init(void) {
    DefineCustomBoolVariable("gannsfriends.coordinator",
                             "Makes the server coordinate all runs by itself.", NULL,
                             &gan_coordinator_on, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
    next_request = shmem_request_hook;
    shmem_request_hook = request_memory;
    next_startup = shmem_startup_hook;
    shmem_startup_hook = start_memory;
    next_access = object_access_hook;
    object_access_hook = at_access;
}
