/*
 * spi.c - runs SQL queries through SPI
 */
#include "module.h"

#include "utils/snapmgr.h"

/* Runs a query with parameters; returns the number of rows. Anything but success is an error. */
int gan_execute(const char *query, int arguments, Oid *types, Datum *values, bool read_only) {
    int result = SPI_execute_with_args(query, arguments, types, values, NULL, read_only, 0);

    if (result < 0)
        elog(ERROR, "query failed (%s): %s", SPI_result_code_string(result), query);
    return (int)SPI_processed;
}

/* The same for a query that is run again and again: it is planned once a session. The plan is kept
 * in *plan, null at first. */
int gan_execute_saved(SPIPlanPtr *plan, const char *query, int arguments, Oid *types, Datum *values,
                      bool read_only) {
    int result;

    if (!*plan) {
        SPIPlanPtr prepared = SPI_prepare(query, arguments, types);
        if (!prepared || SPI_keepplan(prepared) != 0)
            elog(ERROR, "could not prepare: %s", query);
        *plan = prepared;
    }
    result = SPI_execute_plan(*plan, values, NULL, read_only, 0);
    if (result < 0)
        elog(ERROR, "query failed (%s): %s", SPI_result_code_string(result), query);
    return (int)SPI_processed;
}

/* Plans a statement, once a session. */
static void plan(gan_statement *statement) {
    if (!statement->plan) {
        SPIPlanPtr prepared = SPI_prepare_cursor(statement->text, statement->count,
                                                 statement->types, CURSOR_OPT_GENERIC_PLAN);
        if (!prepared || SPI_keepplan(prepared) != 0)
            elog(ERROR, "could not prepare: %s", statement->text);
        statement->plan = prepared;
    }
}

static int rows_of(const gan_statement *statement, int result) {
    if (result < 0)
        elog(ERROR, "query failed (%s): %s", SPI_result_code_string(result), statement->text);
    return (int)SPI_processed;
}

/* Runs a statement that is planned once a session, with a generic plan; returns the number of
 * rows. */
int gan_run_with_nulls(gan_statement *statement, Datum *values, const char *nulls) {
    plan(statement);
    return rows_of(statement, SPI_execute_plan(statement->plan, values, nulls, false, 0));
}

/* The same where no value is null. */
int gan_run_statement(gan_statement *statement, Datum *values) {
    return gan_run_with_nulls(statement, values, NULL);
}

/* The same for one that only reads: it sees what is committed now, whatever the isolation level. */
int gan_run_as_it_is_now(gan_statement *statement, Datum *values) {
    Snapshot now = RegisterSnapshot(GetLatestSnapshot());
    int result;

    plan(statement);
    result =
        SPI_execute_snapshot(statement->plan, values, NULL, now, InvalidSnapshot, true, false, 0);
    UnregisterSnapshot(now);
    return rows_of(statement, result);
}

/* Returns one value of the last query's result; a null value is an error if is_null is null. */
Datum gan_value(int row, int column, bool *is_null) {
    bool null;
    Datum value;

    if ((uint64)row >= SPI_processed)
        elog(ERROR, "no row %d in a result", row + 1);
    value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);
    if (is_null)
        *is_null = null;
    else if (null)
        elog(ERROR, "unexpected null in column %d", column);
    return value;
}

/* Returns a boolean of the last query's result; null is false. */
bool gan_is_true(int row, int column) {
    bool null;
    Datum value = gan_value(row, column, &null);

    return !null && DatumGetBool(value);
}

/* Copies bytes into a bytea. */
bytea *gan_bytea(const void *bytes, size_t size) {
    bytea *data = palloc(VARHDRSZ + size);

    SET_VARSIZE(data, VARHDRSZ + size);
    memcpy(VARDATA(data), bytes, size);
    return data;
}
