/*
 * aggregate.h - the step's arithmetic, for whoever takes it (aggregate.c) and whoever checks it (verify.c)
 */
#ifndef GANN_AGGREGATE_H
#define GANN_AGGREGATE_H

#include "gannsfriends.h"

/* The units whose results enter the step, in the order of their first positions. */
typedef struct unit_list {
    int count;
    int64 *units;
    int64 *images;
    int64 total_images;
} unit_list;

typedef struct step step;

/* Takes one blob of the next iteration's state, sealed; it is overwritten after the return. */
typedef void (*step_sink)(step *s, gan_part part, int32 shard, const unsigned char *blob, size_t size);

struct step {
    gan_run run;
    dcgan_networks networks; /* that are stepped */
    unit_list done;
    double norm_g, norm_d;           /* sums of squares until the end */
    uint32 *checksums;               /* of the new shards, statistics last */
    gan_pieces gradients, old, new;  /* the partitions of the inputs, and that of the new state */
    step_sink put;                   /* where the new state goes */
    void *context;                   /* the sink's */
    uint32 *announced, *computed;    /* checksums of the units' gradients of this shard */
    double *sum;                     /* of a tile */
    float *mean;                     /* of a tile */
    unsigned char *state[GAN_PARTS]; /* blobs of this shard's weights and moments, and the change */
    float *difference;               /* [SHARD_COUNT] where there are changes */
};

extern void gan_step_units(step *s);
extern void gan_step_compute(step *s);
extern bytea *gan_step_digest(const step *s);

#endif
