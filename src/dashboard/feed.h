/*
 * feed.h - from the database to the pages: one statement a second, whatever the number of pages
 */
#ifndef GANN_FEED_H
#define GANN_FEED_H

#include "hub.h"
#include "sheets.h"

/*
 * Until a signal asks to stop: asks the database what the watched runs are doing and publishes it,
 * and fetches the sheets that pages ask for. It asks at once when a run's workers are woken
 * (docs/protocol.md), but no more often than once a second; without such a word every 2 s while a
 * run is running, every 5 s while none is, and not at all while no page is open. The database being
 * away is told to the pages and tried again with back-off.
 *
 * conninfo: NULL for libpq's environment variables. bell: see hub_new(). started: called once the
 * database has answered for the first time. Returns 0, or 1 if it didn't, which is then said on
 * standard error.
 */
int feed_run(const char *conninfo, hub *h, sheets *c, int bell, void (*started)(void *context),
             void *context);

#endif
