/*
 * begin.h - what both programs for students do before their work
 */
#ifndef GANN_BEGIN_H
#define GANN_BEGIN_H

#include "options.h"

#include <stdbool.h>

/* Prepares the screen, Ctrl-C and the priority; false, having said why, if Ctrl-C can't be
 * caught. */
bool begin_program(const options *o);

#endif
