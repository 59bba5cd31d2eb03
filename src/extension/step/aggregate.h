/*
 * aggregate.h - the step's arithmetic, for whoever takes it (aggregate.c) and whoever checks it (verify.c)
 */
#ifndef GANN_AGGREGATE_H
#define GANN_AGGREGATE_H

#include "combine.h"

typedef struct step step;

/* Takes one blob of the next iteration's state, sealed; it is overwritten after the return. */
typedef void (*step_sink)(step *s, gan_part part, int32 shard, const unsigned char *blob, size_t size);

/* Called if all that was put out is to be forgotten: it comes again, as it shall be. */
typedef void (*step_restart)(step *s);

struct step {
    gan_run run;
    dcgan_networks networks; /* that are stepped */
    gan_unit_list done;
    gan_pieces gradients, old, new; /* the partitions of the inputs, and that of the new state */
    step_sink put;                  /* where the new state goes */
    step_restart restart;
    void *context;                   /* the sink's */
    gan_combiner combiner;           /* of gradients */
    uint32 *checksums;               /* of the new shards, statistics last */
    unsigned char *state[GAN_PARTS]; /* blobs of this shard's weights and moments, and the change */
    float *difference;               /* [SHARD_COUNT] where there are changes */
    float *before;                   /* [a tile] weights before they move */
    double update[DCGAN_NETWORK_COUNT], size[DCGAN_NETWORK_COUNT]; /* squares: of the update, of the weights */
    double shortened[DCGAN_NETWORK_COUNT]; /* by what updates are multiplied; 1 at first */
};

extern void gan_step_units(step *s);
extern void gan_step_compute(step *s);
extern double gan_step_norm(const step *s, int network);
extern bytea *gan_step_digest(const step *s);

#endif
