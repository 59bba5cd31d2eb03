/*
 * state.h - what the parts of the loop share: loop.c (joining, claiming), wakeup.c (waiting for work), images.c
 * and download.c (what a unit needs), unit.c (one unit), upload.c (its result)
 */
#ifndef GANN_STATE_H
#define GANN_STATE_H

#include "../../common/backoff.h"
#include "compute.h"
#include "../../dataset/dataset.h"
#include "../term/display.h"
#include "../term/options.h"
#include "../net/protocol.h"
#include "standing.h"
#include "upload.h"

/* Where the seconds of a session went. */
typedef struct times {
    double waiting, weights, images, computing, handing_in;
} times;

/* Everything the steps of a unit share. */
typedef struct loop {
    server *server;
    const options *options;
    const server_run *run;
    dataset *data;
    dcgan_model model;
    compute *compute;
    upload *upload;
    size_t batch;
    int32_t worker;
    real *weights;
    uint8_t *images;
    size_t images_room;  /* images that fit into images */
    size_t images_ready; /* of the claim's, that are prepared */
    bool holds_weights;
    uint32_t weights_iteration;
    int64_t weights_nonce; /* names their version: an iteration may be taken again, with another outcome */
    bool claimed_ahead;    /* the next claim was sent together with the last submission */
    server_status ahead_status;
    server_claim ahead;
    backoff wait;
    double next_renewal; /* on stop_clock() */
    double next_reference,
        reference_wait; /* to ask whether a summary is wanted: when, and how long after that */
    double woken_at;
    display_state display;
    standing standing;
    times times;
    double started, computed_seconds;
    uint64_t computed_images;
} loop;

/* What becomes of a step: go on, drop the unit and claim again, end well, end badly, end with the run. */
typedef enum outcome { GO_ON, DROP, END, FAIL, RUN_OVER } outcome;

/* loop.c: waits after a failure that may pass, and says why once; forgets failures after a success */
outcome loop_retry(loop *l, server_status status);
void loop_success(loop *l);

/* loop.c: says that a lease is lost */
void loop_say_lost(const server_claim *claim);

/* loop.c: gives back a unit that was claimed ahead and will not be done */
void loop_give_back_ahead(loop *l);

/*
 * loop.c: renews the lease when a third of it is over; returns false if it is lost. A renewal that fails is
 * tried again soon and is no reason to stop working: the connection may be back before the lease ends.
 */
bool loop_keep_lease(loop *l, const server_claim *claim);

/* loop.c: seconds between renewals: a third of the lease, and never so long that a server that ends sessions
 * from which it hears nothing for a minute would end this one */
double loop_renewal_interval(const server_claim *claim);

/* wakeup.c: rests while the machine is to be left alone: on battery, in quiet hours; holds no unit then */
outcome wakeup_rest(loop *l);

/* wakeup.c: waits where there is no work, and says why when the reason changes */
outcome wakeup_wait(loop *l, const server_claim *claim, char *last_reason, size_t size);

/*
 * images.c: makes room for the images of a claim; tells whether some are not prepared yet; prepares the next
 * one or the rest
 */
outcome images_begin(loop *l, const server_claim *claim);
bool images_missing(const loop *l, const server_claim *claim);
outcome images_prepare_one(loop *l, const server_claim *claim);
outcome images_prepare_rest(loop *l, const server_claim *claim);

/* download.c: downloads the weights of the claim's iteration unless they are held; DROP: that iteration is over
 */
outcome download_weights(loop *l, const server_claim *claim);

/* reference.c: sends a summary of the real images if the server wants one, between two units */
void reference_offer(loop *l);

/* unit.c: does one claimed unit from weights to submission */
outcome unit_do(loop *l, server_claim *claim);

#endif
