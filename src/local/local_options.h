/*
 * local_options.h - the command line of gan_local
 */
#ifndef GANN_LOCAL_OPTIONS_H
#define GANN_LOCAL_OPTIONS_H

#include "../student/options.h"

options_answer local_options_read(options *o, int argc, char **argv);

#endif
