/*
 * sample.c - gan_worker sample: a sheet of images, from a run or a checkpoint
 */
#include "sample.h"
#include "display.h"
#include "picture.h"
#include "server.h"
#include "training.h"

#include <stdio.h>

/* Downloads one shard; returns false, and says so, if it can't be had. */
static bool fetch_shard(server *s, const server_run *run, size_t shard, real *values, size_t count) {
    server_reply reply;
    bool held = false;

    server_weights_send(s, run->run, (uint32_t)run->iteration, shard, &reply);
    if (server_weights_read(s, &reply, values, count, &held) != SERVER_OK)
        display_warn("%s", server_error(s));
    else if (!held)
        display_warn("the run went on meanwhile; try again");
    return held;
}

/* Downloads the newest weights of a run, as its workers have them. */
static int fetch(server *s, const options *o, training *t, char *error, size_t error_size) {
    server_run run;

    if (server_run_config(s, o->run, &run) != SERVER_OK) {
        snprintf(error, error_size, "%s", server_error(s));
        return -1;
    }
    if (training_allocate(t, &run.network, error, error_size) != 0)
        return -1;
    t->iteration = (uint32_t)run.iteration;
    error[0] = '\0';
    for (size_t shard = 0; shard < run.shards; shard++)
        if (!fetch_shard(s, &run, shard, t->weights + shard * SHARD_COUNT, shard_length(run.parameters, shard)))
            return -1;
    return fetch_shard(s, &run, run.shards, t->statistics, t->model.statistics_count) ? 0 : -1;
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
