/*
 * claim.c - gives a worker a unit, or says why there is none
 *
 * A worker has one claim at a time: a lock of its own sees to that. Then it gets the unit that
 * it already holds, or the next free one, or one that is harder to find, under a new token and a
 * lease. Two students can't get the same unit: the search locks the unit that it finds, and skips
 * units that another session has locked.
 */
#include "../coordinate/coordinate.h"
#include "holding.h"
#include "result.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"

/* The next free unit of an iteration behind a position. */
static gan_statement find_free = {
    "SELECT u.unit FROM gan_work_unit u "
    "WHERE u.run = $1 AND u.iteration = $2 AND u.state = 'pending' AND u.first_position > $3 "
    "AND (u.failed_by IS NULL OR session_user <> ALL (u.failed_by)) "
    "ORDER BY u.first_position LIMIT 1 FOR UPDATE SKIP LOCKED",
    3,
    {INT4OID, INT4OID, INT8OID}};

/* The columns of a unit that a worker is given, in the order of gan_claim's. */
#define UNIT_COLUMNS "u.unit, u.token, u.iteration, u.first_position, u.images, u.lease_seconds"

enum { UNIT_COLUMN_COUNT = 6, COLUMN_COUNT = 12 };

/* What gan_claim answers. */
typedef struct answer {
    Datum values[COLUMN_COUNT];
    bool nulls[COLUMN_COUNT];
} answer;

enum { PACE_COUNT = 3 };

enum { LEASE = 5, REASON, MESSAGE, RETRY, NONCE };

/* A claim in progress: the worker, its run, and the state between them. */
typedef struct claim {
    Datum worker, run, iteration, nonce;
    bool no_worker; /* it was not named */
    bool open;      /* units are given out, and to this worker */
    bool suspended, same_images, equal_units, holds_unit, in_good_standing, checks_on;
    Datum pace[PACE_COUNT]; /* what the length of the lease depends on: pace, pace_mad, lapses */
    bool no_pace[PACE_COUNT];
    bool given;            /* there is a unit: in to */
    const char *held_back; /* why its login gets none now although some may be free; or null */
    double held_back_seconds;
    answer to;
} claim;

static void set(claim *c, int column, Datum value) {
    c->to.values[column] = value;
    c->to.nulls[column] = false;
}

/* Has one claim at a time for a worker: without this, two sessions of one worker could both be
 * given a unit. A lock of the row would cost a query and a WAL record more. */
static void lock_worker(const claim *c) {
    gan_lock_key(GAN_LOCK_WORKER,
                 hash_combine64((uint64)GetSessionUserId(), (uint64)DatumGetInt32(c->worker)));
}

static void no_such_worker(const claim *c) {
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
             errmsg("login \"%s\" has no worker %s", GetUserNameFromId(GetSessionUserId(), false),
                    c->no_worker ? "NULL" : psprintf("%d", DatumGetInt32(c->worker))),
             errhint("Start the program again; if that does not help, tell your instructor.")));
}

/* Reads the data that decide on the claim, and those that go to the worker. */
static void read_run(claim *c) {
    static gan_statement read = {
        "SELECT r.iteration, r.weights_nonce, r.weights_nonce_1, r.weights_nonce_2, "
        "r.lease_seconds, "
        "t.suspended, "
        "r.state = 'running' AND r.dataset_digest IS NOT NULL AND t.suspended IS NOT TRUE, "
        "(w.dataset_digest <> r.dataset_digest OR w.dataset_images <> r.dataset_images) IS NOT "
        "TRUE, "
        "r.unit_sizing = 'equal', "
        "EXISTS (SELECT FROM gan_work_unit u WHERE u.worker = w.worker AND u.state = 'claimed'), "
        "(SELECT sum(o.units) >= count(*) AND sum(o.refusals + o.lapses) = 0 FROM gan_worker o "
        "WHERE o.run = w.run AND o.login = w.login), "
        "w.pace, w.pace_mad, w.lapses, r.checks_on, r.run "
        "FROM gan_worker w JOIN gan_run r ON r.run = w.run "
        "LEFT JOIN gan_trust t ON t.run = w.run AND t.login = w.login "
        "WHERE w.worker = $1 AND w.login = session_user",
        1,
        {INT4OID}};

    if (gan_run_as_it_is_now(&read, &c->worker) != 1)
        no_such_worker(c);
    c->iteration = gan_value(0, 1, NULL);
    c->nonce = gan_value(0, 2, NULL);
    for (int i = 0; i < 3; i++)
        c->to.values[NONCE + i] = gan_value(0, 2 + i, &c->to.nulls[NONCE + i]);
    set(c, LEASE, gan_value(0, 5, NULL));
    c->suspended = gan_is_true(0, 6);
    c->open = gan_is_true(0, 7);
    c->same_images = gan_is_true(0, 8);
    c->equal_units = gan_is_true(0, 9);
    c->holds_unit = gan_is_true(0, 10);
    c->in_good_standing = gan_is_true(0, 11);
    for (int i = 0; i < PACE_COUNT; i++)
        c->pace[i] = gan_value(0, 12 + i, &c->no_pace[i]);
    c->checks_on = gan_is_true(0, 12 + PACE_COUNT);
    c->run = gan_value(0, 13 + PACE_COUNT, NULL);
}

/* Refuses a worker whose images are not the run's: the dataset may have been set after the worker
 * joined. */
static void require_same_images(const claim *c) {
    static gan_statement require = {
        "SELECT gan_require_dataset(r, w.dataset_images, w.dataset_digest) "
        "FROM gan_worker w JOIN gan_run r ON r.run = w.run WHERE w.worker = $1",
        1,
        {INT4OID}};

    if (!c->same_images)
        gan_run_statement(&require, (Datum[]){c->worker});
}

/* Takes the columns of a unit from the last query's row. */
static void give(claim *c) {
    for (int i = 0; i < UNIT_COLUMN_COUNT; i++)
        set(c, i, gan_value(0, i + 1, NULL));
    c->given = true;
}

/* Gives the worker the unit that it already holds, under a new token, so that it can continue after
 * a crash or a lost answer. Takes the unit away if it was held too long, if its iteration is over,
 * or if another worker was faster. */
static void give_again(claim *c) {
    static gan_statement find = {
        "SELECT u.unit, (u.done_elsewhere OR u.replaced) AND NOT u.is_check, u.iteration = $2, "
        "u.lease_until > statement_timestamp() "
        "FROM gan_unit u WHERE u.worker = $1 AND u.state = 'claimed' FOR UPDATE OF u",
        2,
        {INT4OID, INT4OID}};
    static gan_statement note_beaten = {"SELECT gan_note_beaten($1)", 1, {INT8OID}};
    static gan_statement put_back = {
        "SELECT gan_put_back(u) FROM gan_work_unit u WHERE u.unit = $1", 1, {INT8OID}};
    static gan_statement put_back_late = {
        "SELECT gan_put_back_late(u) FROM gan_work_unit u WHERE u.unit = $1", 1, {INT8OID}};
    static gan_statement renew = {
        "UPDATE gan_work_unit u SET token = gen_random_uuid(), weights_nonce = $2, "
        "lease_until = gan_lease_end(u.claimed_at, u.lease_seconds, r.lease_seconds) "
        "FROM gan_run r WHERE u.unit = $1 AND r.run = u.run RETURNING " UNIT_COLUMNS,
        2,
        {INT8OID, INT8OID}};
    bool beaten, current, running;
    Datum unit;

    if (!c->holds_unit || gan_run_statement(&find, (Datum[]){c->worker, c->iteration}) != 1)
        return;
    unit = gan_value(0, 1, NULL);
    beaten = gan_is_true(0, 2);
    current = gan_is_true(0, 3);
    running = gan_is_true(0, 4);
    if (beaten)
        gan_run_statement(&note_beaten, &unit);
    else if (!current)
        gan_run_statement(&put_back, &unit);
    else if (!running)
        gan_run_statement(&put_back_late, &unit);
    else {
        gan_run_statement(&renew, (Datum[]){unit, c->nonce});
        give(c);
    }
}

/* Says why the worker's login gets no unit now, if it doesn't. */
static void look_at_standing(claim *c) {
    static gan_statement hold_back = {
        "SELECT h.message, h.retry_seconds FROM gan_hold_back($1, session_user) AS h",
        1,
        {INT4OID}};
    bool none;
    Datum message;

    if (c->in_good_standing)
        return;
    gan_run_statement(&hold_back, &c->run);
    message = gan_value(0, 1, &none);
    if (!none) {
        c->held_back = TextDatumGetCString(message);
        c->held_back_seconds = DatumGetFloat8(gan_value(0, 2, NULL));
    }
}

/* Where this session found its last unit: a hint. */
static struct {
    Datum run, iteration;
    int64 position;
} last;

/* Finds the next free unit after this session's last one, then from the beginning, and locks it.
 * Claimed rows leave dead index entries behind, which an old snapshot may keep for long; in this
 * way a session passes each of them only once. Returns whether there is one. */
static bool find_next(const claim *c, Datum *unit) {
    bool known = last.run == c->run && last.iteration == c->iteration;

    for (int64 after = known ? last.position : -1;; after = -1) {
        if (gan_run_statement(&find_free, (Datum[]){c->run, c->iteration, Int64GetDatum(after)}) ==
            1) {
            *unit = gan_value(0, 1, NULL);
            return true;
        }
        if (after < 0)
            return false;
    }
}

/* Asks an SQL function for a unit, which it has locked; returns whether there is one. */
static bool find_by(gan_statement *statement, const claim *c, Datum *unit) {
    bool none;

    gan_run_statement(statement, (Datum[]){c->worker});
    *unit = gan_value(0, 1, &none);
    return !none;
}

/* Finds a free unit: the next one or, if units have different sizes, one that suits the worker. If
 * none is free: one that was moved for a spot check, one that failed at this login, a copy of a
 * late one. */
static bool find_unit(const claim *c, Datum *unit) {
    static gan_statement find_measured = {"SELECT gan_pick_measured(w, r.iteration) FROM "
                                          "gan_worker w JOIN gan_run r ON r.run = w.run "
                                          "WHERE w.worker = $1",
                                          1,
                                          {INT4OID}};
    static gan_statement find_other = {
        "SELECT coalesce(gan_pick_hidden(r, session_user), gan_pick_failed(w, r.iteration), "
        "gan_back_up(w, r.iteration)) FROM gan_worker w JOIN gan_run r ON r.run = w.run "
        "WHERE w.worker = $1",
        1,
        {INT4OID}};

    return (c->equal_units ? find_next(c, unit) : find_by(&find_measured, c, unit)) ||
           find_by(&find_other, c, unit);
}

#define LEASE_SECONDS "gan_lease_seconds(u.images, $4, $5, $6, $7)"

/* Gives a unit to the worker: token, lease. */
static void take(claim *c, Datum unit) {
    static gan_statement take_unit = {
        "UPDATE gan_work_unit u SET state = 'claimed', worker = $2, token = gen_random_uuid(), "
        "weights_nonce = $3, attempts = u.attempts + 1, claimed_at = statement_timestamp(), "
        "lease_seconds = " LEASE_SECONDS ", "
        "lease_until = statement_timestamp() + make_interval(secs => " LEASE_SECONDS ") "
        "WHERE u.unit = $1 RETURNING " UNIT_COLUMNS,
        7,
        {INT8OID, INT4OID, INT8OID, FLOAT8OID, FLOAT8OID, INT4OID, FLOAT8OID}};
    char nulls[7];

    for (int i = 0; i < 7; i++)
        nulls[i] = i >= 3 && i < 3 + PACE_COUNT && c->no_pace[i - 3] ? 'n' : ' ';
    if (c->checks_on)
        gan_ask_coordinator(); /* it draws whether the unit is checked */
    gan_run_with_nulls(&take_unit,
                       (Datum[]){unit, c->worker, c->nonce, c->pace[0], c->pace[1], c->pace[2],
                                 c->to.values[LEASE]},
                       nulls);
    give(c);
    last.run = c->run;
    last.iteration = c->iteration;
    last.position = DatumGetInt64(gan_value(0, 4, NULL));
}

/* Says that there is a unit. */
static void say_work(claim *c) {
    set(c, REASON, CStringGetTextDatum("work"));
    set(c, MESSAGE,
        CStringGetTextDatum(psprintf("unit " INT64_FORMAT " of iteration %d",
                                     DatumGetInt64(c->to.values[0]),
                                     DatumGetInt32(c->to.values[2]))));
    set(c, RETRY, Float8GetDatum(0));
}

/* Says why there is no work, and when to ask again. Stores that the worker asked, so that it counts
 * as active, unless it is suspended. (A worker that holds a unit is active anyway; submit and
 * release store it, too.) */
static void say_no_work(claim *c) {
    static gan_statement note_seen = {
        "UPDATE gan_worker SET last_seen = statement_timestamp() WHERE worker = $1 "
        "AND last_seen NOT BETWEEN statement_timestamp() - interval '1 s' AND "
        "statement_timestamp()",
        1,
        {INT4OID}};
    static gan_statement explain = {"SELECT n.reason, n.message, n.retry_seconds "
                                    "FROM gan_run r, gan_no_work(r, $2) AS n WHERE r.run = $1",
                                    2,
                                    {INT4OID, BOOLOID}};

    gan_run_statement(&explain, (Datum[]){c->run, BoolGetDatum(c->suspended)});
    for (int i = 0; i < 3; i++)
        set(c, REASON + i, gan_value(0, i + 1, NULL));
    if (c->held_back) {
        set(c, MESSAGE, CStringGetTextDatum(c->held_back));
        set(c, RETRY, Float8GetDatum(c->held_back_seconds));
    }
    for (int i = 0; i < 3; i++)
        c->to.nulls[NONCE + i] = true;
    if (!c->suspended)
        gan_run_statement(&note_seen, &c->worker);
    if (gan_coordinator_forgotten())
        gan_ask_coordinator();
}

/* The claim, from the worker's lock to the answer. */
static void run_claim(claim *c) {
    Datum unit;

    if (c->no_worker)
        no_such_worker(c);
    lock_worker(c);
    read_run(c);
    require_same_images(c);
    if (c->open) {
        give_again(c);
        if (!c->given)
            look_at_standing(c);
        if (!c->given && !c->held_back && find_unit(c, &unit))
            take(c, unit);
    }
    if (c->given)
        say_work(c);
    else
        say_no_work(c);
}

PG_FUNCTION_INFO_V1(gan_claim);

/* Gives a worker a unit with a lease, or the reason why there is none and when to ask again. */
Datum gan_claim(PG_FUNCTION_ARGS) {
    MemoryContext caller = CurrentMemoryContext;
    claim c = {.worker = PG_GETARG_DATUM(0), .no_worker = PG_ARGISNULL(0)};
    TupleDesc descriptor;
    HeapTuple row;

    gan_refuse_block("gan_claim");
    gan_commit_without_waiting();
    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_claim must return a row");
    BlessTupleDesc(descriptor);
    for (int i = 0; i < COLUMN_COUNT; i++)
        c.to.nulls[i] = true;
    SPI_connect();
    gan_refusal_note();
    run_claim(&c);
    MemoryContextSwitchTo(caller);
    row = heap_form_tuple(descriptor, c.to.values, c.to.nulls);
    SPI_finish();
    PG_RETURN_DATUM(HeapTupleGetDatum(row));
}
