/*
 * shared.c - what sessions and coordinators share: which databases have something to coordinate
 *
 * A session that makes something due says so when it commits: it counts a question up and sets the
 * latch of the database's coordinator, or, if there is none, the launcher's. A coordinator ends only
 * if no question has come since its last look, so none is lost.
 */
#include "coordinate.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define DATABASES_MAX 256
/* Coordinators that may be on their way at a time: many databases have nothing to coordinate. */
#define STARTING_MAX 2
/* Milliseconds after which one that failed, or was never heard of, is started again. */
#define RETRY_MS 5000
/* Milliseconds that one may take to start. */
#define STARTING_MS 3000

bool gan_coordinator_on = true;

typedef struct database {
    Oid oid;                /* InvalidOid: the place is free */
    uint32 asked, answered; /* questions so far, and up to which they are answered */
    Latch *coordinator;     /* null: there is none */
    TimestampTz asked_at;   /* the last time */
    TimestampTz not_before; /* none is started until then: one is on its way, or has failed */
} database;

typedef struct shared {
    LWLock *lock;
    Latch *launcher;
    database databases[DATABASES_MAX];
} shared;

static shared *state; /* null where the library is not preloaded */
static database *mine;
static bool ask_at_commit;
static shmem_request_hook_type next_request;
static shmem_startup_hook_type next_startup;

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

/* Finds the place of a database, or, if it has none, a free one; null if there is none. */
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

/* Asks for a database. */
void gan_shared_ask(Oid oid) {
    database *d;
    Latch *woken = NULL;

    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    if ((d = find(oid)) != NULL) {
        d->oid = oid;
        d->asked++;
        d->asked_at = GetCurrentTimestamp();
        woken = d->coordinator ? d->coordinator : state->launcher;
    }
    LWLockRelease(state->lock);
    if (woken)
        SetLatch(woken);
}

static void at_end(XactEvent event, void *context) {
    (void)context;
    if (event == XACT_EVENT_COMMIT && ask_at_commit)
        gan_shared_ask(MyDatabaseId);
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
        ask_at_commit = false;
}

/* Has the coordinator of this database look at its runs when this transaction is committed. */
void gan_ask_coordinator(void) {
    static bool registered;

    if (!state)
        return;
    if (!registered)
        RegisterXactCallback(at_end, NULL);
    registered = true;
    ask_at_commit = true;
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

/* Chooses databases that want a coordinator and have none, and notes that one is on its way. Sets
 * *more if others want one, now or later. Returns how many were chosen. */
int gan_shared_choose(Oid *databases, int max, bool *more) {
    TimestampTz now = GetCurrentTimestamp();
    int count = 0, starting = 0;

    *more = false;
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    for (int i = 0; i < DATABASES_MAX; i++)
        starting += !state->databases[i].coordinator && state->databases[i].not_before > now;
    for (int i = 0; i < DATABASES_MAX; i++) {
        database *d = &state->databases[i];
        if (d->oid == InvalidOid || d->asked == d->answered || d->coordinator)
            continue;
        *more = true;
        if (d->not_before <= now && count < max && starting + count < STARTING_MAX) {
            d->not_before = TimestampTzPlusMilliseconds(now, RETRY_MS);
            databases[count++] = d->oid;
        }
    }
    LWLockRelease(state->lock);
    return count;
}

/* Forgets a database that is gone. */
void gan_shared_forget(Oid oid) {
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    for (int i = 0; i < DATABASES_MAX; i++)
        if (state->databases[i].oid == oid && !state->databases[i].coordinator)
            memset(&state->databases[i], 0, sizeof state->databases[i]);
    LWLockRelease(state->lock);
}

/* However this process ends, the launcher hears of it: what was asked and not answered is asked
 * still. */
static void leave_at_exit(int code, Datum argument) {
    Latch *launcher;

    (void)code, (void)argument;
    if (!mine)
        return;
    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    mine->coordinator = NULL;
    mine->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
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
        d->not_before = 0;
        mine = d;
    }
    LWLockRelease(state->lock);
    return mine != NULL;
}

/* Returns how often this coordinator's database was asked for so far. */
uint32 gan_shared_asked(void) {
    uint32 asked;

    LWLockAcquire(state->lock, LW_SHARED);
    asked = mine->asked;
    LWLockRelease(state->lock);
    return asked;
}

/* Ends being the coordinator, unless it was asked since; false: it goes on. */
bool gan_shared_leave(uint32 seen) {
    Latch *launcher;
    bool left;

    LWLockAcquire(state->lock, LW_EXCLUSIVE);
    left = mine->asked == seen;
    if (left) {
        mine->answered = seen;
        mine->coordinator = NULL;
        mine = NULL;
    }
    launcher = state->launcher;
    LWLockRelease(state->lock);
    if (left && launcher)
        SetLatch(launcher); /* there is room for another one */
    return left;
}

/* Tells how it stands with this database. */
static const char *describe_mine(void) {
    const char *what = "idle";

    LWLockAcquire(state->lock, LW_SHARED);
    for (int i = 0; i < DATABASES_MAX; i++) {
        const database *d = &state->databases[i];
        if (d->oid != MyDatabaseId)
            continue;
        if (d->coordinator)
            what = "running";
        else if (d->asked != d->answered)
            what = TimestampDifferenceExceeds(d->asked_at, GetCurrentTimestamp(), STARTING_MS)
                       ? "missing"
                       : "starting";
    }
    LWLockRelease(state->lock);
    return what;
}

PG_FUNCTION_INFO_V1(gan_background_coordinator);

/* Tells whether the server coordinates this database's runs by itself: "running", "starting", "idle"
 * (there is nothing to coordinate), "missing" (it could not be started), "off" (by the setting) or
 * "not loaded". */
Datum gan_background_coordinator(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(!state                ? "not loaded"
                                     : !gan_coordinator_on ? "off"
                                                           : describe_mine()));
}

void gan_shared_init(void) {
    DefineCustomBoolVariable("gannsfriends.coordinator",
                             "Has the server coordinate all runs by itself.", NULL,
                             &gan_coordinator_on, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
    next_request = shmem_request_hook;
    shmem_request_hook = request_memory;
    next_startup = shmem_startup_hook;
    shmem_startup_hook = start_memory;
}
