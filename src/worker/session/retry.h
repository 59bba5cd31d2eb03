/*
 * retry.h - what fails and may pass
 */
#ifndef GANN_RETRY_H
#define GANN_RETRY_H

#include "session.h"

/* Waits after a failure that may pass, and says why once; END if to stop is asked, FAIL if trying
 * again can't mend it. */
outcome retry_wait(loop *l, server_status status);

/* Forgets failures after a success. */
void retry_success(loop *l);

#endif
