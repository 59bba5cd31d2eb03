/*
 * bygone.c - functions that only the SQL of 0.1.0 uses
 *
 * PostgreSQL creates a function in C only if the library contains it. Without these the install
 * script of 0.1.0 would fail, and ALTER EXTENSION … UPDATE of such a class could not be tested.
 * Nothing depends on what they did, so here they do nothing.
 */
#include "module.h"

PG_FUNCTION_INFO_V1(gan_claim_mark);

Datum gan_claim_mark(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_INT64(-1);
}

PG_FUNCTION_INFO_V1(gan_claim_mark_set);

Datum gan_claim_mark_set(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(gan_empty_next);

Datum gan_empty_next(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_VOID();
}
