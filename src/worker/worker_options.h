/*
 * worker_options.h - the command line of gan_worker
 */
#ifndef GANN_WORKER_OPTIONS_H
#define GANN_WORKER_OPTIONS_H

#include "../student/options.h"

/* Reads the command line. Removes a connection string from argv, where every user of the machine
 * could read it. */
options_answer worker_options_read(options *o, int argc, char **argv);

#endif
