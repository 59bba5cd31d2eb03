/*
 * loop.h - works for a class
 */
#ifndef GANN_LOOP_H
#define GANN_LOOP_H

#include "../../dataset/dataset.h"
#include "../../student/options.h"
#include "../net/protocol.h"

typedef enum loop_end { LOOP_STOPPED, LOOP_RUN_OVER, LOOP_FAILED } loop_end;

/* Joins the run and computes units until the run is over, a stop is requested, or something fails
 * for good (which is printed). data must be prepared. */
loop_end loop_run(server *s, const options *o, const server_run *run, dataset *data);

#endif
