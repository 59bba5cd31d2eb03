/*
 * sample.c - gan_worker sample: a sheet of images, from a run or a checkpoint
 */
#include "sample.h"
#include "../common/backoff.h"
#include "../student/device.h"
#include "../student/display.h"
#include "../training/picture.h"
#include "net/protocol.h"
#include "../common/stop.h"
#include "../training/training.h"

#include <string.h>

#define TRIES                                                                                      \
    10 /* the server keeps the weights of two iterations, so a fast run may overtake a download */

typedef enum fetched { FETCHED, FETCH_LEFT_BEHIND, FETCH_FAILED } fetched;

/* Downloads one shard. */
static fetched fetch_shard(server *s, const server_run *run, size_t shard, real *values,
                           size_t count) {
    server_reply reply;
    bool held = false;

    server_weights_send(s, run->run, (uint32_t)run->iteration, shard, &reply);
    if (server_weights_read(s, &reply, values, count, &held) != SERVER_OK)
        return FETCH_FAILED;
    return held ? FETCHED : FETCH_LEFT_BEHIND;
}

/* Downloads the weights and running statistics of the run's iteration. */
static fetched fetch_iteration(server *s, const server_run *run, training *t) {
    fetched f = FETCHED;

    for (size_t shard = 0; shard < run->shards && f == FETCHED; shard++)
        f = fetch_shard(s, run, shard, t->weights + shard * SHARD_COUNT,
                        shard_length(run->parameters, shard));
    return f == FETCHED ? fetch_shard(s, run, run->shards, t->statistics, t->model.statistics_count)
                        : f;
}

/* Waits before another try after a temporary failure, and says so once. false: the failure is
 * final, or a stop was requested. */
static bool try_again(const server *s, server_status status, backoff *wait) {
    if (status != SERVER_RETRY || stop_asked())
        return false;
    if (wait->ceiling == 0)
        display_warn("%s", server_error(s));
    return stop_wait(-1, 0, backoff_next(wait)) != STOP_ASKED;
}

/* Reads the run's configuration; keeps trying while the server is away. */
static server_status read_run(server *s, const char *name, server_run *run) {
    backoff wait = {0};
    server_status status;

    do
        status = server_run_config(s, name, run);
    while (status != SERVER_OK && try_again(s, status, &wait));
    return status;
}

/* Downloads the newest weights of a run, the same bits that its workers hold. */
static int fetch(server *s, const options *o, training *t, trouble *why) {
    server_run run;
    fetched f = FETCH_LEFT_BEHIND;
    char error[500], name[sizeof run.name];

    if (read_run(s, o->run, &run) != SERVER_OK) {
        *why = *server_trouble(s);
        return -1;
    }
    memcpy(name, run.name, sizeof name);
    if (training_allocate(t, &run.network, error, sizeof error) != 0) {
        trouble_set(why, false, "", error, "Close other programs");
        return -1;
    }
    for (int tries = 0; f != FETCHED && tries < TRIES; tries++) {
        if (tries > 0 && read_run(s, name, &run) != SERVER_OK)
            break;
        f = fetch_iteration(s, &run, t);
    }
    t->iteration = (uint32_t)run.iteration;
    if (f == FETCH_LEFT_BEHIND)
        trouble_set(why, false, "",
                    "the run takes steps faster than this computer downloads the weights",
                    "Try again while it is paused, or ask your instructor for a checkpoint's file");
    else if (f == FETCH_FAILED)
        *why = *server_trouble(s);
    return f == FETCHED ? 0 : -1;
}

/* Draws the sheet. A device is used only if it is named: measuring takes longer than drawing. */
static int draw(const options *o, const training *t, trouble *why) {
    bool named = o->device != NULL && strcmp(o->device, "auto") != 0;
    device_need need = {.wanted = named ? o->device : "cpu",
                        .model = &t->model,
                        .threads = o->threads,
                        .batch = PICTURE_BATCH};
    dcgan_device *device = NULL;
    char error[1024];
    int status = -1;

    trouble_set(why, false, "", "no device was chosen", "See the line above");
    if (device_choose(&need, &device)) {
        status = picture_write(o->out, &t->model, t->weights, t->statistics, device,
                               (uint64_t)o->seed, (size_t)o->count, error, sizeof error);
        if (status != 0)
            trouble_set(why, false, "", error, "Give another file with --out");
    }
    dcgan_device_close(device);
    return status;
}

/* Loads the networks' weights from the server or the checkpoint. */
static int load(server *s, const options *o, training *t, trouble *why) {
    char error[1024];

    if (o->checkpoint == NULL)
        return fetch(s, o, t, why);
    if (training_load_networks(t, o->checkpoint, error, sizeof error) == 0)
        return 0;
    trouble_set(why, false, "", error,
                "Give a checkpoint of gan_local, or one from your instructor");
    return -1;
}

int sample_run(const options *o) {
    training t = {0};
    trouble why;
    server *s = o->checkpoint == NULL ? server_new(o->connect) : NULL;
    int status = -1;

    trouble_set(&why, false, "", "there is not enough memory", "Close other programs");
    if (o->checkpoint != NULL || s != NULL)
        status = load(s, o, &t, &why);
    if (status == 0)
        status = draw(o, &t, &why);
    if (status == 0)
        display_say("wrote %s: %d images", o->out, o->count);
    else if (!stop_asked())
        display_warn("%s", why.text);
    training_free(&t);
    server_free(s);
    return status == 0 ? 0 : 2;
}
