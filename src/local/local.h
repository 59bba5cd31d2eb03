/*
 * local.h - gan_local: training on this machine alone
 */
#ifndef GANN_LOCAL_H
#define GANN_LOCAL_H

#include "../student/options.h"

/* Trains to the end, or until a stop is requested, and leaves a checkpoint; returns the exit
 * status. */
int local_run(const options *o);

#endif
