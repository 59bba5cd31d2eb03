/*
 * mistyped.h - what is wrong with a word of the command line that getopt_long rejected (used by the
 * worker and by the dashboard)
 */
#ifndef GANN_MISTYPED_H
#define GANN_MISTYPED_H

#include <getopt.h>
#include <stddef.h>

/*
 * Says it in words: an option without its value, an option that takes no value, or a word that is
 * not an option, with the option that may have been meant. answer: getopt_long's, ':' or '?'. Text
 * after a "=" is never shown: it may be a password.
 */
void mistyped_describe(char *what, size_t size, int answer, const struct option *known, int argc,
                       char **argv);

#endif
