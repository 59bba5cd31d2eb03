/*
 * procedure.c - a session that coordinates: CALL gan_coordinate(…), by hand or by pg_cron
 */
#include "coordinate.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/timeout.h"

/* Seconds between two checks for due runs; if nothing can be due; and if no run is open. */
#define LOOK_SECONDS 0.02
#define IDLE_SECONDS 0.25

static bool atomic; /* called where transactions can't be ended: the first attempt is an error */

/* Commits, and begins a read-committed transaction, whatever the default is: under "serializable" a
 * step would fail whenever a student submits at the same time. */
static void next_transaction(void) {
    SPI_commit();
    XactIsoLevel = XACT_READ_COMMITTED;
    SPI_finish(); /* frees the memory of the previous statements */
    SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
}

PG_FUNCTION_INFO_V1(gan_coordinate);

/* Ticks runs until the time is over or, without a time, until no run is open: every 20 ms those
 * that are due, every second and after a step all of them. (The first tick of an iteration makes
 * room for the next one's gradients.) */
Datum gan_coordinate(PG_FUNCTION_ARGS) {
    const bool limited = !PG_ARGISNULL(0);
    const double seconds = limited ? PG_GETARG_FLOAT8(0) : 0;
    gan_rounds rounds = {.one_run = !PG_ARGISNULL(1), .next_transaction = next_transaction};

    if (rounds.one_run)
        rounds.run = PG_GETARG_INT32(1);
    /* Some databases have a statement_timeout, but this call must last. */
    disable_timeout(STATEMENT_TIMEOUT, false);
    atomic = !fcinfo->context || !IsA(fcinfo->context, CallContext) ||
             castNode(CallContext, fcinfo->context)->atomic;
    gan_rounds_begin(
        &rounds, quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid))));
    SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
    next_transaction();
    for (;;) {
        gan_round(&rounds, rounds.stepped || gan_seconds() > rounds.ticked_all + 1);
        if (limited ? gan_seconds() >= rounds.began + seconds : rounds.open == 0)
            break;
        if (!rounds.stepped)
            gan_sleep(rounds.read_only || rounds.open == 0 ? IDLE_SECONDS : LOOK_SECONDS);
    }
    SPI_finish();
    PG_RETURN_VOID();
}
