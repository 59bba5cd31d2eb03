/*
 * session.h - the work for a class, from joining a run to its end: what the source files share
 *
 * loop.c joins the run, claims units and passes each to unit.c, until the run is over; wakeup.c
 * waits when there is no work. A unit needs its weights (download.c) and images (images.c), is
 * computed in threads (compute.c), and its result is uploaded (upload.c) while the rest of it is
 * still being computed. Meanwhile its lease is renewed (lease.c), and temporary failures are
 * retried (retry.c). Between two units the server may want a summary of the real images
 * (reference.c), and has messages and a rank for the student (standing.c). find_data.c finds the
 * images.
 */
#ifndef GANN_SESSION_H
#define GANN_SESSION_H

#include "../../common/backoff.h"
#include "../../student/compute.h"
#include "../../dataset/dataset.h"
#include "../../student/display.h"
#include "../../student/options.h"
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
    /* names their version: an iteration may be repeated with another result */
    int64_t weights_nonce;
    bool claimed_ahead; /* the next claim was sent together with the last submission */
    server_status ahead_status;
    server_claim ahead;
    backoff wait;
    double next_renewal; /* on clock_now() */
    /* when to ask whether a summary is wanted, and the pause before the next question */
    double next_reference, reference_wait;
    double woken_at;
    display_state display;
    standing standing;
    times times;
    double started, computed_seconds;
    uint64_t computed_images;
} loop;

/* The outcome of a part of the work: continue, drop the unit and claim again, end well, end badly,
 * end with the run. */
typedef enum outcome { GO_ON, DROP, END, FAIL, RUN_OVER } outcome;

#endif
