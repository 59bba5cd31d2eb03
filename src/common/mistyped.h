/*
 * mistyped.h - what is wrong with a word of the command line that getopt_long did not take (used by
 * the worker and by the dashboard)
 */
#ifndef GANN_MISTYPED_H
#define GANN_MISTYPED_H

#include <getopt.h>
#include <stddef.h>

/*
 * Says it in words: an option that lacks its value, one that takes none, or none at all, and then
 * which one may have been meant. answer: getopt_long's, ':' or '?'. What follows a "=" is never
 * shown: it may be a password.
 */
void mistyped_describe(char *what, size_t size, int answer, const struct option *known, int argc,
                       char **argv);

#endif
