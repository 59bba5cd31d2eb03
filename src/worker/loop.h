/*
 * loop.h - claim, compute, upload, submit, until the run is over
 */
#ifndef GANN_LOOP_H
#define GANN_LOOP_H

#include "dataset.h"
#include "options.h"
#include "server.h"

/* Works until the run is over or to stop is asked; returns the exit status. The dataset is prepared for the
 * run. */
int loop_run(server *s, const options *o, const server_run *run, dataset *data);

#endif
