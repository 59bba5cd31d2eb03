/*
 * verify.c - computes a step again from its inputs and compares the result bit by bit
 *
 * The last step's inputs, the state of the previous iteration and the uploads, are kept until the
 * next step, or the first tick after it, makes room. It uses the arithmetic of step.c with a sink
 * that compares the new state with the stored one. Nothing is written; it runs in a read-only
 * transaction.
 */
#include "step.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"

/* What was found, as gan_verify returns it; a null message: nothing so far. */
typedef struct finding {
    const char *answer;
    char *part;
    int32 shard;   /* -1: none */
    int64 element; /* -1: none; then there are no values */
    double stored, recomputed;
    char *message;
} finding;

/* The context of the comparing sink. */
typedef struct comparison {
    finding first;
    int others;            /* blobs that differ, besides the first */
    unsigned char *stored; /* [room] */
    float *values[2];      /* decoded changes: stored, recomputed */
} comparison;

/* What gan_history says of the step. */
typedef struct record {
    int32 units;
    int64 images;
    double norm_g, norm_d;
    bytea *digest;
    bool stood_in; /* the class's own rule had failed */
} record;

/* Names a part of the state in words. */
static char *part_name(const gan_run *run, gan_part part, int32 shard) {
    static const char *const names[GAN_PARTS] = {"weights", "first moment", "second moment",
                                                 "copy",    "change",       "moving average"};
    return pstrdup(shard == run->shards ? "running statistics" : names[part]);
}

/* Stores that something isn't kept any more. */
static void not_kept(finding *f, char *message) {
    *f = (finding){.answer = "not kept any more", .shard = -1, .element = -1, .message = message};
}

/* Stores that an input was damaged after it was stored. */
static void damaged(finding *f, char *part, int32 shard, char *message) {
    *f = (finding){
        .answer = "damaged", .part = part, .shard = shard, .element = -1, .message = message};
}

/* Decodes a stored blob and the one it should be; false if its header doesn't allow that. */
static bool decode_both(const step *s, gan_part part, size_t count,
                        const unsigned char *recomputed) {
    comparison *c = s->context;
    blob_element element = part == GAN_CHANGE ? s->run.download : BLOB_FLOAT32;
    blob_status status =
        blob_check_element(c->stored, blob_size_of(count, element), count, element);

    if (status != BLOB_OK && status != BLOB_CRC)
        return false;
    blob_decode(c->values[0], c->stored, count, element);
    blob_decode(c->values[1], recomputed, count, element);
    return true;
}

/* Finds the first number in which a stored blob differs from the recomputed one. */
static void note_difference(const step *s, gan_part part, int32 shard,
                            const unsigned char *recomputed) {
    comparison *c = s->context;
    finding *f = &c->first;
    size_t count = gan_shard_length(&s->run.model, shard), j = 0;

    *f = (finding){.answer = "differs",
                   .part = part_name(&s->run, part, shard),
                   .shard = shard,
                   .element = -1};
    if (decode_both(s, part, count, recomputed)) {
        while (j < count && memcmp(&c->values[0][j], &c->values[1][j], sizeof(float)) == 0)
            j++;
        if (j < count) {
            f->element = (int64)j;
            f->stored = c->values[0][j];
            f->recomputed = c->values[1][j];
            f->message = psprintf("%s, shard %d, number %zu: %.9g is stored, %.9g is recomputed",
                                  f->part, shard, j, f->stored, f->recomputed);
        }
    }
    if (!f->message)
        f->message = psprintf("%s, shard %d: the header or a checksum of the stored blob differs",
                              f->part, shard);
}

/* The sink: compares one blob of the new state with what is stored. */
static void compare(step *s, gan_part part, int32 shard, const unsigned char *blob, size_t size) {
    comparison *c = s->context;
    bool there = gan_pieces_read(&s->new, part, shard, c->stored, size);

    if (there && memcmp(c->stored, blob, size) == 0)
        return;
    if (c->first.message) {
        c->others++;
        return;
    }
    if (there)
        note_difference(s, part, shard, blob);
    else
        c->first = (finding){
            .answer = "differs",
            .part = part_name(&s->run, part, shard),
            .shard = shard,
            .element = -1,
            .message = psprintf("%s, shard %d: iteration %d's are missing, or of another length",
                                part_name(&s->run, part, shard), shard, s->run.iteration + 1)};
}

/* Forgets the comparison so far: the step was longer than the run allows, and is computed again. */
static void compare_again(step *s) {
    comparison *c = s->context;

    c->first = (finding){.shard = -1, .element = -1};
    c->others = 0;
}

/* Checks whether the state from which the step began is whole. */
static void check_state(step *s, finding *f) {
    comparison *c = s->context;

    for (gan_part part = 0; part < GAN_PARTS; part++)
        for (int32 shard = 0; shard <= s->run.shards; shard++) {
            size_t count = gan_shard_length(&s->run.model, shard);
            blob_status status;
            CHECK_FOR_INTERRUPTS();
            if (part == GAN_CHANGE || !gan_shard_has(&s->run, part, shard))
                continue;
            if (!gan_pieces_read(&s->old, part, shard, c->stored, blob_size(count))) {
                not_kept(f, psprintf("the state of iteration %d is not held any more",
                                     s->run.iteration));
                return;
            }
            status = blob_check(c->stored, blob_size(count), count);
            if (status != BLOB_OK) {
                damaged(f, part_name(&s->run, part, shard), shard,
                        psprintf(
                            "%s of iteration %d, from which the step began: the stored shard %d %s",
                            part_name(&s->run, part, shard), s->run.iteration, shard,
                            blob_status_text(status)));
                return;
            }
        }
}

/* Checks whether a unit's uploads are there and whole. */
static void check_upload(step *s, int64 unit, finding *f) {
    comparison *c = s->context;

    for (int32 shard = 0; shard <= s->run.shards; shard++) {
        size_t count = gan_shard_length(&s->run.model, shard);
        blob_status status;
        CHECK_FOR_INTERRUPTS();
        if (!gan_shard_needed(&s->run, s->run.iteration, shard))
            continue;
        if (!gan_pieces_read(&s->gradients, unit, shard, c->stored, blob_size(count))) {
            not_kept(f, psprintf("what the units of iteration %d uploaded is not held any more",
                                 s->run.iteration));
            return;
        }
        status = blob_check(c->stored, blob_size(count), count);
        if (status != BLOB_OK) {
            damaged(f, psprintf("upload of unit " INT64_FORMAT, unit), shard,
                    psprintf("unit " INT64_FORMAT ": the stored shard %d of its upload %s", unit,
                             shard, blob_status_text(status)));
            return;
        }
    }
}

/* Reads what gan_history says of the step. */
static record read_record(const step *s) {
    record r = {0};

    if (gan_execute("SELECT units, images, gradient_norm_g, gradient_norm_d, weights_digest, "
                    "rule_failure IS NOT NULL FROM gan_history "
                    "WHERE run = $1 AND iteration = $2",
                    2, (Oid[]){INT4OID, INT4OID},
                    (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)},
                    true) != 1)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("gan_history has no row for iteration %d of run %d",
                               s->run.iteration, s->run.run)));
    r.units = DatumGetInt32(gan_value(0, 1, NULL));
    r.images = DatumGetInt64(gan_value(0, 2, NULL));
    r.norm_g = DatumGetFloat8(gan_value(0, 3, NULL));
    r.norm_d = DatumGetFloat8(gan_value(0, 4, NULL));
    r.digest = DatumGetByteaPCopy(gan_value(0, 5, NULL));
    r.stood_in = DatumGetBool(gan_value(0, 6, NULL));
    return r;
}

/* Compares what gan_history says of the outcome with what was recomputed. */
static void check_record(const step *s, const record *r, finding *f) {
    const double stored[] = {r->norm_g, r->norm_d},
                 recomputed[] = {gan_step_norm(s, DCGAN_OF_GENERATOR),
                                 gan_step_norm(s, DCGAN_OF_DISCRIMINATOR)};
    static const char *const names[] = {"gradient_norm_g", "gradient_norm_d"};

    for (int i = 0; i < 2 && !f->message; i++)
        if (stored[i] != recomputed[i])
            *f = (finding){"differs",
                           pstrdup(names[i]),
                           -1,
                           0,
                           stored[i],
                           recomputed[i],
                           psprintf("gan_history: %s is %.17g, recomputed it is %.17g", names[i],
                                    stored[i], recomputed[i])};
    if (!f->message && memcmp(VARDATA(r->digest), VARDATA(gan_step_digest(s)), 32) != 0)
        *f = (finding){
            .answer = "differs",
            .part = pstrdup("digest"),
            .shard = -1,
            .element = -1,
            .message = pstrdup("gan_history: weights_digest is not that of the recomputed weights, "
                               "which are the stored ones")};
}

/* Opens an iteration's partition to read, unless a step or a tick has it for itself. */
static void open_to_verify(gan_pieces *p, gan_table table, const gan_run *run, int32 iteration,
                           Snapshot snapshot) {
    Oid relation = RelnameGetRelid(gan_partition(table, run->run, iteration));

    if (!OidIsValid(relation) || !ConditionalLockRelationOid(relation, AccessShareLock))
        ereport(ERROR,
                (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                 errmsg("another session is working on run %d", run->run), errhint("Try again.")));
    gan_pieces_open(p, table, run->run, iteration, snapshot);
    p->lenient = true;
}

/* Recomputes the step from its inputs, if they are there and whole, and compares. */
static void recompute(step *s, finding *f) {
    comparison *c = s->context;
    record r = read_record(s);

    gan_step_units(s);
    if (s->done.count != r.units || s->done.total_images != r.images)
        not_kept(f, psprintf("of the %d units that were averaged in iteration %d, %d are held",
                             r.units, s->run.iteration, s->done.count));
    if (!f->message)
        check_state(s, f);
    for (int i = 0; i < s->done.count && !f->message; i++)
        check_upload(s, s->done.units[i], f);
    if (f->message)
        return;
    if (r.stood_in)
        s->run.sql_rule = NULL;
    gan_step(s);
    if (s->rule_failure) {
        *f = (finding){.answer = "not repeatable",
                       .shard = -1,
                       .element = -1,
                       .message = psprintf("the class's own rule took this step, but failed when "
                                           "it was asked again: %s",
                                           s->rule_failure)};
        return;
    }
    if (c->others > 0)
        c->first.message = psprintf("%s; %d other blobs differ", c->first.message, c->others);
    *f = c->first;
    check_record(s, &r, f);
    if (!f->message)
        *f = (finding){.answer = "verified",
                       .shard = -1,
                       .element = -1,
                       .message =
                           psprintf("iteration %d: %d units of " INT64_FORMAT
                                    " images give the stored state of iteration %d, bit by bit",
                                    s->run.iteration, s->done.count, s->done.total_images,
                                    s->run.iteration + 1)};
}

/* Verifies the step of the iteration that the run is set to; it must be the last one that was
 * taken. */
static void verify(step *s, finding *f) {
    comparison c = {.first = {.shard = -1, .element = -1}};
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

    c.stored = gan_blob_new(SHARD_COUNT);
    c.values[0] = palloc(SHARD_COUNT * sizeof(float));
    c.values[1] = palloc(SHARD_COUNT * sizeof(float));
    s->put = compare;
    s->restart = compare_again;
    s->context = &c;
    open_to_verify(&s->gradients, GAN_GRADIENT, &s->run, s->run.iteration, snapshot);
    open_to_verify(&s->old, GAN_STATE, &s->run, s->run.iteration, snapshot);
    open_to_verify(&s->new, GAN_STATE, &s->run, s->run.iteration + 1, snapshot);
    recompute(s, f);
    gan_pieces_close(&s->gradients);
    gan_pieces_close(&s->old);
    gan_pieces_close(&s->new);
    UnregisterSnapshot(snapshot);
}

/* Makes the row that is returned, in the current memory context. */
static Datum make_row(FunctionCallInfo fcinfo, const finding *f) {
    TupleDesc descriptor;
    Datum values[7];
    bool nulls[7] = {false,          !f->part,       f->shard < 0, f->element < 0 || f->shard < 0,
                     f->element < 0, f->element < 0, false};

    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_verify must return a row");
    values[0] = CStringGetTextDatum(f->answer);
    values[1] = f->part ? CStringGetTextDatum(f->part) : (Datum)0;
    values[2] = Int32GetDatum(f->shard);
    values[3] = Int64GetDatum(f->element);
    values[4] = Float8GetDatum(f->stored);
    values[5] = Float8GetDatum(f->recomputed);
    values[6] = CStringGetTextDatum(f->message);
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

PG_FUNCTION_INFO_V1(gan_verify);

/* Recomputes the step of an iteration and says whether its outcome is what is stored. */
Datum gan_verify(PG_FUNCTION_ARGS) {
    MemoryContext caller = CurrentMemoryContext, inner;
    finding f = {.shard = -1, .element = -1};
    step s = {0};
    int32 iteration;
    Datum row;

    SPI_connect();
    gan_run_read(&s.run, gan_run_find(fcinfo, 1), false);
    iteration = PG_ARGISNULL(0) ? s.run.iteration - 1 : PG_GETARG_INT32(0);
    if (s.run.iteration == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("run %d has not taken a step yet", s.run.run),
                        errhint("A step can be verified after gan_history shows it.")));
    if (iteration < 0 || iteration >= s.run.iteration)
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("run %d has not taken the step of iteration %d", s.run.run, iteration),
                 errhint("It is at iteration %d.", s.run.iteration)));
    if (iteration < s.run.iteration - 1)
        not_kept(&f, psprintf("the state of iteration %d was overwritten by that of iteration %d",
                              iteration, iteration + 2));
    else if (RecoveryInProgress())
        not_kept(&f, pstrdup("uploads are not sent to standbys; ask the primary"));
    else {
        gan_run_at(&s.run, iteration);
        verify(&s, &f);
    }
    inner = MemoryContextSwitchTo(caller); /* what is returned must outlive SPI */
    row = make_row(fcinfo, &f);
    MemoryContextSwitchTo(inner);
    SPI_finish();
    PG_RETURN_DATUM(row);
}
