/*
 * unit.c - one unit, from weights to submission
 *
 * The finished shards of the result are sent while the thread computes the rest, and the claim of
 * the next unit is sent together with the submission.
 */
#include "unit.h"
#include "download.h"
#include "images.h"
#include "lease.h"
#include "retry.h"
#include "../../student/rest.h"
#include "../../common/point.h"
#include "../../common/clock.h"
#include "../../common/stop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REST_SECONDS 30.0

/* Gives a unit back, if there is a connection. */
static void give_back(loop *l, const server_claim *claim) {
    bool released;

    if (server_connected(l->server))
        (void)server_release(l->server, claim, &released);
}

/*
 * Tells whether to give the unit up because the machine should rest (battery, quiet hours). A unit
 * that takes less than another half minute is finished: nobody else would be faster. A longer one
 * is given back, so that others need not wait until its lease ends.
 */
static bool rest_now(loop *l, const server_claim *claim, double start) {
    double elapsed = clock_now() - start,
           done = (double)compute_progress(l->compute) / (double)claim->images;
    char why[120];

    if (!rest_due(&l->options->rest, why, sizeof why) || elapsed * (1 - done) < REST_SECONDS * done)
        return false;
    display_say("giving unit %lld back for somebody else to compute: %s", (long long)claim->unit,
                why);
    give_back(l, claim);
    return true;
}

/* Watches the thread: uploads what is final, shows progress, renews the lease, reacts to Ctrl-C. */
static outcome watch(loop *l, const server_claim *claim) {
    double start = clock_now();

    for (;;) {
        char note[64];
        stop_event event =
            stop_wait_two(compute_descriptor(l->compute), POLLIN, server_descriptor(l->server),
                          server_events(l->server), 0.2);

        if (event == STOP_ASKED)
            return END;
        WORKER_POINT("computing");
        if (compute_finished(l->compute))
            return GO_ON;
        upload_advance(l->upload);
        standing_poll(&l->standing, l->server, &l->display);
        if (upload_stale(l->upload)) {
            lease_say_lost(claim);
            return DROP;
        }
        if (rest_now(l, claim, start))
            return DROP;
        if (event == STOP_TIMEOUT) {
            snprintf(note, sizeof note, "%zu/%zu images", compute_progress(l->compute),
                     claim->images);
            display_progress(&l->display, note);
        }
        if (!lease_keep(l, claim))
            return DROP;
    }
}

/* Returns the run's local steps at an iteration's learning rates. */
static dcgan_local_options local_options(const server_run *run, uint32_t iteration) {
    double factor = dcgan_schedule_factor(&run->schedule, iteration);
    dcgan_local_options now = run->local;

    now.generator.learning_rate *= factor;
    now.discriminator.learning_rate *= factor;
    return now;
}

static outcome say_no_memory(const loop *l) {
    display_warn("There is not enough memory for minibatches of %zu images.\n"
                 "Close other programs.",
                 l->batch);
    return FAIL;
}

/* Computes the unit; parts of it are uploaded meanwhile. */
static outcome compute_unit(loop *l, const server_claim *claim, const dcgan_unit_result **result) {
    const dcgan_unit unit = {.weights = l->weights,
                             .images = l->images,
                             .count = claim->images,
                             .batch = l->batch,
                             .seed = l->run->seed,
                             .iteration = claim->iteration,
                             .position = claim->position,
                             .networks =
                                 dcgan_networks_stepped(l->run->alternating, claim->iteration),
                             .threads = l->options->threads};
    const dcgan_local_options local = local_options(l->run, claim->iteration);
    double seconds;
    dcgan_status status;
    outcome o;

    if (compute_start(l->compute, &unit, l->run->local_steps > 0 ? &local : NULL) != 0) {
        display_warn("No thread can be started to compute in.\nClose other programs.");
        return FAIL;
    }
    o = watch(l, claim);
    if (o != GO_ON)
        compute_cancel(l->compute);
    if (o == END) /* at once: others wait for it, and the thread may take a while to stop */
        give_back(l, claim);
    status = compute_finish(l->compute, result, &seconds);
    if (o != GO_ON)
        return o;
    l->times.computing += seconds;
    if (status == DCGAN_DEVICE || status == DCGAN_DEVICE_MEMORY) {
        give_back(l, claim);
        return compute_leave_device(l->compute, status) ? DROP : say_no_memory(l);
    }
    if (status != DCGAN_OK) { /* what was uploaded of it is never submitted */
        display_warn("Unit %lld can't be computed: %s.\n"
                     "There is nothing to do: this program continues with another unit.",
                     (long long)claim->unit, dcgan_status_text(status));
        give_back(l, claim);
        return stop_wait(-1, 0, backoff_jitter(5)) == STOP_ASKED ? END : DROP;
    }
    l->computed_seconds += seconds;
    l->computed_images += claim->images;
    return GO_ON;
}

/* Reads an environment variable in milliseconds, and returns it in seconds. */
static double test_seconds(const char *name) {
    const char *text = getenv(name);

    return text ? atof(text) / 1000 : 0;
}

/* Sleeps before the rest of the upload if the test suite asks for it: for a fixed time, so that it
 * can kill the worker in mid-unit (GANN_TEST_PAUSE_MS), or for each image, to play a slower laptop
 * (GANN_TEST_PAUSE_MS_PER_IMAGE). */
static outcome pause_for_test(loop *l, const server_claim *claim) {
    double end = clock_now() + test_seconds("GANN_TEST_PAUSE_MS") +
                 (double)claim->images * test_seconds("GANN_TEST_PAUSE_MS_PER_IMAGE"),
           left;

    while ((left = end - clock_now()) > 0) {
        if (stop_wait(-1, 0, left < 0.1 ? left : 0.1) == STOP_ASKED) {
            give_back(l, claim);
            return END;
        }
        if (!lease_keep(l, claim))
            return DROP;
    }
    return GO_ON;
}

/* Uploads the rest of the result, up to the first failure. */
static outcome upload_rest(loop *l, const server_claim *claim) {
    for (;;) {
        upload_advance(l->upload);
        if (upload_sent(l->upload) || upload_status(l->upload) != SERVER_OK ||
            upload_stale(l->upload))
            return GO_ON;
        if (!lease_keep(l, claim))
            return DROP;
        server_wait(l->server, 0.2);
    }
}

/* Submits, and claims the next unit at the same time unless a stop is requested. */
static server_status submit(loop *l, const server_claim *claim, const dcgan_unit_result *result,
                            server_verdict *verdict) {
    size_t batch = l->batch < claim->images ? l->batch : claim->images;
    server_reply submitted, taken;
    bool ask = !stop_asked();
    server_status status;

    WORKER_POINT("uploads_sent");
    server_submit_send(l->server, claim, l->weights_nonce, batch, result, &submitted);
    WORKER_POINT("submit_sent");
    if (ask)
        server_take_send(l->server, l->worker, &taken);
    status = server_submit_read(l->server, &submitted, verdict);
    WORKER_POINT("answered");
    if (ask) {
        l->ahead_status = server_take_read(l->server, &taken, &l->ahead);
        l->claimed_ahead = true;
    }
    return status;
}

/* The claim that was sent together with a failed submission may have returned the same unit, at the
 * same weights. If so, continues under its new token. */
static void adopt_claim(loop *l, server_claim *claim) {
    if (!l->claimed_ahead || l->ahead_status != SERVER_OK || l->ahead.reason != SERVER_WORK ||
        l->ahead.unit != claim->unit || l->ahead.nonces[0] != l->weights_nonce)
        return;
    *claim = l->ahead;
    l->claimed_ahead = false;
    upload_again(l->upload, true);
}

/* Shows a unit that was accepted. */
static outcome note_unit(loop *l, const server_claim *claim, const dcgan_unit_result *result) {
    l->display.units++;
    l->display.any = true;
    l->display.iteration = claim->iteration;
    l->display.loss_d = result->loss_d;
    l->display.loss_g = result->loss_g;
    l->display.speed = (double)l->computed_images / l->computed_seconds;
    display_unit(&l->display);
    return GO_ON;
}

/* Gives back a unit whose result can't be used, and waits. The training may have diverged; then the
 * workers must still be there when the instructor has rolled the run back. */
static outcome give_up(loop *l, server_claim *claim) {
    adopt_claim(l, claim);
    give_back(l, claim);
    return stop_wait(-1, 0, backoff_jitter(5)) == STOP_ASKED ? END : DROP;
}

/* Says that a unit was not accepted, and gives it back for somebody else to try. */
static outcome note_refusal(loop *l, server_claim *claim, const server_verdict *verdict) {
    display_warn("Unit %lld was not accepted (%s): %s.\n"
                 "There is nothing to do: this program continues with another unit.",
                 (long long)claim->unit, verdict->code, verdict->message);
    if (verdict->answer == SERVER_STALE)
        return DROP;
    return give_up(l, claim);
}

/* Tells whether the server refused the numbers themselves. */
static bool is_bad_value(const loop *l, server_status status) {
    return status == SERVER_FATAL && strncmp(server_state(l->server), "22", 2) == 0;
}

/*
 * Submits the result: sends the rest of the upload, then the submission, and repeats what failed.
 * If the answer to a submission was lost, the next thing we send is the same submission: it may
 * have been accepted, and then the server would call an upload stale. The server may still be
 * processing our first submission after the connection broke. So if the retry is told that the unit
 * is lost, we ask once more before giving up. From here on a first Ctrl-C lets the unit finish.
 */
static outcome hand_in(loop *l, server_claim *claim, const dcgan_unit_result *result) {
    bool in_doubt = false, unanswered = false;

    upload_complete(l->upload, result);
    for (int incomplete = 0;;) {
        server_verdict verdict;
        server_status status = SERVER_OK;
        bool was_in_doubt = in_doubt;
        outcome o = in_doubt ? GO_ON : upload_rest(l, claim);

        if (o != GO_ON && !(o == DROP && unanswered))
            return o;
        if (upload_status(l->upload) == SERVER_OK && (unanswered || !upload_stale(l->upload))) {
            status = submit(l, claim, result, &verdict);
            in_doubt = status != SERVER_OK;
            unanswered = unanswered || in_doubt;
        }
        upload_end(l->upload);
        if (upload_stale(l->upload) && !unanswered) {
            display_warn("Unit %lld came too late: the unit or its iteration is over.\n"
                         "There is nothing to do: this program continues with another unit.",
                         (long long)claim->unit);
            return DROP;
        }
        if (upload_status(l->upload) != SERVER_OK)
            status = upload_status(l->upload);
        if (status == SERVER_OK) {
            retry_success(l);
            if (verdict.answer == SERVER_ACCEPTED || verdict.answer == SERVER_ALREADY) {
                upload_accepted(l->upload);
                return note_unit(l, claim, result);
            }
            if (strcmp(verdict.code, "incomplete") != 0 || incomplete++ == 3)
                return note_refusal(l, claim, &verdict);
            if (!was_in_doubt)
                upload_again(l->upload, true); /* the server lost some of it */
        } else if (is_bad_value(l, status)) {
            display_warn("Unit %lld was not accepted: %s\n"
                         "There is nothing to do: this program continues with another unit.",
                         (long long)claim->unit, server_trouble(l->server)->what);
            return give_up(l, claim);
        } else if ((o = retry_wait(l, status)) != GO_ON) {
            adopt_claim(l, claim);
            give_back(l, claim);
            return o;
        }
        upload_again(l->upload, false);
        adopt_claim(l, claim);
    }
}

outcome unit_do(loop *l, server_claim *claim) {
    const dcgan_unit_result *result = NULL;
    double start;
    outcome o;

    l->next_renewal = clock_now() + lease_renewal_interval(claim);
    WORKER_POINT("claimed");
    o = images_begin(l, claim);
    if (o == GO_ON)
        o = download_weights(l, claim);
    WORKER_POINT("weights_held");
    if (o == GO_ON)
        o = images_prepare_rest(l, claim);
    if (o == END || o == FAIL) {
        give_back(l, claim);
        return o;
    }
    if (o != GO_ON)
        return o;
    WORKER_POINT("images_ready");
    upload_begin(l->upload, l->server, claim,
                 dcgan_networks_stepped(l->run->alternating, claim->iteration), l->compute);
    o = compute_unit(l, claim, &result);
    if (o == GO_ON)
        o = pause_for_test(l, claim);
    start = clock_now();
    if (o == GO_ON)
        o = hand_in(l, claim, result);
    upload_end(l->upload);
    l->times.handing_in += clock_now() - start;
    return o;
}
