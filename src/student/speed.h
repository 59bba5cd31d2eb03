/*
 * speed.h - how fast a device computes a network
 */
#ifndef GANN_SPEED_H
#define GANN_SPEED_H

#include <stddef.h>

#include "../dcgan/dcgan.h"

/*
 * Measures gradient units of one minibatch, with fresh weights and made-up images, for about so
 * many seconds after a first one. device null: the CPU, with threads. DCGAN_DEVICE_MEMORY: the
 * device (or, for the CPU, this machine) has too little memory for such a minibatch.
 */
dcgan_status speed_measure(const dcgan_model *model, dcgan_device *device, int threads,
                           size_t batch, double seconds, double *images_per_second);

#endif
