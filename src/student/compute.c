/*
 * compute.c - one work unit in a thread of its own
 */
#define _POSIX_C_SOURCE 200809L

#include "compute.h"
#include "display.h"
#include "../common/clock.h"
#include "../common/hardware.h"
#include "../common/stop.h"
#include "../formats/wire/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct compute {
    const dcgan_model *model;
    dcgan_device *device; /* null: the CPU */
    size_t batch, workspace_bytes;
    void *workspace;
    dcgan_unit unit;
    bool local;
    dcgan_local_options options;
    dcgan_unit_result result;
    dcgan_status status;
    double seconds;
    int max_cpu;          /* percent of the time that the thread works */
    double worked_before; /* seconds, up to its last sleep */
    pthread_t thread;
    int news[2]; /* a pipe: the thread writes a byte when there is something to look at */
    atomic_size_t images_done;
    atomic_bool cancelled, finished;
    size_t shards;
    atomic_size_t *changing; /* [shards] numbers of the gradient that are not final yet */
};

/* Allocates what units need on the device; false when memory is short. */
static bool allocate_workspace(compute *c, bool local) {
    dcgan_status status =
        local ? dcgan_unit_local_workspace(c->model, c->device, c->batch, &c->workspace_bytes)
              : dcgan_unit_workspace(c->model, c->device, c->batch, &c->workspace_bytes);

    free(c->workspace);
    c->workspace = status == DCGAN_OK ? malloc(c->workspace_bytes) : NULL;
    return c->workspace != NULL;
}

compute *compute_new(const dcgan_model *model, dcgan_device *device, size_t batch, bool local) {
    compute *c = calloc(1, sizeof *c);

    if (!c) {
        dcgan_device_close(device);
        return NULL;
    }
    c->model = model;
    c->device = device;
    c->batch = batch;
    c->max_cpu = 100;
    c->news[0] = c->news[1] = -1;
    c->result.gradient = malloc(model->parameter_count * sizeof(real));
    c->result.statistics = malloc(model->statistics_count * sizeof(real));
    c->shards = shard_total(model->parameter_count);
    c->changing = calloc(c->shards, sizeof *c->changing);
    if (!allocate_workspace(c, local) || !c->result.gradient || !c->result.statistics ||
        !c->changing || pipe(c->news) != 0 || fcntl(c->news[0], F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(c->news[1], F_SETFL, O_NONBLOCK) != 0) {
        compute_free(c);
        return NULL;
    }
    return c;
}

void compute_free(compute *c) {
    if (!c)
        return;
    if (c->news[0] >= 0) {
        close(c->news[0]);
        close(c->news[1]);
    }
    free(c->workspace);
    free(c->result.gradient);
    free(c->result.statistics);
    free(c->changing);
    dcgan_device_close(c->device);
    free(c);
}

int compute_gpu(const compute *c, char *name, size_t size) {
    uint64_t memory = c->device ? dcgan_device_memory(c->device) : 0;

    name[0] = '\0';
    if (memory > 0)
        hardware_plain(name, size, dcgan_device_name(c->device));
    if (memory > 0 && name[0] == '\0') /* nothing of its name was plain */
        snprintf(name, size, "GPU");
    return memory >> 20 > INT_MAX ? INT_MAX : (int)(memory >> 20);
}

bool compute_leave_device(compute *c, dcgan_status status) {
    const char *why = dcgan_device_error(c->device);

    display_warn("%s has failed: %s.\nThis program continues with the CPU.",
                 c->device ? dcgan_device_name(c->device) : "The device",
                 *why ? why : dcgan_status_text(status));
    dcgan_device_close(c->device);
    c->device = NULL;
    return allocate_workspace(c, c->local);
}

void compute_set_max_cpu(compute *c, int percent) {
    c->max_cpu = percent;
}

/* Returns the seconds that this thread has worked; waiting for a processor does not count. */
static double worked_seconds(void) {
    struct timespec worked;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &worked);
    return (double)worked.tv_sec + (double)worked.tv_nsec * 1e-9;
}

/* Sleeps between passes, long enough that the work since the last sleep is the thread's share of
 * the whole time. */
static void keep_share(compute *c) {
    double worked = worked_seconds() - c->worked_before, now = clock_now();
    double end = now + worked * (100 - c->max_cpu) / c->max_cpu;

    while ((now = clock_now()) < end && !atomic_load(&c->cancelled)) {
        double left = end - now < 0.05 ? end - now : 0.05; /* notices a cancellation soon */
        nanosleep(&(struct timespec){.tv_nsec = (long)(left * 1e9)}, NULL);
    }
    c->worked_before = worked_seconds();
}

/* Called by the library between passes. */
static int progress(void *context, size_t images_done) {
    compute *c = context;
    atomic_store(&c->images_done, images_done);
    if (c->max_cpu < 100)
        keep_share(c);
    return atomic_load(&c->cancelled);
}

/* Wakes the main thread. If the pipe is full, enough bytes to wake it are there already. */
static void tell_news(compute *c) {
    ssize_t written;

    do
        written = write(c->news[1], "", 1);
    while (written < 0 && errno == EINTR);
}

/* Called by the library when a part of the gradient is final. The parts come in any order, each
 * once. */
static void ready(void *context, size_t first, size_t count) {
    compute *c = context;
    bool news = false;

    while (count > 0) {
        size_t shard = first / SHARD_COUNT, left = (shard + 1) * SHARD_COUNT - first,
               part = count < left ? count : left;

        news = atomic_fetch_sub(&c->changing[shard], part) == part || news;
        first += part;
        count -= part;
    }
    if (news)
        tell_news(c);
}

static void *run(void *context) {
    compute *c = context;
    double start = clock_now();

    c->worked_before = worked_seconds();
    c->status = c->local ? dcgan_unit_local(c->model, &c->unit, &c->options, &c->result,
                                            c->workspace, c->workspace_bytes)
                         : dcgan_unit_gradients(c->model, &c->unit, &c->result, c->workspace,
                                                c->workspace_bytes);
    c->seconds = clock_now() - start;
    atomic_store(&c->finished, true);
    tell_news(c);
    return NULL;
}

int compute_start(compute *c, const dcgan_unit *unit, const dcgan_local_options *local) {
    sigset_t all, before;
    int failed;

    c->unit = *unit;
    c->local = local != NULL;
    if (local)
        c->options = *local;
    c->unit.progress = progress;
    c->unit.ready = ready;
    c->unit.context = c;
    c->unit.device = c->device;
    atomic_store(&c->images_done, 0);
    atomic_store(&c->cancelled, false);
    atomic_store(&c->finished, false);
    for (size_t shard = 0; shard < c->shards; shard++)
        atomic_store(&c->changing[shard], shard_length(c->model->parameter_count, shard));
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? -1 : 0;
}

int compute_descriptor(const compute *c) {
    return c->news[0];
}

bool compute_finished(compute *c) {
    char bytes[64];

    while (read(c->news[0], bytes, sizeof bytes) > 0)
        ;
    return atomic_load(&c->finished);
}

bool compute_shard_final(const compute *c, size_t shard) {
    return atomic_load(&c->changing[shard]) == 0;
}

const real *compute_gradient(const compute *c) {
    return c->result.gradient;
}

size_t compute_progress(const compute *c) {
    return atomic_load(&c->images_done);
}

void compute_cancel(compute *c) {
    atomic_store(&c->cancelled, true);
}

dcgan_status compute_finish(compute *c, const dcgan_unit_result **result, double *seconds) {
    pthread_join(c->thread, NULL);
    (void)compute_finished(c); /* empties the pipe */
    *result = &c->result;
    *seconds = c->seconds;
    return c->status;
}
