/*
 * loop.c - claim, compute, upload, submit, until the run is over
 */
#include "loop.h"
#include "lease.h"
#include "reference.h"
#include "retry.h"
#include "session.h"
#include "unit.h"
#include "wakeup.h"
#include "../../student/device.h"
#include "../../common/hardware.h"
#include "../../common/point.h"
#include "../../common/clock.h"
#include "../../common/stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Registers this program. */
static outcome join(loop *l) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    hardware machine;
    char gpu[65] = "";
    int gpu_memory_mb = compute_gpu(l->compute, gpu, sizeof gpu);
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
                                  .memory_mb = machine.memory_mb,
                                  .gpu = gpu,
                                  .gpu_memory_mb = gpu_memory_mb};
    while ((status = server_join(l->server, &member, &l->worker)) != SERVER_OK) {
        outcome o = retry_wait(l, status);
        if (o != GO_ON)
            return o;
    }
    retry_success(l);
    return GO_ON;
}

/* Claims a unit, unless the claim was sent together with the last submission. */
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

/* Claims and computes units until something ends the session. */
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
            if (o == FAIL && strcmp(server_state(l->server), "42704") == 0)
                return RUN_OVER; /* the run was deleted */
            standing_end(&l->standing, l->server);
            standing_begin(&l->standing, l->worker);
        } else if (status != SERVER_OK)
            o = retry_wait(l, status);
        else {
            retry_success(l);
            rejoined = false;
            if (claim.reason == SERVER_OVER) {
                display_say("%s", claim.message);
                return RUN_OVER;
            }
            o = claim.reason == SERVER_WORK
                    ? unit_do(l, &claim)
                    : wakeup_wait(l, &claim, last_reason, sizeof last_reason);
            if (claim.reason == SERVER_WORK)
                last_reason[0] = 0;
        }
        if (o == END || o == FAIL)
            return o;
    }
    return END;
}

/* Shows where the time of a unit went. */
static void show_times(const loop *l) {
    double units = (double)l->display.units;

    if (l->display.units > 0)
        display_say("a unit took, in seconds: %.3f waiting, %.3f weights, %.3f images, %.3f "
                    "computing, %.3f submitting",
                    l->times.waiting / units, l->times.weights / units, l->times.images / units,
                    l->times.computing / units, l->times.handing_in / units);
}

/* Shows what was contributed, and how much of it waits to be averaged. */
static void summarise(loop *l) {
    server_credit_row credit;
    char waiting[60] = "";
    double minutes = (clock_now() - l->started) / 60;

    display_say("submitted %llu unit%s in %.1f minutes, computed at %.1f images/s",
                (unsigned long long)l->display.units, l->display.units == 1 ? "" : "s", minutes,
                l->computed_seconds > 0 ? (double)l->computed_images / l->computed_seconds : 0.0);
    if (!server_connected(l->server) || server_credit(l->server, l->worker, &credit) != SERVER_OK)
        return;
    if (credit.waiting > 0)
        snprintf(waiting, sizeof waiting, "; %llu wait%s for the next step",
                 (unsigned long long)credit.waiting, credit.waiting == 1 ? "s" : "");
    display_say(
        "averaged into the model so far, over all sessions of \"%s\": %llu units, %llu images%s",
        l->options->name, (unsigned long long)credit.units, (unsigned long long)credit.images,
        waiting);
}

/* Chooses the device; minibatches may become smaller where its memory is short and the run leaves
 * their size to the student. */
static bool choose_device(loop *l, dcgan_device **device) {
    device_need need = {.wanted = l->options->device,
                        .model = &l->model,
                        .threads = l->options->threads,
                        .batch = l->batch,
                        .smaller_batch = l->run->local_steps == 0 && !l->run->batch_fixed};

    if (!device_choose(&need, device))
        return false;
    l->batch = need.batch;
    return true;
}

/* Allocates what depends on the model. */
static bool set_up(loop *l) {
    dcgan_device *device;

    l->batch = l->options->batch && !l->run->batch_fixed ? l->options->batch : l->run->batch;
    if (l->options->batch && l->options->batch != l->batch)
        display_warn(
            "--batch %zu is ignored: this run's minibatches have %zu images, for everybody.\n"
            "Leave out --batch.",
            l->options->batch, l->batch);
    l->weights = malloc(l->model.parameter_count * sizeof *l->weights);
    l->upload = upload_new(&l->model, l->run->upload);
    if (l->weights && l->upload) {
        if (!choose_device(l, &device))
            return false;
        l->compute = compute_new(&l->model, device, l->batch, l->run->local_steps > 0);
    }
    if (l->compute) {
        compute_set_max_cpu(l->compute, l->options->max_cpu);
        return true;
    }
    display_warn("There is not enough memory for minibatches of %zu images.\n%s", l->batch,
                 l->run->batch_fixed ? "Close other programs." : "Use a smaller --batch.");
    return false;
}

loop_end loop_run(server *s, const options *o, const server_run *run, dataset *data) {
    loop l = {.server = s,
              .options = o,
              .run = run,
              .data = data,
              .started = clock_now(),
              .display = {.target = run->target}};
    outcome end = FAIL;

    if (dcgan_model_init(&l.model, &run->network) == DCGAN_OK && set_up(&l)) {
        server_listen(s, run->channel);
        end = join(&l);
        if (end == GO_ON) {
            display_say("joined run \"%s\" as \"%s\", worker %d", run->name, o->name, l.worker);
            standing_begin(&l.standing, l.worker);
            end = work(&l);
            lease_give_back_ahead(&l);
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
    return end == FAIL ? LOOP_FAILED : end == RUN_OVER ? LOOP_RUN_OVER : LOOP_STOPPED;
}
