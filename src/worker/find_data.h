/*
 * find_data.h - the dataset, where nobody has said where it is
 */
#ifndef GANN_FIND_DATA_H
#define GANN_FIND_DATA_H

#include "dataset.h"
#include "options.h"
#include "server.h"

/*
 * Opens the dataset that --data names, or else finds it: $GANN_DATA, and then the usual places. If the run says
 * which images it is trained on, only those will do; else the first that has as many channels as the run. run
 * may be NULL. Broken images and errors are shown; NULL on failure.
 */
dataset *find_data(const options *o, const server_run *run);

#endif
