/*
 * hub.h - events for open pages: each event is made once, and the same bytes go to all pages
 *
 * A subscriber reads at its own pace. It gets the newest event of each kind and skips those that it
 * was too slow for, so a page on a bad line sees fewer events, but none late. Safe to call from any
 * thread.
 */
#ifndef GANN_HUB_H
#define GANN_HUB_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>

#define HUB_RUNS_MAX 64 /* runs that are watched at a time */

/* In the order in which a subscriber gets them. Those of a run begin at HUB_STATE. */
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

/* Puts a subscriber's connection to sleep, and wakes it; called with the hub's lock held. */
typedef void hub_signal(void *connection);

/* Makes a hub. bell: a descriptor to which 8 bytes are written when somebody begins to watch (an
 * eventfd). */
hub *hub_new(hub_signal *sleep, hub_signal *wake, int bell);
void hub_free(hub *h);

/* Adds a subscriber of a run's events or, with run 0, only of events that concern no run. For an
 * unknown run it gets only those, too, until the run exists. false: too many runs are watched. */
bool hub_subscribe(hub *h, int run, void *connection, subscriber **made);
void hub_unsubscribe(subscriber *s);

/*
 * Copies at most max bytes of the events that are new to the subscriber. 0: there is nothing, and
 * its connection was put to sleep. Negative: the hub is closed.
 */
long hub_read(subscriber *s, char *to, size_t max);

/* Makes an event the newest of its kind (of a run, for the kinds of a run) and wakes its
 * subscribers. The event now belongs to the hub; if its bytes are unchanged, nobody is woken. */
void hub_publish(hub *h, hub_kind kind, int run, bytes *event);

/* Sets which runs exist: subscribers that wait for one of them get its events from now on, and
 * nobody gets events of a run that is gone. */
void hub_know_runs(hub *h, const int *runs, size_t count);

/* Writes the runs that somebody watches (up to HUB_RUNS_MAX) and returns how many; *subscribers:
 * the number of open pages. fresh: only runs whose curves were not published yet. */
size_t hub_watched(hub *h, int *runs, bool fresh, size_t *subscribers);

/* Ends all subscribers: their next read says so. */
void hub_close(hub *h);

#endif
