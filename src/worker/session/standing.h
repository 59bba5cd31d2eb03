/*
 * standing.h - how the run and this student are doing, and the instructor's messages
 */
#ifndef GANN_STANDING_H
#define GANN_STANDING_H

#include <stdbool.h>

#include "../../student/display.h"
#include "../net/protocol.h"

/* A question that is asked now and then, without waiting for its answer. It must not move until
 * standing_end(). */
typedef struct standing {
    int32_t worker;
    server_reply reply;
    bool asked;      /* the answer is still to be read */
    bool unknown;    /* the server has no such function */
    double last;     /* when it was asked, on clock_now() */
    int64_t message; /* number of the last one that was shown; -1: none yet */
} standing;

void standing_begin(standing *st, int32_t worker);

/* Asks if it is time and there is a connection. Reads an answer that has arrived: shows messages,
 * and notes the rest for the display. */
void standing_poll(standing *st, server *s, display_state *display);

/* Waits for an answer that is under way. */
void standing_end(standing *st, server *s);

#endif
