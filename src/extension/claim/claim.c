/*
 * claim.c - where a session's search for a free unit begins
 *
 * Units are claimed in the order of their positions. A claim that began at the first one each time
 * would pass over the index entries of all that were claimed before. So each session remembers
 * where it found its last one and begins behind it. It is a hint: whoever finds nothing there
 * begins again at the front.
 */
#include "../module/module.h"

static int32 mark_run = -1, mark_iteration;
static int64 mark_position;

PG_FUNCTION_INFO_V1(gan_claim_mark);

/* Returns the position of this session's last claim in a run's iteration, or -1. */
Datum gan_claim_mark(PG_FUNCTION_ARGS) {
    bool known = mark_run == PG_GETARG_INT32(0) && mark_iteration == PG_GETARG_INT32(1);

    PG_RETURN_INT64(known ? mark_position : -1);
}

PG_FUNCTION_INFO_V1(gan_claim_mark_set);

/* Notes the position of a claim. */
Datum gan_claim_mark_set(PG_FUNCTION_ARGS) {
    mark_run = PG_GETARG_INT32(0);
    mark_iteration = PG_GETARG_INT32(1);
    mark_position = PG_GETARG_INT64(2);
    PG_RETURN_VOID();
}
