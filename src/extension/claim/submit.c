/*
 * submit.c - accepts a unit's result: compare, then set
 *
 * One query checks that the caller may submit the unit, and locks it (holding.c); what it has
 * checked can only change under that lock. Then the unit becomes done, only one for its positions:
 * submissions of the same positions run one after the other.
 */
#include "../coordinate/coordinate.h"
#include "holding.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/float.h"

#include <math.h>

/* A submission: what the worker sends, and the answer. */
typedef struct submission {
    Datum unit, token;
    int32 batch;
    double losses[2], accuracies[2]; /* of discriminator and generator; of real and false images */
    gan_holding holding;
    const char *answer, *code, *message; /* null: there is nothing to say */
} submission;

/* Runs a function of the database about the unit, which the caller has locked. */
static void about_unit(gan_statement *statement, const submission *s) {
    gan_run_statement(statement, (Datum[]){s->unit, CStringGetTextDatum(s->code ? s->code : ""),
                                           CStringGetTextDatum(s->message ? s->message : "")});
}

/* Refuses the result, with the reason. */
static void refuse(submission *s, const char *code, const char *message) {
    s->answer = "refused";
    s->code = code;
    s->message = message;
}

static bool is_between(double value, double low, double high) {
    return value >= low && value <= high; /* NaN is not */
}

/* Tells whether a result can be accepted; otherwise says why not. */
static bool check(submission *s) {
    const gan_holding *h = &s->holding;
    gan_uploads up;

    gan_uploads_sum(&up, h->run, h->iteration, DatumGetInt64(s->unit), DatumGetUUIDP(s->token));
    if (up.missing > 0)
        refuse(s, "incomplete",
               psprintf("%d of %d shards of unit " INT64_FORMAT
                        " were uploaded under this token; upload the rest",
                        up.parts, up.parts + up.missing, DatumGetInt64(s->unit)));
    else if (!(sqrt(up.square_sum) <= h->gradient_limit))
        refuse(s, "too_large",
               psprintf("the norm of the %s is %s, the run's gradient_limit is %s",
                        h->local_steps > 0 ? "change" : "gradient",
                        float8out_internal(sqrt(up.square_sum)),
                        float8out_internal(h->gradient_limit)));
    else if (s->batch < 1 || s->batch > 4096 || !is_between(s->losses[0], 0, 1e6) ||
             !is_between(s->losses[1], 0, 1e6) || !is_between(s->accuracies[0], 0, 1) ||
             !is_between(s->accuracies[1], 0, 1))
        refuse(s, "bad_value",
               "the minibatch must be between 1 and 4096, losses between 0 and 1000000, "
               "accuracies between 0 and 1");
    else if ((h->local_steps > 0 || h->checks_on) && s->batch != h->batch)
        refuse(s, "bad_value",
               psprintf("the %s of this run have %d images, not %d",
                        h->local_steps > 0 ? "local steps" : "minibatches (they are spot-checked)",
                        h->batch, s->batch));
    return s->code == NULL;
}

/* Makes submissions of the same positions run one after the other, until the end of the
 * transaction. */
static void lock_positions(const gan_holding *h) {
    gan_lock_key(GAN_LOCK_POSITIONS, hash_combine64((uint64)h->run, (uint64)h->first_position));
}

/* Accepts the unit. */
static void accept_result(submission *s) {
    static gan_statement finish = {
        "UPDATE gan_work_unit SET state = CASE WHEN audits IS NULL THEN 'done' ELSE 'checked' END, "
        "lease_until = NULL, submitted_at = statement_timestamp(), batch = $2, "
        "loss_d = gan_plain($3), loss_g = gan_plain($4), "
        "accuracy_real = gan_plain($5), accuracy_fake = gan_plain($6) WHERE unit = $1",
        6,
        {INT8OID, INT4OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID}};
    static gan_statement note = {"SELECT gan_note_accepted($1)", 1, {INT4OID}}; /* the worker */

    gan_run_statement(&finish,
                      (Datum[]){s->unit, Int32GetDatum(s->batch), Float8GetDatum(s->losses[0]),
                                Float8GetDatum(s->losses[1]), Float8GetDatum(s->accuracies[0]),
                                Float8GetDatum(s->accuracies[1])});
    gan_run_statement(&note, (Datum[]){Int32GetDatum(s->holding.worker)});
    gan_ask_coordinator(); /* the quorum may be there */
    s->answer = "accepted";
    s->message = psprintf("unit " INT64_FORMAT " was accepted", DatumGetInt64(s->unit));
}

/* Decides on a unit that the caller holds. */
static void decide(submission *s) {
    static gan_statement note_beaten = {
        "SELECT gan_note_beaten($1) WHERE $2 <> '' AND $3 <> ''", 3, {INT8OID, TEXTOID, TEXTOID}};
    static gan_statement note_failure = {
        "SELECT gan_note_failure(u, $2, $3) FROM gan_work_unit u WHERE u.unit = $1",
        3,
        {INT8OID, TEXTOID, TEXTOID}};

    lock_positions(&s->holding);
    if (gan_holding_beaten(&s->holding)) {
        refuse(s, "done_by_other",
               psprintf("somebody else submitted the images of unit " INT64_FORMAT " first",
                        DatumGetInt64(s->unit)));
        s->answer = "stale";
        about_unit(&note_beaten, s);
    } else if (check(s))
        accept_result(s);
    else if (strcmp(s->code, "incomplete") != 0)
        about_unit(&note_failure, s);
}

/* Says why the caller can't submit this unit; changes nothing. */
static void explain_stale(submission *s, FunctionCallInfo fcinfo) {
    static gan_statement why = {
        "SELECT y.answer, y.code, y.message FROM gan_why_stale($1, $2, $3) AS y",
        3,
        {INT8OID, UUIDOID, INT8OID}};
    const char **texts[] = {&s->answer, &s->code, &s->message};
    Datum values[3];
    char nulls[3];

    for (int i = 0; i < 3; i++) {
        values[i] = PG_GETARG_DATUM(i);
        nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
    }
    gan_run_with_nulls(&why, values, nulls);
    for (int i = 0; i < 3; i++) {
        bool null;
        Datum said = gan_value(0, i + 1, &null);
        *texts[i] = null ? NULL : TextDatumGetCString(said);
    }
}

/* Reads a number of the submission; null becomes NaN, which nothing accepts. */
static double number(FunctionCallInfo fcinfo, int argument) {
    return PG_ARGISNULL(argument) ? NAN : PG_GETARG_FLOAT8(argument);
}

/* Tells whether the caller holds the unit and computed it at the weights of its claim. */
static bool is_held(submission *s, FunctionCallInfo fcinfo) {
    for (int i = 0; i < 3; i++)
        if (PG_ARGISNULL(i))
            return false;
    return gan_holding_find(&s->holding, s->unit, s->token, true) && s->holding.held &&
           s->holding.weights_nonce == PG_GETARG_INT64(2);
}

PG_FUNCTION_INFO_V1(gan_submit);

/* Answers a submission: accepted, already, stale or refused, and why. */
Datum gan_submit(PG_FUNCTION_ARGS) {
    submission s = {.unit = PG_GETARG_DATUM(0),
                    .token = PG_GETARG_DATUM(1),
                    .batch = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3),
                    .losses = {number(fcinfo, 4), number(fcinfo, 5)},
                    .accuracies = {number(fcinfo, 6), number(fcinfo, 7)}};
    MemoryContext caller = CurrentMemoryContext;
    TupleDesc descriptor;
    HeapTuple row;

    gan_refuse_block("gan_submit");
    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_submit must return a row");
    BlessTupleDesc(descriptor);
    SPI_connect();
    if (is_held(&s, fcinfo))
        decide(&s);
    else
        explain_stale(&s, fcinfo);
    MemoryContextSwitchTo(caller);
    row = heap_form_tuple(descriptor,
                          (Datum[]){CStringGetTextDatum(s.answer),
                                    s.code ? CStringGetTextDatum(s.code) : (Datum)0,
                                    s.message ? CStringGetTextDatum(s.message) : (Datum)0},
                          (bool[]){false, !s.code, !s.message});
    SPI_finish();
    PG_RETURN_DATUM(HeapTupleGetDatum(row));
}
