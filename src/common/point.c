/*
 * point.c - kills the worker at a point that a test chooses: GANN_TEST_DIE_AT=NAME or NAME:N, at
 * the N-th time
 */
#include "point.h"

#ifdef WORKER_POINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void worker_point(const char *name) {
    static int times;
    const char *wanted = getenv("GANN_TEST_DIE_AT");
    size_t length = strlen(name);

    if (!wanted || strncmp(wanted, name, length) != 0 ||
        (wanted[length] != 0 && wanted[length] != ':'))
        return;
    if (++times == (wanted[length] == ':' ? atoi(wanted + length + 1) : 1))
        raise(SIGKILL);
}
#else
typedef int nothing_here; /* C wants at least one declaration in a file */
#endif
