/*
 * loop.c - claim, compute, upload, submit, until the run is over
 */
#include "loop.h"
#include "../wire/blob.h"
#include "backoff.h"
#include "compute.h"
#include "display.h"
#include "hardware.h"
#include "stop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything the steps of a unit share. */
typedef struct loop {
    server *server;
    const options *options;
    const server_run *run;
    dataset *data;
    dcgan_model model;
    compute *compute;
    size_t batch;
    int32_t worker;
    real *weights;
    uint8_t *images;
    size_t images_room; /* images that fit into images */
    unsigned char *blob;
    bool holds_weights;
    uint32_t weights_iteration;
    backoff wait;
    double next_renewal; /* on stop_clock() */
    display_state display;
    double started, computed_seconds;
    uint64_t computed_images;
} loop;

/* What becomes of a step: go on, drop the unit and claim again, end well, end badly. */
typedef enum outcome { GO_ON, DROP, END, FAIL } outcome;

/* Waits after a failure that may pass; says why once. */
static outcome wait_and_retry(loop *l, server_status status) {
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

/* Forgets failures after a success. */
static void note_success(loop *l) {
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
        outcome o = wait_and_retry(l, status);
        if (o != GO_ON)
            return o;
    }
    note_success(l);
    return GO_ON;
}

/*
 * Renews the lease when a third of it is over; returns false if it is lost. A renewal that fails is tried again
 * soon and is no reason to stop working: the connection may be back before the lease ends.
 */
static bool keep_lease(loop *l, const server_claim *claim) {
    bool held = true;

    if (stop_clock() < l->next_renewal)
        return true;
    if (server_renew(l->server, claim, &held) == SERVER_OK)
        l->next_renewal = stop_clock() + claim->lease_seconds / 3;
    else
        l->next_renewal = stop_clock() + claim->lease_seconds / 20;
    if (!held)
        display_warn("the lease on unit %lld is lost; leaving it", (long long)claim->unit);
    return held;
}

/* Downloads the weights of the claim's iteration unless they are held; DROP: that iteration is over. */
static outcome fetch_weights(loop *l, const server_claim *claim) {
    if (l->holds_weights && l->weights_iteration == claim->iteration)
        return GO_ON;
    l->holds_weights = false;
    for (size_t shard = 0; shard < l->run->shards;) {
        bool held;
        server_status status = server_fetch_weights(l->server, l->run->run, claim->iteration, shard,
                                                    l->weights + shard * SHARD_COUNT,
                                                    shard_length(l->model.parameter_count, shard), &held);
        if (status == SERVER_OK && !held)
            return DROP;
        if (status == SERVER_OK) {
            note_success(l);
            shard++;
        } else {
            outcome o = wait_and_retry(l, status);
            if (o != GO_ON)
                return o;
        }
        if (stop_asked())
            return END;
        if (!keep_lease(l, claim))
            return DROP;
    }
    l->holds_weights = true;
    l->weights_iteration = claim->iteration;
    return GO_ON;
}

/* Looks up the unit's images in the run's order and prepares them. */
static outcome prepare_images(loop *l, const server_claim *claim) {
    uint64_t n = dataset_count(l->data);

    if (claim->images > l->images_room) {
        uint8_t *larger = realloc(l->images, claim->images * l->model.image_count);
        if (!larger) {
            display_warn("out of memory for %zu images of a unit", claim->images);
            return FAIL;
        }
        l->images = larger;
        l->images_room = claim->images;
    }
    for (size_t i = 0; i < claim->images; i++) {
        uint64_t p = claim->position + i;
        if (dataset_image(l->data, dcgan_permute(l->run->seed, p / n, n, p % n),
                          l->images + i * l->model.image_count) != 0) {
            display_warn("the dataset can't be read any more; see above");
            return FAIL;
        }
        if (stop_asked())
            return END;
        if (!keep_lease(l, claim))
            return DROP;
    }
    return GO_ON;
}

/* Watches the thread: shows progress, renews the lease, heeds Ctrl-C. */
static outcome watch(loop *l, const server_claim *claim) {
    for (;;) {
        char note[64];
        stop_event event = stop_wait(compute_descriptor(l->compute), POLLIN, 0.2);
        if (event == STOP_READY)
            return GO_ON;
        if (event == STOP_ASKED)
            return END;
        snprintf(note, sizeof note, "%zu/%zu images", compute_progress(l->compute), claim->images);
        display_progress(&l->display, note);
        if (!keep_lease(l, claim))
            return DROP;
    }
}

/* Computes the unit. */
static outcome compute_unit(loop *l, const server_claim *claim, const dcgan_unit_result **result) {
    const dcgan_unit unit = {.weights = l->weights,
                             .images = l->images,
                             .count = claim->images,
                             .batch = l->batch,
                             .seed = l->run->seed,
                             .iteration = claim->iteration,
                             .position = claim->position,
                             .threads = l->options->threads};
    double seconds;
    dcgan_status status;
    outcome o;

    if (compute_start(l->compute, &unit) != 0) {
        display_warn("no thread can be started to compute in");
        return FAIL;
    }
    o = watch(l, claim);
    if (o != GO_ON)
        compute_cancel(l->compute);
    if (o == END) { /* at once: others wait for the unit, and the thread may take a while to notice */
        bool released;
        if (server_connected(l->server))
            (void)server_release(l->server, claim, &released);
    }
    status = compute_finish(l->compute, result, &seconds);
    if (o != GO_ON)
        return o;
    if (status != DCGAN_OK) {
        display_warn("unit %lld can't be computed: %s", (long long)claim->unit, dcgan_status_text(status));
        bool released;
        (void)server_release(l->server, claim, &released);
        return stop_wait(-1, 0, backoff_jitter(5)) == STOP_ASKED ? END : DROP;
    }
    l->computed_seconds += seconds;
    l->computed_images += claim->images;
    return GO_ON;
}

/* Uploads all shards of the result, the statistics last. From here on a first Ctrl-C lets the unit be finished.
 */
static outcome upload(loop *l, const server_claim *claim, const dcgan_unit_result *result) {
    for (size_t shard = 0; shard <= l->run->shards;) {
        bool statistics = shard == l->run->shards;
        size_t count = statistics ? l->model.statistics_count : shard_length(l->model.parameter_count, shard);
        server_answer answer;
        server_status status;

        if (!keep_lease(l, claim))
            return DROP;
        blob_write(l->blob, statistics ? result->statistics : result->gradient + shard * SHARD_COUNT, count);
        status = server_upload(l->server, claim, shard, l->blob, blob_size(count), &answer);
        if (status == SERVER_OK) {
            note_success(l);
            if (answer == SERVER_STALE) {
                display_warn("unit %lld came too late", (long long)claim->unit);
                return DROP;
            }
            shard++;
        } else {
            outcome o = wait_and_retry(l, status);
            if (o != GO_ON)
                return o;
        }
    }
    return GO_ON;
}

/* Hands the unit in. */
static outcome submit(loop *l, const server_claim *claim, const dcgan_unit_result *result) {
    server_verdict verdict;
    server_status status;

    while ((status = server_submit(l->server, claim, l->batch < claim->images ? l->batch : claim->images,
                                   result, &verdict)) != SERVER_OK) {
        outcome o = wait_and_retry(l, status);
        if (o != GO_ON)
            return o;
    }
    note_success(l);
    if (verdict.answer == SERVER_STALE || verdict.answer == SERVER_REFUSED) {
        bool released;
        display_warn("unit %lld was not taken (%s): %s", (long long)claim->unit, verdict.code, verdict.message);
        if (verdict.answer == SERVER_STALE)
            return DROP;
        (void)server_release(l->server, claim, &released); /* and give somebody else the chance to do better */
        return stop_wait(-1, 0, backoff_jitter(5)) == STOP_ASKED ? END : DROP;
    }
    l->display.units++;
    l->display.any = true;
    l->display.iteration = claim->iteration;
    l->display.loss_d = result->loss_d;
    l->display.loss_g = result->loss_g;
    l->display.speed = (double)l->computed_images / l->computed_seconds;
    display_unit(&l->display);
    return GO_ON;
}

/* Sleeps before uploading where the test suite asks for it (GANN_TEST_PAUSE_MS), so that it can kill the worker
 * in mid-unit. */
static outcome pause_for_test(loop *l, const server_claim *claim) {
    const char *text = getenv("GANN_TEST_PAUSE_MS");
    double end = stop_clock() + (text ? atof(text) / 1000 : 0);

    while (stop_clock() < end) {
        bool released;
        if (stop_wait(-1, 0, 0.1) == STOP_ASKED) {
            (void)server_release(l->server, claim, &released);
            return END;
        }
        if (!keep_lease(l, claim))
            return DROP;
    }
    return GO_ON;
}

/* Does one claimed unit from weights to submission. */
static outcome do_unit(loop *l, const server_claim *claim) {
    const dcgan_unit_result *result = NULL;
    outcome o;

    l->next_renewal = stop_clock() + claim->lease_seconds / 3;
    o = fetch_weights(l, claim);

    if (o == GO_ON)
        o = prepare_images(l, claim);
    if (o == END || o == FAIL) {
        bool released;
        if (server_connected(l->server))
            (void)server_release(l->server, claim, &released);
        return o;
    }
    if (o == GO_ON)
        o = compute_unit(l, claim, &result);
    if (o == GO_ON)
        o = pause_for_test(l, claim);
    if (o == GO_ON)
        o = upload(l, claim, result);
    return o == GO_ON ? submit(l, claim, result) : o;
}

/* Waits where there is no work, and says why when the reason changes. */
static outcome wait_for_work(loop *l, const server_claim *claim, char *last_reason, size_t size) {
    if (strcmp(last_reason, claim->why) != 0 && strcmp(claim->why, "waiting") != 0)
        display_say("%s", claim->message);
    snprintf(last_reason, size, "%s", claim->why);
    display_progress(&l->display, claim->message);
    return stop_wait(-1, 0, backoff_jitter(claim->retry_seconds)) == STOP_ASKED ? END : GO_ON;
}

/* Claims and does units until something ends it. */
static outcome work(loop *l) {
    char last_reason[16] = "";
    bool rejoined = false;

    while (!stop_asked()) {
        server_claim claim;
        server_status status = server_take(l->server, l->worker, &claim);
        outcome o = GO_ON;

        if (status == SERVER_FATAL && strcmp(server_state(l->server), "42501") == 0 && !rejoined) {
            o = join(l); /* the server does not know us: it was restored from a dump, say */
            rejoined = true;
        } else if (status != SERVER_OK)
            o = wait_and_retry(l, status);
        else {
            note_success(l);
            rejoined = false;
            if (claim.reason == SERVER_OVER) {
                display_say("%s", claim.message);
                return END;
            }
            o = claim.reason == SERVER_WORK ? do_unit(l, &claim)
                                            : wait_for_work(l, &claim, last_reason, sizeof last_reason);
            if (claim.reason == SERVER_WORK)
                last_reason[0] = 0;
        }
        if (o == END || o == FAIL)
            return o;
    }
    return END;
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
    size_t statistics = l->model.statistics_count,
           largest = statistics > SHARD_COUNT ? statistics : SHARD_COUNT;

    l->batch = l->options->batch ? l->options->batch : l->run->batch;
    l->weights = malloc(l->model.parameter_count * sizeof *l->weights);
    l->blob = malloc(blob_size(largest));
    l->compute = compute_new(&l->model, l->batch);
    if (l->weights && l->blob && l->compute)
        return true;
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
        end = join(&l);
        if (end == GO_ON) {
            display_say("joined run \"%s\" as \"%s\", worker %d", run->name, o->name, l.worker);
            end = work(&l);
        }
        if (end != FAIL || l.display.units > 0)
            summarise(&l);
    }
    compute_free(l.compute);
    free(l.weights);
    free(l.images);
    free(l.blob);
    return end == FAIL ? 1 : 0;
}
