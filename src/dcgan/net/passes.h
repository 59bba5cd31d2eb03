/*
 * passes.h - the passes of a minibatch, of which every kind of unit consists
 *
 * gradients.c runs all of them at the same weights and adds up gradients; local_steps.c moves the
 * weights in between. All of it is queued on the unit's device; the host runs at most two
 * minibatches ahead.
 */
#ifndef DCGAN_PASSES_H
#define DCGAN_PASSES_H

#include "network.h"

#define PASSES_AHEAD 2 /* minibatches that the device has not finished yet */

/* What is added up over all minibatches, behind the statistics. */
typedef enum passes_sum_number {
    SUM_LOSS_D,
    SUM_LOSS_G,
    SUM_RIGHT_REAL, /* images that D was right about */
    SUM_RIGHT_FAKE,
    SUM_RIGHT_G,
    SUM_FINITE, /* NaN or infinite unless all of the gradient is finite */
    PASSES_SUM_COUNT
} passes_sum_number;

/* A part of the gradient that is final when a mark has passed. */
typedef struct passes_final {
    size_t first, count;
    uint64_t mark;
} passes_final;

/* Everything the passes share. */
typedef struct dcgan_passes {
    const dcgan_model *model;
    const dcgan_unit *unit;
    dcgan_unit_result *result;
    dcgan_device *device, cpu; /* the unit's, or else cpu */
    int local;                 /* the unit takes local steps */
    /* On the device. Vectors of the caller's are these tensors where the device can use them. */
    tensor weights;          /* [parameter_count] the unit's, which local steps move */
    tensor gradient;         /* [parameter_count] */
    tensor moment1, moment2; /* [parameter_count] of local steps */
    dcgan_tape generator, discriminator;
    /* [batch][image] the minibatch's real images in [-1, 1], where the generator's will be later */
    tensor images;
    tensor latent;     /* [batch][latent] */
    tensor dlogits;    /* [batch] */
    tensor buffers[2]; /* [batch][widest] derivatives, back and forth */
    tensor sums;       /* [statistics_count] statistics, then PASSES_SUM_COUNT others */
    /* On the host. */
    real *noise[PASSES_AHEAD]; /* [batch][latent], on its way to the device */
    double *host_sums;         /* sums, read back */
    /* What is queued. */
    size_t mean_over;             /* images that the gradient is a mean over */
    size_t minibatch;             /* number of the current one, from 0 */
    uint64_t marks[PASSES_AHEAD]; /* behind the last minibatches */
    passes_final finals[2 * DCGAN_MAX_LAYERS];
    size_t final_count, finals_told;
} dcgan_passes;

/* ---- unit.c ---- */

/* Computes the bytes of the host's workspace, and the reals of a device's own memory, that units
 * with minibatches of up to batch images need. model, device (or null) and local are set. */
dcgan_status passes_measure(dcgan_passes *p, size_t batch, size_t *bytes, size_t *reals);

/* Checks what every kind of unit is given, prepares the device and clears the gradient; the passes
 * run at the unit's weights. */
dcgan_status passes_begin(dcgan_passes *p, void *workspace, size_t workspace_bytes);

/* Closes what passes_begin opened. If all went well so far, waits for the results and looks for NaN
 * and infinity in all of them. */
dcgan_status passes_end(dcgan_passes *p, dcgan_status status);

/* Begins a minibatch, when the device has few enough to do, and ends it. */
dcgan_status passes_begin_minibatch(dcgan_passes *p);
dcgan_status passes_end_minibatch(dcgan_passes *p);

/* Asks the caller whether to continue: DCGAN_OK or DCGAN_CANCELLED. first images are queued. */
dcgan_status passes_continue(const dcgan_passes *p, size_t first);

/* Has a part of the gradient, to which nothing more will be added, given to the caller. (Is a
 * network_listener's layer_done.) */
dcgan_status passes_finish(void *passes, size_t first, size_t count);

/* ---- passes.c ---- */

tensor passes_sum(const dcgan_passes *p, passes_sum_number number);

/*
 * In all of these, first is a minibatch's first image of the unit and count its number of images;
 * share is the weight of its batch-norm statistics. A loss's gradient is added to the gradient;
 * listener may be null.
 */

/* Learns from real images: D's loss; only judges them where D's gradient is not wanted. */
dcgan_status passes_real(dcgan_passes *p, size_t first, size_t count, double share);

/* Generates as many images. */
dcgan_status passes_generate(dcgan_passes *p, size_t first, size_t count, double share);

/* Runs the discriminator on the images that were generated last. */
dcgan_status passes_judge(dcgan_passes *p, size_t count);

/* Learns from the generated images that were judged last, or only counts: D's loss. */
dcgan_status passes_fake(dcgan_passes *p, size_t count, double share,
                         const network_listener *listener);

/* Learns from the same, or only counts: G's loss. The tapes of both networks must be those of these
 * images. */
dcgan_status passes_generator(dcgan_passes *p, size_t count, const network_listener *listener);

#endif
