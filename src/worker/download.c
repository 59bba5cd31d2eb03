/*
 * download.c - an iteration's weights, several shards under way at once
 */
#include "../wire/blob.h"
#include "state.h"
#include "stop.h"

#define WINDOW ((size_t)8) /* shards that are asked for ahead */

typedef struct download {
    loop *l;
    const server_claim *claim;
    server_reply replies[WINDOW]; /* of shard k: k mod WINDOW */
    size_t sent, got;
} download;

/* Asks for as many shards as may be under way. */
static void ask_ahead(download *d) {
    for (; d->sent < d->l->run->shards && d->sent - d->got < WINDOW; d->sent++)
        server_weights_send(d->l->server, d->l->run->run, d->claim->iteration, d->sent,
                            &d->replies[d->sent % WINDOW]);
}

/* Waits for what was asked for and gives it up. */
static void give_up(download *d) {
    server_settle(d->l->server);
    for (; d->sent > d->got; d->sent--)
        server_drop(&d->replies[(d->sent - 1) % WINDOW]);
}

/* Takes the next shard. */
static outcome take_shard(download *d) {
    loop *l = d->l;
    bool held;
    server_status status =
        server_weights_read(l->server, &d->replies[d->got % WINDOW], l->weights + d->got * SHARD_COUNT,
                            shard_length(l->model.parameter_count, d->got), &held);

    if (status != SERVER_OK) {
        give_up(d);
        return loop_retry(l, status);
    }
    if (!held)
        return DROP;
    loop_success(l);
    d->got++;
    return GO_ON;
}

outcome download_weights(loop *l, const server_claim *claim) {
    download d = {.l = l, .claim = claim};
    double start = stop_clock();
    outcome o = GO_ON;

    if (l->holds_weights && l->weights_iteration == claim->iteration)
        return GO_ON;
    l->holds_weights = false;
    while (o == GO_ON && d.got < l->run->shards) {
        ask_ahead(&d);
        o = take_shard(&d);
        if (o == GO_ON && stop_asked())
            o = END;
        else if (o == GO_ON && !loop_keep_lease(l, claim))
            o = DROP;
    }
    give_up(&d);
    l->holds_weights = o == GO_ON;
    l->weights_iteration = claim->iteration;
    l->times.weights += stop_clock() - start;
    return o;
}
