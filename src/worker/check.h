/*
 * check.h - gan_worker --check: whether all is well on this machine, and what to do if it is not
 */
#ifndef GANN_CHECK_H
#define GANN_CHECK_H

#include "../student/options.h"
#include "net/protocol.h"

/* Prints a table of what is fine and what is not, with remedies: connection, TLS, role, clock, run,
 * link, dataset, speed, and the expected credit. Returns the exit status. */
int check_run(server *s, const options *o);

#endif
