/*
 * picture.h - a sheet of generated images as a PNG file, by the same code as gan_generate in the
 * server
 */
#ifndef GANN_PICTURE_H
#define GANN_PICTURE_H

#include <stddef.h>

#include "../dcgan/dcgan.h"

#define PICTURE_IMAGES_MAX 4096

/* Draws n images of a seed with running statistics and writes them. Returns 0, or -1 with one line
 * in error. */
int picture_write(const char *path, const dcgan_model *model, const real *weights,
                  const real *running, uint64_t seed, size_t n, char *error, size_t error_size);

#endif
