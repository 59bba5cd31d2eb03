/*
 * aggregate.c - takes the step, in one transaction (docs/format.md sections 7 and 9)
 *
 * It locks the run and its units, computes the step (step.c), and closes the iteration: history,
 * credit, the next units. All is committed together or nothing is.
 */
#include "step.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

/* Returns units as an SQL array. */
static Datum unit_array(const int64 *units, int count) {
    Datum *elements = palloc(Max(count, 1) * sizeof *elements);

    for (int i = 0; i < count; i++)
        elements[i] = Int64GetDatum(units[i]);
    return PointerGetDatum(
        construct_array(elements, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Units that may enter the step, in its order; the others were replaced or set aside, or are copies
 * of one that is done. */
#define UNITS_OF_ITERATION                                                                         \
    "SELECT u.unit, u.images::bigint, u.state = 'done', (SELECT w.login::text FROM gan_worker w "  \
    "WHERE w.worker = u.worker) "                                                                  \
    "FROM gan_unit u WHERE u.run = $1 AND u.iteration = $2 "                                       \
    "AND u.state IN ('pending', 'claimed', 'done') AND NOT u.replaced "                            \
    "ORDER BY u.first_position"

/* Lists the units whose results entered an earlier step, in the same order and with the same
 * weights. */
void gan_step_units(step *s) {
    static gan_statement find_units = {UNITS_OF_ITERATION, 2, {INT4OID, INT4OID}};

    gan_unit_list_read(&s->done,
                       gan_run_statement(&find_units, (Datum[]){Int32GetDatum(s->run.run),
                                                                Int32GetDatum(s->run.iteration)}));
}

/*
 * Locks the iteration's units, lists those that are done and returns those that it has locked. It
 * does not wait for a unit that another session has locked: if that unit may be being submitted,
 * the step is postponed; if its lease is long over, gan_tick has already replaced it.
 */
static Datum lock_units(step *s) {
    static gan_statement lock = {
        UNITS_OF_ITERATION " FOR UPDATE OF u SKIP LOCKED", 2, {INT4OID, INT4OID}};
    int rows = gan_run_statement(
        &lock, (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)});
    int64 *locked = palloc0(Max(rows, 1) * sizeof *locked);

    for (int i = 0; i < rows; i++)
        locked[i] = DatumGetInt64(gan_value(i, 1, NULL));
    gan_unit_list_read(&s->done, rows);
    return unit_array(locked, rows);
}

/*
 * Makes sure that no unit is left out that may be being submitted, that is, one that another
 * session has locked. It does not matter if another unit of the same positions is done.
 */
static void require_all_locked(const step *s, Datum locked) {
    static gan_statement find_other = {
        "SELECT EXISTS (SELECT FROM gan_unit u WHERE u.run = $1 AND u.iteration = $2 "
        "AND u.state IN ('pending', 'claimed', 'done') AND u.unit <> ALL ($3) AND NOT u.replaced "
        "AND NOT EXISTS (SELECT FROM gan_work_unit o WHERE o.run = $1 "
        "AND o.first_position = u.first_position AND o.state = 'done' AND o.unit = ANY ($4)))",
        4,
        {INT4OID, INT4OID, INT8ARRAYOID, INT8ARRAYOID}};
    Datum done = unit_array(s->done.units, s->done.count);

    gan_run_statement(&find_other, (Datum[]){Int32GetDatum(s->run.run),
                                             Int32GetDatum(s->run.iteration), locked, done});
    if (DatumGetBool(gan_value(0, 1, NULL)))
        ereport(ERROR,
                (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                 errmsg("a unit of iteration %d is being submitted right now", s->run.iteration),
                 errhint("Try again.")));
}

/* Refuses to step with fewer units than the quorum. */
static void require_quorum(const step *s) {
    static gan_statement count_needed = {
        "SELECT gan_units_needed(r) FROM gan_run r WHERE r.run = $1", 1, {INT4OID}};
    int32 needed;

    gan_run_statement(&count_needed, (Datum[]){Int32GetDatum(s->run.run)});
    needed = DatumGetInt32(gan_value(0, 1, NULL));
    if (s->done.count < needed)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("iteration %d of run %d has %d units done, the quorum is %d",
                               s->run.iteration, s->run.run, s->done.count, needed),
                        errhint("Let workers finish; gan_progress shows what is missing.")));
}

/* Stores the history of the step and opens the next iteration. */
static void close_iteration(const step *s) {
    int count = s->done.count;
    Datum *scales = palloc(count * sizeof *scales);

    for (int i = 0; i < count; i++)
        scales[i] = Float8GetDatum(s->combiner.round.scale[i]);
    gan_execute("SELECT gan_close_iteration($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", 11,
                (Oid[]){INT4OID, INT4OID, INT8ARRAYOID, FLOAT8OID, FLOAT8OID, BYTEAOID, INT4OID,
                        FLOAT8ARRAYOID, FLOAT8OID, FLOAT8OID, TEXTOID},
                (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration),
                          unit_array(s->done.units, count),
                          Float8GetDatum(gan_step_norm(s, DCGAN_OF_GENERATOR)),
                          Float8GetDatum(gan_step_norm(s, DCGAN_OF_DISCRIMINATOR)),
                          PointerGetDatum(gan_step_digest(s)),
                          Int32GetDatum((int32)s->done.account_count),
                          PointerGetDatum(construct_array(scales, count, FLOAT8OID, 8,
                                                          FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
                          Float8GetDatum(s->relative[DCGAN_OF_GENERATOR]),
                          Float8GetDatum(s->relative[DCGAN_OF_DISCRIMINATOR]),
                          CStringGetTextDatum(s->rule_failure ? s->rule_failure : "")},
                false);
}

/* The sink of a step that is taken. */
static void store(step *s, gan_part part, int32 shard, const unsigned char *blob, size_t size) {
    gan_pieces_write(&s->new, part, shard, blob, size, NULL, 0);
}

/*
 * Makes sure, once the next iteration's partition is locked, that no other session has taken the
 * step meanwhile. The lock on the run already ensures that. But page.c overwrites pages for good:
 * the key of gan_history would refuse a second step, but could not restore what was overwritten. So
 * nothing here relies on one lock alone.
 */
static void require_still_due(const step *s) {
    if (gan_execute(
            "SELECT FROM gan_run WHERE run = $1 AND iteration = $2", 2, (Oid[]){INT4OID, INT4OID},
            (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)}, false) != 1)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("another session has taken the step of iteration %d of run %d",
                               s->run.iteration, s->run.run)));
}

/* The shards that were stored are not final. */
static void store_again(step *s) {
    gan_pieces_close(&s->new);
    CommandCounterIncrement();
    gan_state_open_to_fill(&s->new, &s->run, s->run.iteration + 1);
}

/* Opens the partitions that the step reads and the one that it fills. */
static void open_partitions(step *s, Snapshot snapshot) {
    gan_make_room(&s->run);
    GANN_FAULT("room_made");
    gan_pieces_open(&s->gradients, GAN_GRADIENT, s->run.run, s->run.iteration, snapshot);
    gan_pieces_open(&s->old, GAN_STATE, s->run.run, s->run.iteration, snapshot);
    gan_state_open_to_fill(&s->new, &s->run, s->run.iteration + 1);
}

static void close_partitions(step *s) {
    gan_pieces_close(&s->gradients);
    gan_pieces_close(&s->old);
    gan_pieces_close(&s->new);
}

/* Raises an error unless the run is at this iteration and has a step to take. */
static void require_due(const gan_run *run, int32 iteration) {
    if (run->iteration != iteration)
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("run %d is at iteration %d, not %d", run->run, run->iteration, iteration)));
    if (strcmp(run->state, "running") != 0 && strcmp(run->state, "paused") != 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("run %d is %s", run->run, run->state)));
}

PG_FUNCTION_INFO_V1(gan_aggregate);

/* Takes the step of an iteration. */
Datum gan_aggregate(PG_FUNCTION_ARGS) {
    step s = {.put = store, .restart = store_again};
    MemoryContext caller = CurrentMemoryContext, inner;
    Snapshot snapshot;
    char *answer;

    if (PG_ARGISNULL(0))
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("iteration must not be null")));
    SPI_connect();
    gan_run_read(&s.run, gan_run_find(fcinfo, 1), true);
    require_due(&s.run, PG_GETARG_INT32(0));
    require_all_locked(&s, lock_units(&s));
    require_quorum(&s);
    GANN_FAULT("units_locked");
    snapshot = RegisterSnapshot(GetLatestSnapshot()); /* later than the units' locks */
    open_partitions(&s, snapshot);
    require_still_due(&s);
    GANN_FAULT("opened_to_fill");
    gan_step(&s);
    if (s.rule_failure)
        ereport(WARNING, (errmsg("the class's own rule failed in iteration %d of run %d: %s",
                                 s.run.iteration, s.run.run, s.rule_failure),
                          errdetail("This step is taken by \"%s\".", s.run.rule.rule->name)));
    close_partitions(&s);
    UnregisterSnapshot(snapshot);
    GANN_FAULT("before_close");
    close_iteration(&s);
    GANN_FAULT("closed");

    inner = MemoryContextSwitchTo(caller); /* what is returned must outlive SPI */
    answer =
        psprintf("step: run %d is at iteration %d, %d units of " INT64_FORMAT " images averaged%s",
                 s.run.run, s.run.iteration + 1, s.done.count, s.done.total_images,
                 s.rule_failure ? psprintf(" by \"%s\"; the class's own rule failed: %s",
                                           s.run.rule.rule->name, s.rule_failure)
                                : "");
    MemoryContextSwitchTo(inner);
    SPI_finish();
    PG_RETURN_TEXT_P(cstring_to_text(answer));
}
