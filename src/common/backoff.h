/*
 * backoff.h - how long to wait before another try: exponential, with full jitter, so that the
 * workers of a class don't all come back at once after the server was away
 */
#ifndef GANN_BACKOFF_H
#define GANN_BACKOFF_H

#include <stdbool.h>

typedef struct backoff {
    double ceiling; /* seconds of the longest next wait; 0 before the first failure */
} backoff;

/* Returns the seconds to wait after one more failure: random, up to a ceiling that doubles from
 * 0.5 to 30. */
double backoff_next(backoff *wait);

/* Forgets the failures; returns whether there were any. */
bool backoff_reset(backoff *wait);

/* Varies seconds at random by up to 20 % either way. */
double backoff_jitter(double seconds);

#endif
