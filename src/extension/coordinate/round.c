/*
 * round.c - one round of a coordinator: looks at the runs, and ticks those with something due
 *
 * Each tick is a transaction of its own. Sheets are drawn and quality is measured in another one,
 * while the class computes. An error in one run doesn't stop the others.
 *
 * A procedure that ends transactions can't set its own search_path, so its statements name the
 * schema.
 */
#include "coordinate.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include <math.h>

/* Returns a statement with the schema put in for each %s. It lives as long as the session. */
const char *gan_with_schema(const char *text, const char *schema) {
    StringInfoData made;

    initStringInfo(&made);
    for (const char *gap; (gap = strstr(text, "%s")) != NULL; text = gap + 2) {
        appendBinaryStringInfo(&made, text, (int)(gap - text));
        appendStringInfoString(&made, schema);
    }
    appendStringInfoString(&made, text);
    return MemoryContextStrdup(TopMemoryContext, made.data);
}

/* The statements of a round. Their texts are made when a session begins to coordinate. */
enum { MOVE_LEASES, FIND_DUE, END_HOARDERS, STAYS_READ_ONLY, TICK, OBSERVE, STATEMENTS };

static gan_statement statements[STATEMENTS] = {
    [MOVE_LEASES] = {"SELECT %s.gan_move_leases($1, pg_catalog.make_interval(secs => $2))",
                     2,
                     {INT4OID, FLOAT8OID}},
    [FIND_DUE] = {"SELECT d.open, d.due FROM %s.gan_due($1, $2) AS d", 2, {INT4OID, BOOLOID}},
    [END_HOARDERS] = {"SELECT CASE WHEN %s.gan_guard() OPERATOR(pg_catalog.=) 'not loaded' "
                      "THEN %s.gan_end_hoarders(60) END",
                      0},
    [STAYS_READ_ONLY] = {"SELECT %s.gan_stays_read_only()", 0},
    [TICK] = {"SELECT pg_catalog.starts_with(%s.gan_tick($1), 'step')", 1, {INT4OID}},
    [OBSERVE] = {"SELECT %s.gan_observe($1)", 1, {INT4OID}}};

/* Begins to coordinate. */
void gan_rounds_begin(gan_rounds *rounds, const char *schema) {
    static bool named;

    for (int i = 0; i < STATEMENTS && !named; i++)
        statements[i].text = gan_with_schema(statements[i].text, schema);
    named = true;
    rounds->schema = schema;
    rounds->clock_offset = gan_clock_offset();
    rounds->began = gan_seconds();
    rounds->ticked_all = rounds->looked_for_hoarders = -INFINITY;
}

/* Tells whether the clock was set, or the machine stood still, since the last round. */
bool gan_clock_has_jumped(const gan_rounds *rounds) {
    return fabs(gan_clock_offset() - rounds->clock_offset) > 1;
}

/* If the clock was set or the machine was suspended, shifts all leases by the same amount.
 * Otherwise they would end too early or too late. */
static void follow_clock(gan_rounds *r) {
    double offset = gan_clock_offset(), jump = offset - r->clock_offset;

    if (!gan_clock_has_jumped(r) || XactReadOnly)
        return;
    r->clock_offset = offset;
    r->ticked_all = -INFINITY;
    ereport(LOG, (errmsg("the clock has moved by %.1f s: leases move with it", jump)));
    gan_run_with_nulls(&statements[MOVE_LEASES],
                       (Datum[]){Int32GetDatum(r->run), Float8GetDatum(jump)},
                       r->one_run ? NULL : "n ");
    r->next_transaction();
}

/* The runs with something due. */
static int32 *due;
static int due_count;

/* Finds the runs with something due; every: all of them. */
static void find_due(gan_rounds *r, bool every) {
    Datum list, *elements;
    bool none;

    gan_run_with_nulls(&statements[FIND_DUE], (Datum[]){Int32GetDatum(r->run), BoolGetDatum(every)},
                       r->one_run ? NULL : "n ");
    r->open = DatumGetInt32(gan_value(0, 1, NULL));
    list = gan_value(0, 2, &none);
    due_count = 0;
    if (none)
        return;
    deconstruct_array(DatumGetArrayTypeP(list), INT4OID, 4, true, TYPALIGN_INT, &elements, NULL,
                      &due_count);
    if (!due)
        due = MemoryContextAlloc(TopMemoryContext, sizeof *due);
    due = repalloc(due, (Size)Max(due_count, 1) * sizeof *due);
    for (int i = 0; i < due_count; i++)
        due[i] = DatumGetInt32(elements[i]);
}

/* Reports when the database becomes read-only, and when it no longer is. A session that began while
 * the default was read-only keeps that value even after the default has changed. */
static void look_whether_read_only(gan_rounds *r, bool every) {
    bool before = r->read_only;

    r->read_only = XactReadOnly;
    if (r->read_only && !before)
        ereport(WARNING, (errmsg("the database is read-only"),
                          errhint("The coordinator waits until the database can be written.")));
    else if (before && !r->read_only)
        ereport(NOTICE, (errmsg("the database is no longer read-only")));
    if (r->read_only && every) {
        gan_run_statement(&statements[STAYS_READ_ONLY], NULL);
        if (!gan_is_true(0, 1))
            SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
    }
}

/* Runs a function for a run and returns its boolean result; an error becomes a warning, and the
 * function's changes are rolled back. */
static bool try_for_run(gan_statement *statement, int32 run) {
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    volatile bool yes = false;

    BeginInternalSubTransaction(NULL);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        gan_run_statement(statement, (Datum[]){Int32GetDatum(run)});
        yes = gan_is_true(0, 1);
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
    }
    PG_CATCH();
    {
        ErrorData *error;

        MemoryContextSwitchTo(context);
        error = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
        if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
            ReThrowError(error);
        ereport(WARNING, (errcode(error->sqlerrcode), errmsg("run %d: %s", run, error->message)));
        FreeErrorData(error);
    }
    PG_END_TRY();
    return yes;
}

/* If the library is not preloaded, nothing else ends sessions that hoard. */
static void look_for_hoarders(gan_rounds *r) {
    if (gan_seconds() < r->looked_for_hoarders + 5)
        return;
    gan_run_statement(&statements[END_HOARDERS], NULL);
    r->looked_for_hoarders = gan_seconds();
}

/* Looks at the runs and ticks those that are due; with every, all of them. SPI is connected. */
void gan_round(gan_rounds *r, bool every) {
    follow_clock(r);
    find_due(r, every);
    look_whether_read_only(r, every);
    if (every) {
        r->ticked_all = gan_seconds();
        if (!r->read_only)
            look_for_hoarders(r);
    }
    r->stepped = false;
    if (due_count == 0 || r->read_only)
        r->next_transaction(); /* otherwise the first tick would run in this one */
    /* A tick takes back expired leases, so it must not run just after the clock was set. The
     * beginning of the round checks the clock first. */
    for (int i = 0; i < due_count && !r->read_only && !gan_clock_has_jumped(r); i++) {
        r->stepped = try_for_run(&statements[TICK], due[i]) || r->stepped;
        r->next_transaction();
        try_for_run(&statements[OBSERVE], due[i]); /* a failure here does not affect the run */
        r->next_transaction();
    }
}
