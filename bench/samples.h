/*
 * samples.h - the clock, and measured numbers: median, best, percentiles
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>

typedef struct samples {
    double *values;
    size_t count, room;
} samples;

/* Returns seconds of the monotonic clock. */
double samples_clock(void);

/* Sleeps until that clock shows a time; returns at once if it does. */
void samples_sleep_until(double time);

/* Adds a value; ends the program if memory is short. */
void samples_add(samples *s, double value);

/* Forgets all values, or gives back the memory too. */
void samples_clear(samples *s);
void samples_free(samples *s);

/* Sorts, and returns the value below which a share (0 … 1) of all lies; 0 if there are none. */
double samples_quantile(samples *s, double share);

#endif
