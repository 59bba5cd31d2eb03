/*
 * retry.h - waiting after temporary failures
 */
#ifndef GANN_RETRY_H
#define GANN_RETRY_H

#include "session.h"

/* Waits after a temporary failure, and prints the reason once. END: a stop was requested; FAIL:
 * trying again won't help. */
outcome retry_wait(loop *l, server_status status);

/* Forgets failures after a success. */
void retry_success(loop *l);

#endif
