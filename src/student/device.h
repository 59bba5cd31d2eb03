/*
 * device.h - which device computes: the CPU or a GPU
 */
#ifndef GANN_DEVICE_H
#define GANN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "../dcgan/dcgan.h"

/* What a device is wanted for. */
typedef struct device_need {
    const char *wanted; /* --device: auto (or null), cpu, gpu, gpu:N, or a backend's name, as NAME:N
                           where it has several devices */
    const dcgan_model *model;
    int threads;
    size_t batch;       /* images of a minibatch */
    bool smaller_batch; /* may be halved where the device has too little memory */
} device_need;

/*
 * Opens the device that is wanted; of several, the fastest, and says why. *device is null for the
 * CPU, which is also taken where a GPU can't be used. Returns false, having said so, if this
 * machine has no such device.
 */
bool device_choose(device_need *need, dcgan_device **device);

/* Prints what this machine has, for --device list. */
void device_list(void);

/* Names an opened device for people; null: "the CPU". */
void device_name(const dcgan_device *device, char *text, size_t size);

#endif
