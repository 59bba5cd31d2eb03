/*
 * feed.h - from the database to the pages: one statement a second, whatever the number of pages
 */
#ifndef GANN_FEED_H
#define GANN_FEED_H

#include "hub.h"
#include "sheets.h"

/*
 * Until a signal asks to stop: asks the database for the state of the watched runs and publishes
 * it, and fetches the sheets that pages ask for. It asks at once when a run's workers are notified
 * (docs/protocol.md), but at most once a second; without notifications every 2 s while a run is
 * running, every 5 s while none is, and not at all while no page is open. If the database does not
 * answer, the pages say so, and it is tried again with back-off.
 *
 * conninfo: NULL for libpq's environment variables. bell: see hub_new(). started: called when the
 * database has answered for the first time. Returns 0, or 1 if it never did, which is then printed
 * on standard error.
 */
int feed_run(const char *conninfo, hub *h, sheets *c, int bell, void (*started)(void *context),
             void *context);

#endif
