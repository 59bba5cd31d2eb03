/*
 * step.h - the step: aggregate.c takes it, in one transaction; step.c is its arithmetic, which
 * verify.c repeats to compare, and trace.c to find out which unit makes it fail
 *
 * To compute a step, fill in run, done (the units), the partitions gradients and old, and put, the
 * function that takes the new state; then call gan_step.
 */
#ifndef GAN_STEP_H
#define GAN_STEP_H

#include "../combine/combine.h"

typedef struct step step;

/* Takes one sealed blob of the next iteration's state; the blob is overwritten after the return. */
typedef void (*step_sink)(step *s, gan_part part, int32 shard, const unsigned char *blob,
                          size_t size);

/* Called when the output so far must be discarded; the step is then computed and output again. */
typedef void (*step_restart)(step *s);

struct step {
    gan_run run;
    dcgan_networks networks; /* that are stepped */
    gan_unit_list done;
    gan_pieces gradients, old, new; /* the partitions of the inputs, and that of the new state */
    step_sink put;                  /* takes the new state */
    step_restart restart;
    void *context;                   /* the sink's */
    gan_combiner combiner;           /* of gradients */
    uint32 *checksums;               /* of the new shards, statistics last */
    unsigned char *state[GAN_PARTS]; /* blobs of this shard's weights and moments, and the change */
    float *values[GAN_PARTS];        /* their numbers */
    float *difference;               /* [SHARD_COUNT] where there are changes */
    float *before;                   /* [a tile] weights before they move */
    /* squares: of the update, of the weights */
    double update[DCGAN_NETWORK_COUNT], size[DCGAN_NETWORK_COUNT];
    /* the length of an update relative to that of the weights; 0 if there was none */
    double relative[DCGAN_NETWORK_COUNT];
    double shortened[DCGAN_NETWORK_COUNT]; /* the factors of the updates; 1 at first */
    const char *rule_failure;              /* why the class's own rule failed; null: it didn't */
};

/* aggregate.c: lists the units whose results entered an earlier step, in the same order and with
 * the same weights */
extern void gan_step_units(step *s);

/* step.c: computes the step from gradients and old, and outputs all shards and the statistics */
extern void gan_step(step *s);

/* Returns the norm of a network's combined gradient. */
extern double gan_step_norm(const step *s, int network);

/* Computes the digest of the new state. */
extern bytea *gan_step_digest(const step *s);

#endif
