/*
 * bygone.c - functions that only the SQL of 0.1.0 calls
 *
 * A server has this library from the moment that it is installed, and its databases have the old SQL
 * until ALTER EXTENSION … UPDATE: a class goes on meanwhile. There gan_claim asked where the
 * session's last claim had found its unit. It was a hint, and it can do without.
 */
#include "../module/module.h"

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
