/*
 * holding.h - whether the caller holds a unit: checked by uploads, renewals and submissions
 */
#ifndef GAN_HOLDING_H
#define GAN_HOLDING_H

#include "../run/run.h"

#include "utils/uuid.h"

/* A unit that was claimed by the caller under a token, and what its run asks of results. */
typedef struct gan_holding {
    int32 run, iteration, worker;
    int64 first_position;
    bool claimed; /* it is not done, and no other unit of its positions was first */
    /* claimed, its lease is running, and the run still wants it: of this iteration, at these
     * weights, and no other unit was opened in its place */
    bool held;
    bool check; /* it is a spot check: computed a second time, never averaged */
    int64 weights_nonce;
    double gradient_limit;
    int32 local_steps, batch;
    bool checks_on; /* there are spot checks */
} gan_holding;

/* Finds the unit; false: the caller has none of that number and token. With lock, nobody else
 * changes it until the end of the transaction. Needs SPI to be connected. */
extern bool gan_holding_find(gan_holding *holding, Datum unit, Datum token, bool lock);

/* Tells whether another unit of the same positions is done: this one came second. */
extern bool gan_holding_beaten(const gan_holding *holding);

/* Makes transactions that name the same key run one after the other, by a lock that no student can
 * take. (If two keys collide, one transaction just waits a moment.) */
typedef enum {
    GAN_LOCK_LOGIN = 0x4000,
    GAN_LOCK_POSITIONS = 0x8000,
    GAN_LOCK_WORKER = 0xc000
} gan_lock_kind;
extern void gan_lock_key(gan_lock_kind kind, uint64 key);

/* transfer.c: what was uploaded for a unit under a token */
typedef struct gan_uploads {
    int32 parts, missing; /* shards that are there, and needed shards that are missing */
    double square_sum;    /* of the gradient, or the change: the square of its norm */
} gan_uploads;

extern void gan_uploads_sum(gan_uploads *up, int32 run, int32 iteration, int64 unit,
                            const pg_uuid_t *token);

#endif
