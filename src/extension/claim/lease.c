/*
 * lease.c - renews a lease, and releases a unit
 */
#include "../coordinate/coordinate.h"
#include "holding.h"
#include "result.h"

#include "catalog/pg_type.h"

PG_FUNCTION_INFO_V1(gan_renew);

/* Extends the lease on a unit: the seconds that it lasts from now on; null: it is lost. */
Datum gan_renew(PG_FUNCTION_ARGS) {
    static gan_statement extend = {
        "UPDATE gan_work_unit u SET lease_until = "
        "gan_lease_end(u.claimed_at, u.lease_seconds, r.lease_seconds) "
        "FROM gan_run r WHERE u.unit = $1 AND r.run = u.run "
        "RETURNING extract(epoch FROM u.lease_until - statement_timestamp())::float8",
        1,
        {INT8OID}};
    gan_holding holding;
    double seconds = 0;
    bool held;

    gan_refuse_block("gan_renew");
    gan_commit_without_waiting();
    SPI_connect();
    held = !PG_ARGISNULL(0) && !PG_ARGISNULL(1) &&
           gan_holding_find(&holding, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), true) &&
           holding.held && !gan_holding_beaten(&holding);
    if (held) {
        gan_run_statement(&extend, (Datum[]){PG_GETARG_DATUM(0)});
        seconds = DatumGetFloat8(gan_value(0, 1, NULL));
    }
    SPI_finish();
    if (!held)
        PG_RETURN_NULL();
    PG_RETURN_FLOAT8(seconds);
}

/* Wakes the workers that wait for a unit, unless another unit is free, because then nobody waits.
 * (If that unit is just being claimed, the waiting workers find this one at their next poll.) */
static void wake_for(const gan_holding *holding, Datum unit) {
    static gan_statement another_is_free = {
        "SELECT FROM gan_work_unit u WHERE u.run = $1 AND u.iteration = $2 "
        "AND u.state = 'pending' AND u.unit <> $3 LIMIT 1",
        3,
        {INT4OID, INT4OID, INT8OID}};
    static gan_statement wake = {"SELECT gan_wake($1)", 1, {INT4OID}};
    Datum run = Int32GetDatum(holding->run);

    if (gan_run_statement(&another_is_free,
                          (Datum[]){run, Int32GetDatum(holding->iteration), unit}) == 0)
        gan_run_statement(&wake, (Datum[]){run});
}

PG_FUNCTION_INFO_V1(gan_release);

/* Gives a unit back undone, whatever the state of its run; false: the caller did not hold it. */
Datum gan_release(PG_FUNCTION_ARGS) {
    static gan_statement put_back = {
        "SELECT gan_put_back(u) FROM gan_work_unit u WHERE u.unit = $1", 1, {INT8OID}};
    static gan_statement note_return = {
        "UPDATE gan_worker SET last_seen = statement_timestamp(), returns = returns + $2 "
        "WHERE worker IN (SELECT w.worker FROM gan_worker w WHERE w.worker = $1 "
        "FOR NO KEY UPDATE SKIP LOCKED)",
        2,
        {INT4OID, INT4OID}};
    Datum unit = PG_GETARG_DATUM(0);
    gan_holding holding;
    bool held;

    gan_refuse_block("gan_release");
    gan_commit_without_waiting();
    SPI_connect();
    gan_refusal_note();
    held = !PG_ARGISNULL(0) && !PG_ARGISNULL(1) &&
           gan_holding_find(&holding, unit, PG_GETARG_DATUM(1), true) && holding.claimed;
    if (held) {
        gan_run_statement(&put_back, (Datum[]){unit});
        gan_run_statement(&note_return, (Datum[]){Int32GetDatum(holding.worker),
                                                  Int32GetDatum(holding.checks_on)});
        wake_for(&holding, unit);
        if (holding.checks_on)
            gan_ask_coordinator();
    }
    SPI_finish();
    PG_RETURN_BOOL(held);
}
