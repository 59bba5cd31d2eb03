/*
 * loop.c - claim, compute, upload, submit, until the run is over
 */
#include "loop.h"
#include "hardware.h"
#include "point.h"
#include "state.h"
#include "stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEWAL_SECONDS_MAX 20.0

outcome loop_retry(loop *l, server_status status) {
    double seconds;

    if (status == SERVER_FATAL) {
        display_warn("%s", server_error(l->server));
        return FAIL;
    }
    if (l->wait.ceiling == 0)
        display_warn("%s\ntrying again until the server answers", server_error(l->server));
    seconds = backoff_next(&l->wait);
    return stop_wait(-1, 0, seconds) == STOP_ASKED ? END : GO_ON;
}

void loop_success(loop *l) {
    if (backoff_reset(&l->wait))
        display_say("the server answers again");
}

/* Registers this program. */
static outcome join(loop *l) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    hardware machine;
    server_status status;

    dataset_digest(l->data, digest);
    hardware_read(&machine);
    const server_member member = {.run = l->run->run,
                                  .name = l->options->name,
                                  .cpu = machine.cpu,
                                  .version = GANN_VERSION,
                                  .dataset_images = dataset_count(l->data),
                                  .dataset_digest = digest,
                                  .cores = machine.cores,
                                  .memory_mb = machine.memory_mb};
    while ((status = server_join(l->server, &member, &l->worker)) != SERVER_OK) {
        outcome o = loop_retry(l, status);
        if (o != GO_ON)
            return o;
    }
    loop_success(l);
    return GO_ON;
}

double loop_renewal_interval(const server_claim *claim) {
    double third = claim->lease_seconds / 3;

    return third < RENEWAL_SECONDS_MAX ? third : RENEWAL_SECONDS_MAX;
}

bool loop_keep_lease(loop *l, const server_claim *claim) {
    bool held = true;

    if (stop_clock() < l->next_renewal)
        return true;
    if (server_renew(l->server, claim, &held) == SERVER_OK)
        l->next_renewal = stop_clock() + loop_renewal_interval(claim);
    else
        l->next_renewal = stop_clock() + claim->lease_seconds / 20;
    if (!held)
        display_warn("the lease on unit %lld is lost; leaving it", (long long)claim->unit);
    return held;
}

/* Claims a unit, unless that was done together with the last submission. */
static server_status take(loop *l, server_claim *claim) {
    server_reply reply;

    if (l->claimed_ahead) {
        l->claimed_ahead = false;
        *claim = l->ahead;
        return l->ahead_status;
    }
    WORKER_POINT("before_claim");
    server_take_send(l->server, l->worker, &reply);
    WORKER_POINT("claim_sent");
    return server_take_read(l->server, &reply, claim);
}

/* Claims and does units until something ends it. */
static outcome work(loop *l) {
    char last_reason[16] = "";
    bool rejoined = false;

    while (!stop_asked()) {
        server_claim claim;
        server_status status;
        outcome o = wakeup_rest(l);

        if (o == END)
            return o;
        reference_offer(l);
        status = take(l, &claim);

        if (status == SERVER_FATAL && strcmp(server_state(l->server), "42501") == 0 && !rejoined) {
            o = join(l); /* the server does not know us: it was restored from a dump, say */
            rejoined = true;
            standing_end(&l->standing, l->server);
            standing_begin(&l->standing, l->worker);
        } else if (status != SERVER_OK)
            o = loop_retry(l, status);
        else {
            loop_success(l);
            rejoined = false;
            if (claim.reason == SERVER_OVER) {
                display_say("%s", claim.message);
                return END;
            }
            o = claim.reason == SERVER_WORK ? unit_do(l, &claim)
                                            : wakeup_wait(l, &claim, last_reason, sizeof last_reason);
            if (claim.reason == SERVER_WORK)
                last_reason[0] = 0;
        }
        if (o == END || o == FAIL)
            return o;
    }
    return END;
}

void loop_give_back_ahead(loop *l) {
    bool released;

    if (l->claimed_ahead && l->ahead_status == SERVER_OK && l->ahead.reason == SERVER_WORK &&
        server_connected(l->server))
        (void)server_release(l->server, &l->ahead, &released);
    l->claimed_ahead = false;
}

/* Shows where the time of a unit went. */
static void show_times(const loop *l) {
    double units = (double)l->display.units;

    if (l->display.units > 0)
        display_say(
            "a unit took, in seconds: %.3f waiting, %.3f weights, %.3f images, %.3f computing, %.3f handing in",
            l->times.waiting / units, l->times.weights / units, l->times.images / units,
            l->times.computing / units, l->times.handing_in / units);
}

/* Shows what was contributed. */
static void summarise(loop *l) {
    uint64_t units = 0, images = 0;
    double minutes = (stop_clock() - l->started) / 60;

    display_say("handed in %llu units in %.1f minutes, computed at %.1f images/s",
                (unsigned long long)l->display.units, minutes,
                l->computed_seconds > 0 ? (double)l->computed_images / l->computed_seconds : 0.0);
    if (server_connected(l->server) && server_credit(l->server, l->worker, &units, &images) == SERVER_OK)
        display_say("averaged into the model so far, over all sessions of \"%s\": %llu units, %llu images",
                    l->options->name, (unsigned long long)units, (unsigned long long)images);
}

/* Allocates what depends on the model. */
static bool set_up(loop *l) {
    l->batch = l->options->batch && !l->run->batch_fixed ? l->options->batch : l->run->batch;
    if (l->options->batch && l->options->batch != l->batch)
        display_warn("--batch %zu is not heeded: this run's minibatches are of %zu images, for everybody",
                     l->options->batch, l->batch);
    l->weights = malloc(l->model.parameter_count * sizeof *l->weights);
    l->upload = upload_new(&l->model, l->run->upload);
    l->compute = compute_new(&l->model, l->batch, l->run->local_steps > 0);
    if (l->weights && l->upload && l->compute) {
        compute_set_max_cpu(l->compute, l->options->max_cpu);
        return true;
    }
    display_warn("out of memory for minibatches of %zu images; use a smaller --batch", l->batch);
    return false;
}

int loop_run(server *s, const options *o, const server_run *run, dataset *data) {
    loop l = {.server = s,
              .options = o,
              .run = run,
              .data = data,
              .started = stop_clock(),
              .display = {.target = run->target}};
    outcome end = FAIL;

    if (dcgan_model_init(&l.model, &run->network) == DCGAN_OK && set_up(&l)) {
        server_listen(s, run->channel);
        end = join(&l);
        if (end == GO_ON) {
            display_say("joined run \"%s\" as \"%s\", worker %d", run->name, o->name, l.worker);
            standing_begin(&l.standing, l.worker);
            end = work(&l);
            loop_give_back_ahead(&l);
            standing_end(&l.standing, s);
        }
        if (end != FAIL || l.display.units > 0)
            summarise(&l);
        show_times(&l);
    }
    compute_free(l.compute);
    free(l.weights);
    free(l.images);
    upload_free(l.upload);
    return end == FAIL ? 1 : 0;
}
