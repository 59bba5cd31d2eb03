/*
 * stop.h - Ctrl-C and SIGTERM: the first asks to stop, the second leaves at once. All waiting of
 * the main thread is done here, so that a signal ends any wait.
 */
#ifndef GANN_STOP_H
#define GANN_STOP_H

#include <stdbool.h>

typedef enum stop_event { STOP_TIMEOUT, STOP_READY, STOP_ASKED, STOP_FAILED } stop_event;

/* Installs the signal handlers; returns -1 if that fails. */
int stop_install(void);

/* Tells whether a stop is requested. */
bool stop_asked(void);

/* Waits until fd (may be -1) has one of poll's events, a stop is requested, or the seconds are
 * over. */
stop_event stop_wait(int fd, short events, double seconds);

/* The same with two descriptors, either of which may be -1. */
stop_event stop_wait_two(int fd, short events, int other, short other_events, double seconds);

#endif
