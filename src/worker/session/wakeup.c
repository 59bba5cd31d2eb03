/*
 * wakeup.c - waiting for work: until the server notifies us that there may be some, or until the
 * time that it named is over
 *
 * Every login can send such a notification, so it only makes the worker ask, and at most every
 * 50 ms.
 */
#include "wakeup.h"
#include "lease.h"
#include "retry.h"
#include "../../student/rest.h"
#include "../../common/clock.h"
#include "../../common/stop.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define WAKEUP_SECONDS 0.05

/* Waits until a notification arrives (or has arrived already), the connection is lost, or the time
 * is over. */
static outcome wait_until(loop *l, double until) {
    bool connected = server_connected(l->server);

    while (!server_woken(l->server) && connected == server_connected(l->server) &&
           clock_now() < until) {
        if (stop_wait(server_descriptor(l->server), POLLIN, until - clock_now()) == STOP_ASKED)
            return END;
        server_receive(l->server);
        standing_poll(&l->standing, l->server, &l->display);
    }
    return GO_ON;
}

outcome wakeup_rest(loop *l) {
    char why[120], last[120] = "";

    while (rest_due(&l->options->rest, why, sizeof why)) {
        lease_give_back_ahead(l);
        if (strcmp(why, last) != 0)
            display_say("%s", why);
        memcpy(last, why, sizeof last);
        display_progress(&l->display, why);
        if (stop_wait(server_descriptor(l->server), POLLIN, 1) == STOP_ASKED)
            return END;
        server_receive(l->server);
        (void)server_woken(l->server);
        standing_poll(&l->standing, l->server, &l->display);
    }
    if (last[0] != '\0')
        display_say("working again");
    return GO_ON;
}

outcome wakeup_wait(loop *l, const server_claim *claim, char *last_reason, size_t size) {
    double start = clock_now(), until = start + backoff_jitter(claim->retry_seconds);
    outcome o;

    if (strcmp(last_reason, claim->why) != 0 && strcmp(claim->why, "waiting") != 0)
        display_say("%s", claim->message);
    snprintf(last_reason, size, "%s", claim->why);
    display_progress(&l->display, claim->message);
    o = wait_until(l, until);
    if (o == GO_ON && clock_now() < l->woken_at + WAKEUP_SECONDS &&
        stop_wait(-1, 0, l->woken_at + WAKEUP_SECONDS - clock_now()) == STOP_ASKED)
        o = END;
    l->woken_at = clock_now();
    l->times.waiting += l->woken_at - start;
    return o;
}
