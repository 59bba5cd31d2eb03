/*
 * wakeup.h - waiting for work
 */
#ifndef GANN_WAKEUP_H
#define GANN_WAKEUP_H

#include "session.h"

/* Rests on battery and in quiet hours; holds no unit then. */
outcome wakeup_rest(loop *l);

/* Waits when there is no work, and says why when the reason changes. */
outcome wakeup_wait(loop *l, const server_claim *claim, char *last_reason, size_t size);

#endif
