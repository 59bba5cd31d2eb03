/*
 * check.h - gan_worker --check: is all well on this machine, and what to do if not
 */
#ifndef GANN_CHECK_H
#define GANN_CHECK_H

#include "dataset.h"
#include "options.h"
#include "server.h"

/* Prints a line for the connection, the role, the run, the dataset and the speed; returns the exit status. */
int check_run(server *s, const options *o);

/* Opens the dataset, reporting broken images and errors on the display; NULL on failure. */
dataset *check_open_dataset(const options *o);

#endif
