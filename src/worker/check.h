/*
 * check.h - gan_worker --check: is all well on this machine, and what to do if not
 */
#ifndef GANN_CHECK_H
#define GANN_CHECK_H

#include "../student/options.h"
#include "net/protocol.h"

/* Prints a table of what is fine and what is not, with the remedy: connection, TLS, role, clock,
 * run, link, dataset, speed, and the credit to be expected. Returns the exit status. */
int check_run(server *s, const options *o);

#endif
