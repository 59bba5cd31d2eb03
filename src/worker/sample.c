/*
 * sample.c - gan_worker sample: a sheet of images, from a run or a checkpoint
 */
#include "sample.h"
#include "display.h"
#include "picture.h"
#include "server.h"
#include "training.h"

#include <stdio.h>

#define TRIES 10 /* the server has the weights of two iterations: a fast run may leave a download behind */

typedef enum fetched { FETCHED, FETCH_LEFT_BEHIND, FETCH_FAILED } fetched;

/* Downloads one shard. */
static fetched fetch_shard(server *s, const server_run *run, size_t shard, real *values, size_t count) {
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
        f = fetch_shard(s, run, shard, t->weights + shard * SHARD_COUNT, shard_length(run->parameters, shard));
    return f == FETCHED ? fetch_shard(s, run, run->shards, t->statistics, t->model.statistics_count) : f;
}

/* Downloads the newest weights of a run, as its workers have them. */
static int fetch(server *s, const options *o, training *t, char *error, size_t error_size) {
    server_run run;
    fetched f = FETCH_LEFT_BEHIND;

    if (server_run_config(s, o->run, &run) != SERVER_OK) {
        snprintf(error, error_size, "%s", server_error(s));
        return -1;
    }
    if (training_allocate(t, &run.network, error, error_size) != 0)
        return -1;
    for (int tries = 0; f == FETCH_LEFT_BEHIND && tries < TRIES; tries++) {
        if (tries > 0 && server_run_config(s, run.name, &run) != SERVER_OK)
            f = FETCH_FAILED;
        else
            f = fetch_iteration(s, &run, t);
    }
    t->iteration = (uint32_t)run.iteration;
    if (f == FETCH_LEFT_BEHIND)
        snprintf(error, error_size,
                 "the run takes its steps faster than the weights come here, %d times; try again while it "
                 "is paused, or ask the instructor for gan_export's file",
                 TRIES);
    else if (f == FETCH_FAILED)
        snprintf(error, error_size, "%s", server_error(s));
    return f == FETCHED ? 0 : -1;
}

int sample_run(const options *o) {
    training t = {0};
    char error[2048] = "out of memory";
    server *s = o->checkpoint == NULL ? server_new(o->connect) : NULL;
    int status = -1;

    if (o->checkpoint != NULL)
        status = training_load_networks(&t, o->checkpoint, error, sizeof error);
    else if (s != NULL)
        status = fetch(s, o, &t, error, sizeof error);
    if (status == 0)
        status = picture_write(o->out, &t.model, t.weights, t.statistics, (uint64_t)o->seed, (size_t)o->count,
                               error, sizeof error);
    if (status == 0)
        display_say("wrote %s: %d images", o->out, o->count);
    else if (error[0] != '\0')
        display_warn("%s", error);
    training_free(&t);
    server_free(s);
    return status == 0 ? 0 : 1;
}
