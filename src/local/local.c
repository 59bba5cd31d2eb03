/*
 * local.c - gan_local: training on this machine alone
 *
 * It computes the same as a class's run with local steps, one unit per iteration and plain
 * averaging, bit for bit: the same order of images, the same noise, the same code (docs/format.md,
 * section 9). So the training of a checkpoint can continue here, or in the server by gan_import.
 */
#define _POSIX_C_SOURCE 200809L

#include "local.h"
#include "../student/compute.h"
#include "../student/device.h"
#include "../student/display.h"
#include "../student/find_data.h"
#include "../training/picture.h"
#include "../common/clock.h"
#include "../common/stop.h"
#include "../training/training.h"
#include "../common/trouble.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SHEET_IMAGES 64
#define PATH_SIZE 4096

/* Everything the steps share. */
typedef struct local {
    const options *options;
    training t;
    dataset *data;
    compute *compute;
    uint8_t *images; /* [local_steps * batch][image] */
    double *sums;    /* [statistics_count] */
    display_state display;
    double started; /* moved forward by the time of rests */
    bool spoilt;    /* the weights are no longer finite */
    uint32_t first_iteration, saved_iteration;
} local;

/* The outcome of an iteration. */
typedef enum local_outcome { LOCAL_GO_ON, LOCAL_REST, LOCAL_STOP, LOCAL_FAIL } local_outcome;

static size_t unit_images(const local *l) {
    return l->t.local_steps * l->t.batch;
}

/* Draws a seed. */
static uint64_t draw_seed(void) {
    uint64_t seed = (uint64_t)time(NULL) * 0x9E3779B97F4A7C15u ^ (uint64_t)getpid();
    FILE *random = fopen("/dev/urandom", "rbe");

    if (random != NULL) {
        if (fread(&seed, sizeof seed, 1, random) != 1)
            seed ^= (uint64_t)clock();
        fclose(random);
    }
    return seed;
}

/* Prints what is wrong and what to do. */
static void warn(const char *what, const char *remedy) {
    trouble t;

    trouble_set(&t, false, "", what, remedy);
    display_warn("%s", t.text);
}

/* Makes a new training from the options. */
static int begin_training(local *l) {
    const options *o = l->options;
    const dcgan_adam_options adam = {o->local.learning_rate, 0.5, 0.999, 1e-8};
    char error[512];

    if (training_allocate(&l->t, &o->local.network, error, sizeof error) != 0) {
        warn(error, "Choose smaller networks, or close other programs");
        return -1;
    }
    l->t.seed = o->seed_given ? (uint64_t)o->seed : draw_seed();
    l->t.batch = o->batch > 0 ? o->batch : 8;
    l->t.local_steps = (size_t)o->local.local_steps;
    l->t.rules = (dcgan_local_options){adam, adam, 0.1};
    l->t.target = (uint32_t)o->local.iterations;
    if (unit_images(l) > 65536) {
        display_warn("--local-steps %zu of --batch %zu images are %zu images, more than "
                     "65536.\nUse smaller ones.",
                     l->t.local_steps, l->t.batch, unit_images(l));
        return -1;
    }
    l->t.dataset_images = dataset_count(l->data);
    dataset_digest(l->data, l->t.dataset_digest);
    dcgan_initialise(&l->t.model, l->t.seed, 0, l->t.model.parameter_count, l->t.weights);
    dcgan_initialise_statistics(&l->t.model, l->t.statistics);
    return 0;
}

/* Continues from a checkpoint. */
static int resume_training(local *l) {
    const options *o = l->options;
    char error[1024];

    if (training_load(&l->t, o->local.resume, error, sizeof error) != 0) {
        warn(error, "Give a checkpoint of gan_local, or one from your instructor");
        return -1;
    }
    if (o->local.iterations_given)
        l->t.target = (uint32_t)o->local.iterations;
    if (l->t.iteration >= l->t.target) {
        display_warn("The checkpoint is at iteration %" PRIu32 " of %" PRIu32
                     ".\nTo continue, give a higher --iterations.",
                     l->t.iteration, l->t.target);
        return -1;
    }
    if (!dataset_match(l->data, l->t.dataset_images, l->t.dataset_digest)) {
        display_warn("%s are not the %" PRIu64
                     " images that the checkpoint was trained on.\nName those with --data.",
                     dataset_describe(l->data), l->t.dataset_images);
        return -1;
    }
    return 0;
}

/* Writes the checkpoint's path; returns -1, having said why, if it is too long. */
static int checkpoint_path(const local *l, char path[PATH_SIZE]) {
    if (snprintf(path, PATH_SIZE, "%s/checkpoint.safetensors", l->options->out) < PATH_SIZE)
        return 0;
    display_warn("The name of the folder is too long.\nChoose another --out.");
    return -1;
}

/* Makes sure that no other training's checkpoint is overwritten: it may be a night's work. */
static int spare_others(const local *l) {
    const char *resumed = l->options->local.resume;
    struct stat there, ours;
    char path[PATH_SIZE];

    if (checkpoint_path(l, path) != 0)
        return -1;
    if (stat(path, &there) != 0 || (resumed != NULL && stat(resumed, &ours) == 0 &&
                                    there.st_dev == ours.st_dev && there.st_ino == ours.st_ino))
        return 0;
    display_warn("%s exists already and would be overwritten.\nContinue from it with --resume %s, "
                 "or choose another --out.",
                 path, path);
    return -1;
}

/* Writes the checkpoint and a sheet of images. */
static int save(local *l) {
    const training *t = &l->t;
    char path[PATH_SIZE], error[1024];

    if (checkpoint_path(l, path) != 0)
        return -1;
    if (training_save(t, path, error, sizeof error) == 0) {
        display_say("iteration %" PRIu32 ": wrote %s", t->iteration, path);
        l->saved_iteration = t->iteration;
        (void)snprintf(path, sizeof path, "%s/samples-%06" PRIu32 ".png", l->options->out,
                       t->iteration);
        if (picture_write(path, &t->model, t->weights, t->statistics, NULL, t->seed, SHEET_IMAGES,
                          error, sizeof error) == 0)
            return 0;
    }
    warn(error, "Make room there, or choose another --out; this program tries again with the next "
                "checkpoint");
    return -1;
}

/* Prepares the iteration's images. */
static local_outcome prepare_images(local *l) {
    uint64_t n = l->t.dataset_images;

    for (size_t i = 0; i < unit_images(l); i++) {
        uint64_t p = l->t.position + i;

        if (dataset_image(l->data, dcgan_permute(l->t.seed, p / n, n, p % n),
                          l->images + i * l->t.model.image_count) != 0)
            return LOCAL_FAIL; /* which the dataset has reported */
        if (stop_asked())
            return LOCAL_STOP;
    }
    return LOCAL_GO_ON;
}

/* Shows the progress until the thread is done or it is time to rest. */
static local_outcome watch(local *l) {
    while (!compute_finished(l->compute)) {
        char note[64], why[120];

        if (rest_due(&l->options->rest, why, sizeof why))
            return LOCAL_REST;

        if (stop_wait(compute_descriptor(l->compute), POLLIN, 0.2) == STOP_ASKED)
            return LOCAL_STOP;
        snprintf(note, sizeof note, "%zu/%zu images", compute_progress(l->compute), unit_images(l));
        display_progress(&l->display, note);
    }
    return LOCAL_GO_ON;
}

/* Applies the result to the weights and the running statistics, as a step of the server does. */
static dcgan_status step(local *l, const dcgan_unit_result *result) {
    training *t = &l->t;
    const dcgan_outer_options average = {.optimizer = DCGAN_OUTER_AVERAGE, .learning_rate = 1};
    double momentum = 1.0 - pow(1.0 - t->rules.norm_momentum, (double)t->local_steps);

    dcgan_outer(t->weights, NULL, NULL, result->gradient, t->model.parameter_count,
                (uint64_t)t->iteration + 1, &average);
    memset(l->sums, 0, t->model.statistics_count * sizeof *l->sums);
    dcgan_statistics_add(&t->model, l->sums, result->statistics, 1);
    dcgan_statistics_finish(&t->model, result->statistics, l->sums);
    dcgan_statistics_run(&t->model, t->statistics, result->statistics, momentum, unit_images(l));
    l->spoilt = !dcgan_finite(t->weights, t->model.parameter_count, NULL);
    return l->spoilt ? DCGAN_NOT_FINITE : DCGAN_OK;
}

/* Shows an iteration that is done. */
static void show(local *l, const dcgan_unit_result *result) {
    double elapsed = clock_now() - l->started, done = l->t.iteration - l->first_iteration;

    l->display.iteration = l->t.iteration;
    l->display.any = true;
    l->display.loss_d = result->loss_d;
    l->display.loss_g = result->loss_g;
    l->display.speed = done * (double)unit_images(l) / elapsed;
    l->display.seconds_left = elapsed / done * (l->t.target - l->t.iteration);
    display_unit(&l->display);
}

/* Trains one iteration. */
static local_outcome iterate(local *l) {
    training *t = &l->t;
    const dcgan_unit unit = {.weights = t->weights,
                             .images = l->images,
                             .count = unit_images(l),
                             .batch = t->batch,
                             .seed = t->seed,
                             .iteration = t->iteration,
                             .position = t->position,
                             .threads = l->options->threads};
    const dcgan_unit_result *result;
    dcgan_status status;
    double seconds;
    local_outcome o = prepare_images(l);

    if (o != LOCAL_GO_ON)
        return o;
    if (compute_start(l->compute, &unit, &t->rules) != 0) {
        display_warn("No thread can be started to compute in.\nClose other programs.");
        return LOCAL_FAIL;
    }
    if ((o = watch(l)) != LOCAL_GO_ON)
        compute_cancel(l->compute);
    status = compute_finish(l->compute, &result, &seconds);
    if (o != LOCAL_GO_ON)
        return o;
    if (status == DCGAN_DEVICE || status == DCGAN_DEVICE_MEMORY) {
        if (compute_leave_device(l->compute, status))
            return LOCAL_GO_ON; /* which computes the iteration again */
        display_warn("There is not enough memory.\nUse a smaller --batch.");
        return LOCAL_FAIL;
    }
    if (status != DCGAN_OK || (status = step(l, result)) != DCGAN_OK) {
        display_warn("Iteration %" PRIu32
                     " can't be computed: %s.\nA smaller --learning-rate may help.",
                     t->iteration, dcgan_status_text(status));
        return LOCAL_FAIL;
    }
    t->iteration++;
    t->position += unit_images(l);
    show(l, result);
    return LOCAL_GO_ON;
}

/* Rests on battery and in quiet hours. */
static local_outcome rest(local *l) {
    char why[120], last[120] = "";
    double begun = clock_now();

    while (rest_due(&l->options->rest, why, sizeof why)) {
        if (strcmp(why, last) != 0)
            display_say("%s", why);
        memcpy(last, why, sizeof last);
        if (stop_wait(-1, 0, 1) == STOP_ASKED)
            return LOCAL_STOP;
    }
    l->started += clock_now() - begun;
    return LOCAL_GO_ON;
}

/* Trains until the end. However it ends, a checkpoint is saved; a disk that is full for a while
 * does not end the training. */
static int train(local *l) {
    local_outcome o = LOCAL_GO_ON;
    int status = 0;

    while ((o == LOCAL_GO_ON || o == LOCAL_REST) && l->t.iteration < l->t.target) {
        o = stop_asked() ? LOCAL_STOP : rest(l);
        if (o == LOCAL_GO_ON)
            o = iterate(l);
        if (o == LOCAL_GO_ON && l->t.iteration % (uint32_t)l->options->local.save_every == 0)
            (void)save(l); /* which says why it can't, and is tried again */
    }
    if (l->saved_iteration != l->t.iteration && !l->spoilt &&
        (o != LOCAL_FAIL || l->t.iteration > l->first_iteration))
        status = save(l);
    if (l->t.iteration < l->t.target && l->saved_iteration == l->t.iteration)
        display_say("continue with: gan_local --resume %s/checkpoint.safetensors", l->options->out);
    return o == LOCAL_FAIL || status != 0 ? 1 : 0;
}

/* Allocates what depends on the model, and makes the folder. */
static int set_up(local *l) {
    const options *o = l->options;
    device_need need = {
        .wanted = o->device, .model = &l->t.model, .threads = o->threads, .batch = l->t.batch};
    dcgan_device *device;

    if (mkdir(o->out, 0777) != 0 && errno != EEXIST) {
        display_warn("The folder \"%s\" can't be made: %s.\nChoose another --out.", o->out,
                     strerror(errno));
        return -1;
    }
    if (spare_others(l) != 0)
        return -1;
    if (!device_choose(&need, &device))
        return -1;
    l->compute = compute_new(&l->t.model, device, l->t.batch, true);
    l->images = malloc(unit_images(l) * l->t.model.image_count);
    l->sums = malloc(l->t.model.statistics_count * sizeof *l->sums);
    if (l->compute == NULL || l->images == NULL || l->sums == NULL ||
        dataset_prepare(l->data, (int)l->t.model.config.image_size,
                        (int)l->t.model.config.channels) != 0) {
        display_warn("There is not enough memory.\nUse a smaller --batch or fewer --local-steps.");
        return -1;
    }
    compute_set_max_cpu(l->compute, o->max_cpu);
    l->started = clock_now();
    l->first_iteration = l->t.iteration;
    l->saved_iteration = UINT32_MAX;
    l->display = (display_state){.target = l->t.target, .iteration = l->t.iteration};
    return 0;
}

int local_run(const options *o) {
    local l = {.options = o, .data = find_data(o, NULL)};
    int status = 1;

    if (l.data == NULL)
        return 1;
    display_say("%s", dataset_describe(l.data));
    if ((o->local.resume != NULL ? resume_training(&l) : begin_training(&l)) == 0 &&
        set_up(&l) == 0) {
        display_say("%ux%u, %zu parameters, seed %" PRId64 ", iterations %" PRIu32 " to %" PRIu32
                    " of %zu steps of %zu images",
                    l.t.model.config.image_size, l.t.model.config.image_size,
                    l.t.model.parameter_count, (int64_t)l.t.seed, l.t.iteration, l.t.target,
                    l.t.local_steps, l.t.batch);
        status = train(&l);
    }
    compute_free(l.compute);
    free(l.images);
    free(l.sums);
    training_free(&l.t);
    dataset_close(l.data);
    return status;
}
