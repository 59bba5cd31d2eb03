/*
 * hub.h - what open pages are told: each event is made once, and the same bytes go to all of them
 *
 * A subscriber reads at its own pace. It is told of the newest event of each kind; one that it was
 * too slow for is left out, so a page on a bad line sees fewer events and none late. Safe to call
 * from any thread.
 */
#ifndef GANN_HUB_H
#define GANN_HUB_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>

#define HUB_RUNS_MAX 64 /* runs that are watched at a time */

/* In this order a subscriber is told them. Those of a run begin at HUB_STATE. */
typedef enum hub_kind {
    HUB_TROUBLE,
    HUB_RUNS,
    HUB_BEAT,
    HUB_STATE,
    HUB_CURVES,
    HUB_KINDS
} hub_kind;

typedef struct hub hub;
typedef struct subscriber subscriber;

/* How a subscriber's connection is put to sleep and woken; called with the hub's lock held. */
typedef void hub_signal(void *connection);

/* Makes a hub. bell: a descriptor to which 8 bytes are written when somebody begins to watch (an
 * eventfd). */
hub *hub_new(hub_signal *sleep, hub_signal *wake, int bell);
void hub_free(hub *h);

/* Adds a subscriber of a run's events, or, with run 0, of those alone that concern no run: so does
 * a run that isn't known, until it is. false: too many runs are watched. */
bool hub_subscribe(hub *h, int run, void *connection, subscriber **made);
void hub_unsubscribe(subscriber *s);

/*
 * Copies at most max bytes of what the subscriber has not been told yet. 0: there is nothing, and
 * its connection was put to sleep. Negative: the hub is closed.
 */
long hub_read(subscriber *s, char *to, size_t max);

/* Makes an event the newest of its kind (of a run, for the kinds of a run) and wakes whom it
 * concerns. The event now belongs to the hub; with unchanged bytes nobody is told. */
void hub_publish(hub *h, hub_kind kind, int run, bytes *event);

/* Says which runs there are: who waits for one of them is told of it from now on, and nobody of one
 * that is gone. */
void hub_know_runs(hub *h, const int *runs, size_t count);

/* Writes the runs that somebody watches (up to HUB_RUNS_MAX) and returns how many; *subscribers:
 * how many pages are open. fresh: only those whose curves nobody has been told yet. */
size_t hub_watched(hub *h, int *runs, bool fresh, size_t *subscribers);

/* Ends all subscribers: their next read says so. */
void hub_close(hub *h);

#endif
