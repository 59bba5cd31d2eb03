/*
 * clock.h - a clock that only goes forward
 */
#ifndef GANN_CLOCK_H
#define GANN_CLOCK_H

/* Returns its seconds. */
double clock_now(void);

#endif
