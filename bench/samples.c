/*
 * samples.c - the clock, and measured numbers
 */
#define _POSIX_C_SOURCE 200809L

#include "samples.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double samples_clock(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void samples_sleep_until(double time) {
    struct timespec until = {.tv_sec = (time_t)time};

    if (time <= samples_clock())
        return;
    until.tv_nsec = (long)((time - (double)until.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

void samples_add(samples *s, double value) {
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 256;
        double *larger = realloc(s->values, room * sizeof *larger);

        if (!larger) {
            fprintf(stderr, "no memory for %zu samples\n", room);
            exit(1);
        }
        s->values = larger;
        s->room = room;
    }
    s->values[s->count++] = value;
}

void samples_clear(samples *s) {
    s->count = 0;
}

void samples_free(samples *s) {
    free(s->values);
    *s = (samples){0};
}

/* Orders two numbers for qsort. */
static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double samples_quantile(samples *s, double share) {
    size_t place = (size_t)(share * (double)s->count);

    if (s->count == 0)
        return 0;
    qsort(s->values, s->count, sizeof *s->values, compare);
    return s->values[place < s->count ? place : s->count - 1];
}
