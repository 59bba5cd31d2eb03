/*
 * holding.c - whether the caller holds a unit
 *
 * One query checks everything that a caller needs to work on a unit. It finds the unit by its
 * number and token alone: if the state were a condition, too, the planner might search an index of
 * all claimed units.
 */
#include "holding.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "storage/lmgr.h"

#define FIND                                                                                       \
    "SELECT u.run, u.iteration, u.worker, u.first_position, u.state = 'claimed', "                 \
    "u.state = 'claimed' AND u.lease_until > statement_timestamp() "                               \
    "AND u.iteration = r.iteration AND u.weights_nonce = r.weights_nonce "                         \
    "AND r.state IN ('running', 'paused') AND NOT u.replaced, "                                    \
    "u.is_check, u.weights_nonce, r.gradient_limit, r.local_steps, r.batch, r.checks_on "          \
    "FROM gan_unit u JOIN gan_worker w ON w.worker = u.worker JOIN gan_run r ON r.run = u.run "    \
    "WHERE u.unit = $1 AND u.token = $2 AND w.login = session_user"

/* Finds the unit; false: the caller has none of that number and token. */
bool gan_holding_find(gan_holding *holding, Datum unit, Datum token, bool lock) {
    static gan_statement find = {FIND, 2, {INT8OID, UUIDOID}},
                         find_and_lock = {FIND " FOR UPDATE OF u", 2, {INT8OID, UUIDOID}};

    if (gan_run_statement(lock ? &find_and_lock : &find, (Datum[]){unit, token}) != 1)
        return false;
    *holding = (gan_holding){.run = DatumGetInt32(gan_value(0, 1, NULL)),
                             .iteration = DatumGetInt32(gan_value(0, 2, NULL)),
                             .worker = DatumGetInt32(gan_value(0, 3, NULL)),
                             .first_position = DatumGetInt64(gan_value(0, 4, NULL)),
                             .claimed = gan_is_true(0, 5),
                             .held = gan_is_true(0, 6),
                             .check = gan_is_true(0, 7),
                             .weights_nonce = DatumGetInt64(gan_value(0, 8, NULL)),
                             .gradient_limit = DatumGetFloat8(gan_value(0, 9, NULL)),
                             .local_steps = DatumGetInt32(gan_value(0, 10, NULL)),
                             .batch = DatumGetInt32(gan_value(0, 11, NULL)),
                             .checks_on = gan_is_true(0, 12)};
    return true;
}

/* Tells whether another unit of the same positions is done; for a spot check that is normal. (It
 * reads the latest committed data: the transaction's snapshot may be older, at any isolation
 * level.) */
bool gan_holding_beaten(const gan_holding *holding) {
    static gan_statement find_done = {
        "SELECT FROM gan_work_unit u WHERE u.run = $1 AND u.first_position = $2 AND u.state = "
        "'done'",
        2,
        {INT4OID, INT8OID}};

    return !holding->check &&
           gan_run_as_it_is_now(&find_done, (Datum[]){Int32GetDatum(holding->run),
                                                      Int64GetDatum(holding->first_position)}) > 0;
}

/* Makes transactions that name the same key run one after the other. (Uploads lock by unit and
 * shard, whose numbers are below both kinds.) */
void gan_lock_key(gan_lock_kind kind, uint64 key) {
    LockDatabaseObject(RelationRelationId, (Oid)(key >> 16), (uint16)(kind | (key & 0x3fff)),
                       ExclusiveLock);
}

PG_FUNCTION_INFO_V1(gan_lock_login);

/* Makes claims of a login in a run come one after the other. */
Datum gan_lock_login(PG_FUNCTION_ARGS) {
    const char *login = NameStr(*PG_GETARG_NAME(1));

    gan_lock_key(GAN_LOCK_LOGIN, hash_combine64((uint64)PG_GETARG_INT32(0),
                                                hash_bytes_extended((const unsigned char *)login,
                                                                    (int)strlen(login), 0)));
    PG_RETURN_VOID();
}
