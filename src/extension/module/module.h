/*
 * module.h - what all of the extension needs: PostgreSQL's headers, queries (spi.c), errors, memory
 *
 * The other folders build on this one, each on those before it: guard/ (what a student's session
 * may do), run/ (a run as a value), store/ (its tensors in tables), coordinate/ (who ticks, and
 * when), claim/ (units, uploads), combine/ (combines results), step/, and extras/, which could be
 * left out.
 */
#ifndef GAN_MODULE_H
#define GAN_MODULE_H

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "../../dcgan/dcgan.h"
#include "fault.h"

/* spi.c: all of these need SPI to be connected. Runs a query with parameters; returns the number of
 * rows. Anything but success is an error. */
extern int gan_execute(const char *query, int arguments, Oid *types, Datum *values, bool read_only);

/* The same for a query that is run again and again: it is planned once a session. The plan is kept
 * in *plan, null at first. */
extern int gan_execute_saved(SPIPlanPtr *plan, const char *query, int arguments, Oid *types,
                             Datum *values, bool read_only);

/* The same as a value: the query and the types of its parameters. The plan is generic. */
typedef struct gan_statement {
    const char *text;
    int count;
    Oid types[9];
    SPIPlanPtr plan; /* null at first */
} gan_statement;

extern int gan_run_statement(gan_statement *statement, Datum *values);

/* The same where some values may be null: an 'n' at their places in nulls, a blank at the others'. */
extern int gan_run_with_nulls(gan_statement *statement, Datum *values, const char *nulls);

/* The same for a query that only reads: it sees what is committed now, whatever the isolation
 * level. */
extern int gan_run_as_it_is_now(gan_statement *statement, Datum *values);

/* Returns one value of the last query's result, columns from 1; a null value is an error if is_null
 * is null. */
extern Datum gan_value(int row, int column, bool *is_null);

/* The same for a boolean, where null is false. */
extern bool gan_is_true(int row, int column);

/* Copies bytes into a bytea. */
extern bytea *gan_bytea(const void *bytes, size_t size);

/* memory.c: lets this backend keep a few megabytes that it frees */
extern void gan_keep_memory(void);

/* Limits the memory of this process to what it has and a number of bytes more; returns the previous
 * limit, which gan_free_memory restores. */
extern uint64 gan_bound_memory(uint64 more);
extern void gan_free_memory(uint64 before);

/* module.c: raises an error inside a transaction block */
extern void gan_refuse_block(const char *name);

/* Makes this transaction commit without waiting for the disk. */
extern void gan_commit_without_waiting(void);

/* Turns a status of the library into an error; DCGAN_OK does nothing. */
extern void gan_check_status(dcgan_status status);

#endif
