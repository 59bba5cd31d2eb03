/*
 * compute.c - one work unit in a thread of its own
 */
#include "compute.h"
#include "stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct compute {
    const dcgan_model *model;
    size_t batch, workspace_bytes;
    void *workspace;
    dcgan_unit unit;
    dcgan_unit_result result;
    dcgan_status status;
    double seconds;
    pthread_t thread;
    int done[2]; /* the thread writes a byte into it at its end */
    atomic_size_t images_done;
    atomic_bool cancelled;
};

compute *compute_new(const dcgan_model *model, size_t batch) {
    compute *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->model = model;
    c->batch = batch;
    c->done[0] = c->done[1] = -1;
    if (dcgan_unit_workspace(model, batch, &c->workspace_bytes) == DCGAN_OK)
        c->workspace = malloc(c->workspace_bytes);
    c->result.gradient = malloc(model->parameter_count * sizeof(real));
    c->result.statistics = malloc(model->statistics_count * sizeof(real));
    if (!c->workspace || !c->result.gradient || !c->result.statistics || pipe(c->done) != 0) {
        compute_free(c);
        return NULL;
    }
    return c;
}

void compute_free(compute *c) {
    if (!c)
        return;
    if (c->done[0] >= 0) {
        close(c->done[0]);
        close(c->done[1]);
    }
    free(c->workspace);
    free(c->result.gradient);
    free(c->result.statistics);
    free(c);
}

/* Called by the library between passes. */
static int progress(void *context, size_t images_done) {
    compute *c = context;
    atomic_store(&c->images_done, images_done);
    return atomic_load(&c->cancelled);
}

static void *run(void *context) {
    compute *c = context;
    double start = stop_clock();

    c->status = dcgan_unit_gradients(c->model, &c->unit, &c->result, c->workspace, c->workspace_bytes);
    c->seconds = stop_clock() - start;
    while (write(c->done[1], "", 1) < 0) /* only ever interrupted */
        ;
    return NULL;
}

int compute_start(compute *c, const dcgan_unit *unit) {
    sigset_t all, before;
    int failed;

    c->unit = *unit;
    c->unit.progress = progress;
    c->unit.context = c;
    atomic_store(&c->images_done, 0);
    atomic_store(&c->cancelled, false);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? -1 : 0;
}

int compute_descriptor(const compute *c) {
    return c->done[0];
}

size_t compute_progress(const compute *c) {
    return atomic_load(&c->images_done);
}

void compute_cancel(compute *c) {
    atomic_store(&c->cancelled, true);
}

dcgan_status compute_finish(compute *c, const dcgan_unit_result **result, double *seconds) {
    char byte;

    pthread_join(c->thread, NULL);
    while (read(c->done[0], &byte, 1) < 0)
        ;
    *result = &c->result;
    *seconds = c->seconds;
    return c->status;
}
