/*
 * picture.h - a sheet of generated images as a PNG file, by the same code as gan_generate in the
 * server
 */
#ifndef GANN_PICTURE_H
#define GANN_PICTURE_H

#include <stddef.h>

#include "../dcgan/dcgan.h"

#define PICTURE_IMAGES_MAX 4096
#define PICTURE_BATCH 16 /* drawn at a time, as in the server */

/* Draws n images of a seed with running statistics, on a device (null: the CPU), and writes them.
 * Returns 0, or -1 with one line in error. */
int picture_write(const char *path, const dcgan_model *model, const real *weights,
                  const real *running, dcgan_device *device, uint64_t seed, size_t n, char *error,
                  size_t error_size);

#endif
