/*
 * download.c - an iteration's weights, several shards under way at once
 *
 * The weights are fetched whole, or, if the run sends changes and we hold the weights of one of the
 * two iterations before, as the changes from one iteration to the next. Every change carries the
 * checksum of its result. If a result differs, or the server no longer has a change, everything is
 * fetched whole. The same happens if we hold another version of that iteration than the server:
 * after a restore, say, or a failover to a standby that lacked the last steps. While the download
 * runs, the unit's images are prepared.
 */
#include "download.h"
#include "images.h"
#include "lease.h"
#include "retry.h"
#include "../../common/clock.h"
#include "../../common/stop.h"
#include "../../formats/wire/blob.h"

/* Shards requested ahead: enough that the link is never idle. A renewal waits behind all of
 * them. */
#define WINDOW ((size_t)3)
#define FOLLOWED 2u /* iterations whose changes the server has */

typedef struct download {
    loop *l;
    const server_claim *claim;
    uint32_t iteration;
    bool change;                  /* to be applied to the weights that we hold */
    bool missing;                 /* the server doesn't have it */
    server_reply replies[WINDOW]; /* of shard k: k mod WINDOW */
    size_t sent, got;
} download;

/* Requests as many shards as may be under way. */
static void ask_ahead(download *d) {
    loop *l = d->l;

    for (; d->sent < l->run->shards && d->sent - d->got < WINDOW; d->sent++)
        (d->change ? server_change_send : server_weights_send)(
            l->server, l->run->run, d->iteration, d->sent, &d->replies[d->sent % WINDOW]);
}

/* Waits for the shards under way and discards them. */
static void give_up(download *d) {
    server_settle(d->l->server);
    for (; d->sent > d->got; d->sent--)
        server_drop(&d->replies[(d->sent - 1) % WINDOW]);
}

/* Prepares images until the next shard is there, or all of them are. */
static outcome prepare_meanwhile(download *d, const server_reply *reply) {
    outcome o = GO_ON;

    while (o == GO_ON && reply->awaited && images_missing(d->l, d->claim)) {
        o = images_prepare_one(d->l, d->claim);
        server_receive(d->l->server);
    }
    return o;
}

/* Takes the next shard. */
static outcome take_shard(download *d) {
    loop *l = d->l;
    server_reply *reply = &d->replies[d->got % WINDOW];
    real *values = l->weights + d->got * SHARD_COUNT;
    size_t count = shard_length(l->model.parameter_count, d->got);
    bool held;
    server_status status =
        d->change ? server_change_read(l->server, reply, values, count, l->run->download, &held)
                  : server_weights_read(l->server, reply, values, count, &held);

    if (status != SERVER_OK) {
        give_up(d);
        return retry_wait(l, status);
    }
    if (!held) {
        d->missing = true;
        return DROP;
    }
    retry_success(l);
    d->got++;
    return GO_ON;
}

/* Fetches all shards of the weights of an iteration, or of their change. */
static outcome fetch(download *d) {
    loop *l = d->l;
    outcome o = GO_ON;

    while (o == GO_ON && d->got < l->run->shards) {
        ask_ahead(d);
        o = prepare_meanwhile(d, &d->replies[d->got % WINDOW]);
        if (o == GO_ON)
            o = take_shard(d);
        if (o == GO_ON && stop_asked())
            o = END;
        else if (o == GO_ON && !lease_keep(l, d->claim))
            o = DROP;
    }
    give_up(d);
    return o;
}

/* Tells whether the server's changes can turn the weights that we hold into a claim's: they must be
 * the very version for which the changes were made. */
static bool can_follow(const loop *l, const server_claim *claim) {
    uint32_t behind = claim->iteration - l->weights_iteration;

    return l->run->download != BLOB_FLOAT32 && l->holds_weights &&
           l->weights_iteration < claim->iteration && behind <= FOLLOWED &&
           behind < claim->nonce_count && claim->nonces[behind] == l->weights_nonce;
}

/* Applies the changes up to an iteration while there are any; tells whether it was reached. */
static outcome follow(loop *l, const server_claim *claim, bool *reached) {
    *reached = false;
    for (uint32_t i = l->weights_iteration + 1; i <= claim->iteration; i++) {
        download d = {.l = l, .claim = claim, .iteration = i, .change = true};
        outcome o = fetch(&d);
        if (o != GO_ON)
            return d.missing ? GO_ON : o;
    }
    *reached = true;
    return GO_ON;
}

outcome download_weights(loop *l, const server_claim *claim) {
    download d = {.l = l, .claim = claim, .iteration = claim->iteration};
    double start = clock_now(), images = l->times.images;
    outcome o = GO_ON;
    bool reached = false;

    if (l->holds_weights && l->weights_iteration == claim->iteration &&
        l->weights_nonce == claim->nonces[0])
        return GO_ON;
    if (can_follow(l, claim)) {
        l->holds_weights = false; /* in between they are no iteration's weights */
        o = follow(l, claim, &reached);
    }
    l->holds_weights = false;
    if (o == GO_ON && !reached)
        o = fetch(&d);
    l->holds_weights = o == GO_ON;
    l->weights_iteration = claim->iteration;
    l->weights_nonce = claim->nonces[0];
    l->times.weights += clock_now() - start - (l->times.images - images);
    return o;
}
