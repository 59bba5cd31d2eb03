/*
 * sample.h - gan_worker sample: a sheet of images, from a run or a checkpoint
 */
#ifndef GANN_SAMPLE_H
#define GANN_SAMPLE_H

#include "../student/options.h"

/* Draws and writes the sheet; returns the exit status. */
int sample_run(const options *o);

#endif
