/*
 * backoff.c - waiting times with jitter
 */
#define _GNU_SOURCE

#include "backoff.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define FIRST 0.5
#define LONGEST 30.0

/* Draws a number from 0 up to 1. */
static double draw(void) {
    uint32_t bits;

    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits)
        bits = (uint32_t)clock() * 2654435761u;
    return (double)bits / 4294967296.0;
}

double backoff_next(backoff *wait) {
    wait->ceiling = wait->ceiling <= 0 ? FIRST : wait->ceiling * 2;
    if (wait->ceiling > LONGEST)
        wait->ceiling = LONGEST;
    return draw() * wait->ceiling;
}

bool backoff_reset(backoff *wait) {
    bool failed = wait->ceiling > 0;

    wait->ceiling = 0;
    return failed;
}

double backoff_jitter(double seconds) {
    return seconds * (0.8 + 0.4 * draw());
}
