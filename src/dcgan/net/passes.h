/*
 * passes.h - the passes of a minibatch, of which every kind of unit consists
 *
 * gradients.c runs all of them at the same weights and adds up gradients; local_steps.c moves the
 * weights in between.
 */
#ifndef DCGAN_PASSES_H
#define DCGAN_PASSES_H

#include "network.h"

/* Everything the passes share. */
typedef struct dcgan_passes {
    const dcgan_model *model;
    const dcgan_backend *backend;
    const dcgan_unit *unit;
    dcgan_unit_result *result; /* sums until passes_end() */
    const real *weights;       /* that the passes run at */
    size_t mean_over;          /* images that the gradient is a mean over */
    dcgan_tape generator, discriminator;
    real *images;            /* [batch][image] the minibatch's real images in [-1, 1] */
    real *latent;            /* [batch][latent] */
    real *dlogits;           /* [batch] */
    real *buffers[2];        /* [batch][widest] derivatives, back and forth */
    dcgan_work work;         /* scratch memory and threads */
    double *statistics_sums; /* [statistics_count] */
    pool threads;
} dcgan_passes;

/* Lays out the workspace for minibatches of up to batch images. */
dcgan_status passes_take(dcgan_passes *p, dcgan_arena *arena, size_t batch);

/* Checks what every kind of unit is given. */
dcgan_status passes_check(const dcgan_unit *unit, const dcgan_unit_result *result,
                          const void *workspace);

/* Starts the threads and clears the sums; the workspace is laid out. */
void passes_begin(dcgan_passes *p);

/* Ends the threads. If all went well so far, turns sums into means and looks for NaN and infinity
 * in all of the result. */
dcgan_status passes_end(dcgan_passes *p, dcgan_status status);

/* Asks the caller whether to continue. */
int passes_cancelled(const dcgan_passes *p, size_t images_done);

/*
 * In all of these, first is a minibatch's first image of the unit and count its number of images;
 * share is the weight of its batch-norm statistics. A loss's gradient is added to result->gradient;
 * listener may be null.
 */

/* Learns from real images: D's loss; only judges them where D's gradient is not wanted. */
void passes_real(dcgan_passes *p, size_t first, size_t count, double share);

/* Generates as many images. */
const real *passes_generate(dcgan_passes *p, size_t first, size_t count, double share);

/* Runs the discriminator on images; returns the logits. */
const real *passes_judge(dcgan_passes *p, const real *images, size_t count);

/* Learns from the generated images that were judged last, or only counts: D's loss. */
void passes_fake(dcgan_passes *p, const real *logits, size_t count, double share,
                 const network_listener *listener);

/* Learns from the same, or only counts: G's loss. The tapes of both networks must be those of these
 * images. */
void passes_generator(dcgan_passes *p, const real *logits, size_t count,
                      const network_listener *listener);

#endif
