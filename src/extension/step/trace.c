/*
 * trace.c - finds the unit that makes a step fail
 *
 * Each result is checked again by itself, as on arrival, because it may have been damaged since. If
 * all are fine by themselves, the step is tried with fewer of them, and its output is thrown away
 * (gan_find_guilty in SQL chooses the units).
 */
#include "step.h"
#include "../claim/result.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include <math.h>

/* What is wrong with a result; a null text: nothing. */
typedef struct fault {
    bool damaged; /* the stored data is not what was sent, so the account is not to blame */
    char *what;
} fault;

/* Checks one shard of a unit's result; squares is added up. */
static fault check_shard(const gan_run *run, gan_pieces *pieces, int64 unit, int32 shard,
                         double limit, unsigned char *blob, double *squares) {
    size_t count = gan_shard_length(&run->model, shard);
    blob_status status;
    double sum;
    char *what;

    if (!gan_pieces_read(pieces, unit, shard, blob, blob_size(count)))
        return (fault){true, psprintf("shard %d is missing", shard)};
    status = blob_check(blob, blob_size(count), count);
    if (status != BLOB_OK)
        return (fault){true, psprintf("the stored shard %d %s", shard, blob_status_text(status))};
    what = gan_shard_problem(run, shard, gan_blob_values(blob), limit, &sum);
    *squares += shard < run->shards ? sum : 0;
    return (fault){false, what};
}

/* Checks all that is stored of a unit's result. */
static fault check_result(const gan_run *run, gan_pieces *pieces, int64 unit, double limit) {
    unsigned char *blob = gan_blob_new(SHARD_COUNT);
    double squares = 0;
    fault f = {0};

    for (int32 shard = 0; shard <= run->shards && !f.what; shard++) {
        CHECK_FOR_INTERRUPTS();
        if (gan_shard_needed(run, run->iteration, shard))
            f = check_shard(run, pieces, unit, shard, limit, blob, &squares);
    }
    if (!f.what && !(sqrt(squares) <= limit))
        f.what = psprintf("its norm is %g, the run's gradient_limit is %g", sqrt(squares), limit);
    return f;
}

PG_FUNCTION_INFO_V1(gan_check_result);

/* Returns what is wrong with a unit's result by itself, and whether it was damaged after it
 * arrived; null if nothing is. */
Datum gan_check_result(PG_FUNCTION_ARGS) {
    double limit = PG_GETARG_FLOAT8(2);
    MemoryContext caller = CurrentMemoryContext, inner;
    Snapshot snapshot;
    TupleDesc descriptor;
    gan_pieces pieces;
    Datum values[2];
    gan_run run;
    fault f;

    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_check_result must return a row");
    BlessTupleDesc(descriptor);
    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    snapshot = RegisterSnapshot(GetLatestSnapshot());
    gan_pieces_open(&pieces, GAN_GRADIENT, run.run, run.iteration, snapshot);
    f = check_result(&run, &pieces, PG_GETARG_INT64(1), limit);
    gan_pieces_close(&pieces);
    UnregisterSnapshot(snapshot);
    inner = MemoryContextSwitchTo(caller);
    values[0] = BoolGetDatum(f.damaged);
    values[1] = f.what ? CStringGetTextDatum(f.what) : (Datum)0;
    MemoryContextSwitchTo(inner);
    SPI_finish();
    PG_RETURN_DATUM(
        HeapTupleGetDatum(heap_form_tuple(descriptor, values, (bool[]){false, !f.what})));
}

/* The sink of a step that is only tried. */
static void discard(step *s, gan_part part, int32 shard, const unsigned char *blob, size_t size) {
    (void)s, (void)part, (void)shard, (void)blob, (void)size;
}

static void discard_again(step *s) {
    (void)s;
}

/* Lists those of the units that are done, in the step's order. */
static void list_units(step *s, Datum units) {
    gan_unit_list_read(
        &s->done,
        gan_execute(
            "SELECT u.unit, u.images::bigint, true, w.login::text FROM gan_work_unit u JOIN "
            "gan_worker w ON w.worker = u.worker WHERE u.unit = ANY ($1) AND u.state = 'done' "
            "ORDER BY u.first_position",
            1, (Oid[]){INT8ARRAYOID}, (Datum[]){units}, false));
}

PG_FUNCTION_INFO_V1(gan_try_step);

/* Computes the step of the run's iteration from these units alone and throws the outcome away;
 * raises the error that the step would. */
Datum gan_try_step(PG_FUNCTION_ARGS) {
    Snapshot snapshot;
    step s = {0};

    SPI_connect();
    gan_run_read(&s.run, PG_GETARG_INT32(0), false);
    list_units(&s, PG_GETARG_DATUM(1));
    if (s.done.count > 0) {
        snapshot = RegisterSnapshot(GetLatestSnapshot());
        gan_pieces_open(&s.gradients, GAN_GRADIENT, s.run.run, s.run.iteration, snapshot);
        gan_pieces_open(&s.old, GAN_STATE, s.run.run, s.run.iteration, snapshot);
        s.put = discard;
        s.restart = discard_again;
        gan_step(&s);
        gan_pieces_close(&s.gradients);
        gan_pieces_close(&s.old);
        UnregisterSnapshot(snapshot);
    }
    SPI_finish();
    PG_RETURN_VOID();
}
