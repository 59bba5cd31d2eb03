/*
 * compute.h - one work unit in a thread of its own, so that the main thread can renew the lease,
 * show progress and stop it
 */
#ifndef GANN_COMPUTE_H
#define GANN_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "../dcgan/dcgan.h"

typedef struct compute compute;

/* Allocates a thread's memory for a model and for minibatches of up to batch images, for units of
 * local steps or of gradients; NULL when memory is short. device (null: the CPU) is closed with
 * it. */
compute *compute_new(const dcgan_model *model, dcgan_device *device, size_t batch, bool local);
void compute_free(compute *c);

/* Names the GPU that it computes on, in plain characters (for the CPU: ""), and returns its memory
 * in megabytes. */
int compute_gpu(const compute *c, char *name, size_t size);

/* Says that the device has failed with a status, closes it, and computes on the CPU from now on;
 * false if memory is short. */
bool compute_leave_device(compute *c, dcgan_status status);

/* Lets the thread work this percentage of the time, 1 to 100: between passes it sleeps. */
void compute_set_max_cpu(compute *c, int percent);

/* Starts a unit, of local steps if there are options for them. Everything that is passed by pointer
 * must stay until compute_finish(). Returns -1 if no thread can be made. */
int compute_start(compute *c, const dcgan_unit *unit, const dcgan_local_options *local);

/* Returns a file descriptor that becomes readable when more of the gradient is final or the unit is
 * finished. */
int compute_descriptor(const compute *c);

/* Makes the descriptor unreadable again, and tells whether the unit is finished. */
bool compute_finished(compute *c);

/* Tells whether a shard of the gradient will not change any more, and returns the gradient. */
bool compute_shard_final(const compute *c, size_t shard);
const real *compute_gradient(const compute *c);

/* Returns the images done so far. */
size_t compute_progress(const compute *c);

/* Asks the thread to stop after the current pass. */
void compute_cancel(compute *c);

/* Waits for the thread; the result stays valid until the next start. seconds: how long the unit
 * took. */
dcgan_status compute_finish(compute *c, const dcgan_unit_result **result, double *seconds);

#endif
