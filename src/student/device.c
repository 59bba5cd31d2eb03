/*
 * device.c - chooses the device by its name, or by how fast it computes the network
 *
 * A GPU is a device that tells how much memory it can use. OpenCL may also offer the processor,
 * which is only used when it is named: the CPU backend is faster.
 */
#include "device.h"
#include "display.h"
#include "speed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 80
#define SMALLEST_BATCH ((size_t)8)
#define TRIAL_SECONDS 1.0 /* of each device; GPUs and CPU together take about two */

/* One of this machine's devices. */
typedef struct found {
    const char *backend;
    int number;
    char name[NAME_SIZE];
    uint64_t memory; /* 0: the processor */
} found;

/* Calls visit for every device but the plain loops of the tests, until it returns false. */
static void visit_devices(bool (*visit)(const found *f, void *context), void *context) {
    const char *backend;

    for (int i = 0; (backend = dcgan_backend_name(i)) != NULL; i++)
        for (int n = 0; strcmp(backend, "naive") != 0 && n < dcgan_device_count(backend); n++) {
            found f = {.backend = backend, .number = n};

            dcgan_device_describe(backend, n, f.name, sizeof f.name, &f.memory);
            if (!visit(&f, context))
                return;
        }
}

/* ---- the list ---- */

static bool print(const found *f, void *context) {
    int *gpus = context;
    char option[40];

    if (f->memory > 0)
        snprintf(option, sizeof option, "gpu:%d", (*gpus)++);
    else if (strcmp(f->backend, "cpu") == 0)
        snprintf(option, sizeof option, "cpu");
    else
        snprintf(option, sizeof option, "%s:%d", f->backend, f->number);
    printf("  --device %-10s %s", option, f->name);
    if (f->memory > 0)
        printf(", %" PRIu64 " MB, by %s", f->memory >> 20, f->backend);
    else if (strcmp(f->backend, "cpu") != 0)
        printf(" (the processor, by %s)", f->backend);
    printf("\n");
    return true;
}

void device_list(void) {
    int gpus = 0;

    printf("This machine can compute on:\n");
    visit_devices(print, &gpus);
    if (gpus == 0)
        printf("There is no GPU that the program can use.\n"
               "A GPU needs its maker's driver, with OpenCL.\n");
}

/* ---- by name ---- */

/* A device that is looked for: number n of a backend, or, where it is null, of the GPUs. */
typedef struct search {
    char backend[20];
    bool gpu, there;
    int n;
    found match;
} search;

static bool matches(const found *f, void *context) {
    search *s = context;

    if (s->gpu ? f->memory == 0 : strcmp(f->backend, s->backend) != 0)
        return true;
    if (s->n-- > 0)
        return true;
    s->match = *f;
    s->there = true;
    return false;
}

/* Finds a device by what --device says. */
static bool find(const char *wanted, found *f) {
    search s = {.n = 0};
    const char *colon = strchr(wanted, ':');
    size_t length = colon ? (size_t)(colon - wanted) : strlen(wanted);

    if (length >= sizeof s.backend)
        return false;
    memcpy(s.backend, wanted, length);
    s.n = colon ? atoi(colon + 1) : 0;
    s.gpu = strcmp(s.backend, "gpu") == 0;
    if (strcmp(s.backend, "naive") == 0) { /* for tests: is not listed */
        *f = (found){.backend = "naive", .name = "plain loops"};
        return s.n == 0;
    }
    visit_devices(matches, &s);
    *f = s.match;
    return s.there;
}

void device_name(const dcgan_device *device, char *text, size_t size) {
    snprintf(text, size, "%s", device ? dcgan_device_name(device) : "the CPU");
}

/* Says that a device can't be used. */
static void say_useless(const found *f, const dcgan_device *device, dcgan_status status) {
    const char *why = dcgan_device_error(device);

    display_warn("%s can't be used: %s.\nThe CPU computes instead.", f->name,
                 *why ? why : dcgan_status_text(status));
}

/* Opens a device and measures it, with smaller minibatches where it needs them. On failure, which
 * it says, *device is null. */
static void try_device(const device_need *need, const found *f, dcgan_device **device,
                       size_t *batch, double *speed) {
    dcgan_status status = dcgan_device_open(device, f->backend, f->number, need->threads);

    *batch = need->batch;
    while (status == DCGAN_OK) {
        status = speed_measure(need->model, *device, need->threads, *batch, TRIAL_SECONDS, speed);
        if (status == DCGAN_OK)
            return;
        if (status != DCGAN_DEVICE_MEMORY || !need->smaller_batch || *batch <= SMALLEST_BATCH)
            break;
        *batch /= 2;
        status = DCGAN_OK;
    }
    say_useless(f, *device, status);
    dcgan_device_close(*device);
    *device = NULL;
}

/* Takes a device for the work. */
static void take(device_need *need, size_t batch) {
    if (batch < need->batch)
        display_say("minibatches of %zu images in place of %zu: the device has too little memory",
                    batch, need->batch);
    need->batch = batch;
}

/* ---- the fastest ---- */

/* The fastest GPU so far, and what was said of all of them. */
typedef struct race {
    const device_need *need;
    dcgan_device *device;
    size_t batch;
    double speed;
    char said[300];
} race;

static bool run_race(const found *f, void *context) {
    race *r = context;
    dcgan_device *device;
    size_t batch, used = strlen(r->said);
    double speed;

    if (f->memory == 0)
        return true;
    try_device(r->need, f, &device, &batch, &speed);
    if (!device)
        return true;
    snprintf(r->said + used, sizeof r->said - used, "%s: %.0f images/s; ", f->name, speed);
    if (speed > r->speed) {
        dcgan_device_close(r->device);
        r->device = device;
        r->batch = batch;
        r->speed = speed;
    } else
        dcgan_device_close(device);
    return true;
}

/* Chooses between the GPUs and the CPU. Without a GPU nothing is measured. */
static void choose_fastest(device_need *need, dcgan_device **device) {
    race r = {.need = need};
    double cpu = 0;

    visit_devices(run_race, &r);
    if (!r.device)
        return;
    (void)speed_measure(need->model, NULL, need->threads, need->batch, TRIAL_SECONDS, &cpu);
    display_say("%sCPU, %d thread%s: %.0f: using the %s", r.said, need->threads,
                need->threads == 1 ? "" : "s", cpu, r.speed > cpu ? "GPU" : "CPU");
    if (r.speed > cpu) {
        *device = r.device;
        take(need, r.batch);
    } else
        dcgan_device_close(r.device);
}

bool device_choose(device_need *need, dcgan_device **device) {
    found f;
    size_t batch;
    double speed;

    *device = NULL;
    if (!need->wanted || strcmp(need->wanted, "auto") == 0)
        choose_fastest(need, device);
    else if (strcmp(need->wanted, "cpu") != 0) {
        if (!find(need->wanted, &f)) {
            display_warn("This machine has no device \"%s\".\n--device list shows what it has.",
                         need->wanted);
            return false;
        }
        try_device(need, &f, device, &batch, &speed);
        if (*device) {
            display_say("computing on %s: %.0f images/s", f.name, speed);
            take(need, batch);
        }
    }
    return true;
}
