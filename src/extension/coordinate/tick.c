/*
 * tick.c - does for one run what is due
 *
 * If the step has all that it needs, it comes first, because the class waits for it. Otherwise the
 * tick takes care of the units: leases that ended, units that are hoarded or fail again and again,
 * uploads lost in a crash of the server, spot checks. Each of these is one statement about the
 * whole run. Several sessions may tick at the same time: one locks the run, the others return at
 * once.
 */
#include "../run/run.h"

#include "catalog/pg_type.h"

/* What a tick has found. The run is locked. */
typedef struct tick {
    Datum run;
    int32 iteration;
    char *state;
    int expired, replaced, aside, reopened; /* units */
    bool checks_on;                         /* spot checks are drawn and judged before the step */
    int done, needed;
    bool others; /* there are units that are not done, which the step does not need */
} tick;

/* Locks the run and reads where it is. Returns false if somebody else has it locked. */
static bool lock_run(tick *t) {
    static gan_statement lock = {
        "SELECT iteration, state, checks_on, iteration_started_at > clock_timestamp() FROM gan_run "
        "WHERE run = $1 FOR NO KEY UPDATE SKIP LOCKED",
        1,
        {INT4OID}};
    static gan_statement set_clock_right = {
        "UPDATE gan_run SET iteration_started_at = clock_timestamp() WHERE run = $1", 1, {INT4OID}};

    if (gan_run_statement(&lock, &t->run) != 1)
        return false;
    t->iteration = DatumGetInt32(gan_value(0, 1, NULL));
    t->state = TextDatumGetCString(gan_value(0, 2, NULL));
    t->checks_on = gan_is_true(0, 3);
    if (gan_is_true(0, 4)) /* the clock was set back */
        gan_run_statement(&set_clock_right, &t->run);
    return true;
}

/* Runs a function that counts the units it has changed. */
static int count(gan_statement *statement, const tick *t) {
    gan_run_statement(statement, (Datum[]){t->run});
    return DatumGetInt32(gan_value(0, 1, NULL));
}

/* Runs a function that says yes or no. */
static bool ask(gan_statement *statement, const tick *t) {
    gan_run_statement(statement, (Datum[]){t->run});
    return gan_is_true(0, 1);
}

/* Takes care of the units that are not done, or no longer done. Returns false if the run has paused
 * itself. */
static bool tend(tick *t) {
    static gan_statement expire = {"SELECT gan_expire_leases($1)", 1, {INT4OID}};
    static gan_statement put_aside = {"SELECT gan_put_aside($1)", 1, {INT4OID}};
    static gan_statement pause_if_refused = {
        "SELECT gan_pause_if_refused(r) FROM gan_run r WHERE r.run = $1", 1, {INT4OID}};
    static gan_statement reopen_vanished = {"SELECT gan_reopen_vanished($1, false)", 1, {INT4OID}};
    static gan_statement check = {
        "SELECT gan_draw_checks(r), gan_judge_checks(r) FROM gan_run r WHERE r.run = $1",
        1,
        {INT4OID}};

    t->expired = count(&expire, t);
    t->aside = count(&put_aside, t);
    if (ask(&pause_if_refused, t))
        return false;
    t->reopened += count(&reopen_vanished, t);
    gan_run_statement(&check, &t->run);
    return true;
}

/* Counts the units that are done, and those that the step waits for. */
static void count_done(tick *t) {
    static gan_statement count_units = {
        "SELECT (SELECT count(*) FROM gan_unit u WHERE u.run = r.run AND u.iteration = r.iteration "
        "AND u.state = 'done' AND NOT u.replaced)::int, gan_units_needed(r), "
        "EXISTS (SELECT FROM gan_work_unit u WHERE u.run = r.run AND u.iteration = r.iteration "
        "AND u.state IN ('pending', 'claimed')) "
        "FROM gan_run r WHERE r.run = $1",
        1,
        {INT4OID}};

    gan_run_statement(&count_units, &t->run);
    t->done = DatumGetInt32(gan_value(0, 1, NULL));
    t->needed = DatumGetInt32(gan_value(0, 2, NULL));
    t->others = gan_is_true(0, 3);
}

/* Takes the step if nothing is missing; returns what the tick reports then, or null. */
static char *step(tick *t) {
    static gan_statement reopen_all_vanished = {
        "SELECT gan_reopen_vanished($1, true)", 1, {INT4OID}};
    static gan_statement checks_hold = {
        "SELECT gan_checks_hold(r) FROM gan_run r WHERE r.run = $1", 1, {INT4OID}};
    static gan_statement take_step = {
        "SELECT gan_take_step(r) FROM gan_run r WHERE r.run = $1", 1, {INT4OID}};

    t->reopened += count(&reopen_all_vanished, t);
    if (t->reopened > 0)
        return NULL; /* if what is left is a quorum, the next tick steps */
    if (ask(&checks_hold, t))
        return psprintf("%s: iteration %d, all %d units are done, spot checks are under way",
                        t->state, t->iteration, t->done);
    gan_run_statement(&take_step, &t->run);
    return TextDatumGetCString(gan_value(0, 1, NULL));
}

/* Says where the run is, and what was done about its units. */
static char *describe(const tick *t) {
    StringInfoData text;

    initStringInfo(&text);
    appendStringInfo(&text, "%s: iteration %d, %d of %d units are done", t->state, t->iteration,
                     t->done, t->needed);
    if (t->expired > 0)
        appendStringInfo(&text, ", %d put back", t->expired);
    if (t->replaced > 0)
        appendStringInfo(&text, ", %d replaced", t->replaced);
    if (t->aside > 0)
        appendStringInfo(&text, ", %d set aside: see gan_set_aside", t->aside);
    if (t->reopened > 0)
        appendStringInfo(&text,
                         ", %d to be done again: the server crashed and their gradients are gone",
                         t->reopened);
    return text.data;
}

/* Does what is due; returns what it says. */
static char *run_tick(tick *t) {
    static gan_statement keep_checkpoints = {
        "SELECT gan_keep_checkpoints(r) FROM gan_run r WHERE r.run = $1 AND r.checkpoint_every > 0",
        1,
        {INT4OID}};
    static gan_statement replace_hoarded = {"SELECT gan_replace_hoarded($1)", 1, {INT4OID}};
    static gan_statement prepare_step = {"SELECT gan_prepare_step($1)", 1, {INT4OID}};
    char *stepped = NULL;

    if (!lock_run(t))
        return "busy: another session is working on this run";
    if (strcmp(t->state, "running") != 0 && strcmp(t->state, "paused") != 0)
        return t->state;
    gan_run_statement(&keep_checkpoints, &t->run);
    count_done(t);
    if (t->others) /* otherwise the step would wait for a hoarded one */
        t->replaced = count(&replace_hoarded, t);
    if (t->done >= t->needed && !t->checks_on)
        stepped = step(t);
    if (stepped)
        return stepped;
    if (!tend(t))
        return psprintf("paused: results of iteration %d were refused: see gan_progress",
                        t->iteration);
    count_done(t);
    if (t->done >= t->needed && t->reopened == 0)
        stepped = step(t);
    else if (strcmp(t->state, "running") == 0)
        gan_run_statement(&prepare_step, &t->run);
    if (stepped)
        return stepped;
    if (t->reopened > 0)
        count_done(t);
    return describe(t);
}

PG_FUNCTION_INFO_V1(gan_tick);

/* Does what is due for a run: leases, the step. Returns at once if another session does that. */
Datum gan_tick(PG_FUNCTION_ARGS) {
    MemoryContext caller = CurrentMemoryContext;
    tick t = {0};
    char *said;
    text *answer;

    SPI_connect();
    t.run = Int32GetDatum(gan_run_find(fcinfo, 0));
    said = run_tick(&t);
    MemoryContextSwitchTo(caller);
    answer = cstring_to_text(said);
    SPI_finish();
    PG_RETURN_TEXT_P(answer);
}
