/*
 * speed.c - how fast a device computes a network
 */
#include "speed.h"
#include "../common/clock.h"

#include <stdlib.h>

/* What a unit reads and writes. */
typedef struct trial {
    real *weights;
    uint8_t *images;
    void *workspace;
    size_t bytes;
    dcgan_unit_result result;
} trial;

static void free_trial(trial *t) {
    free(t->weights);
    free(t->images);
    free(t->workspace);
    free(t->result.gradient);
    free(t->result.statistics);
}

/* Allocates a unit of one minibatch; false when memory is short. */
static int allocate(trial *t, const dcgan_model *model, size_t batch) {
    t->weights = malloc(model->parameter_count * sizeof *t->weights);
    t->images = malloc(batch * model->image_count);
    t->workspace = malloc(t->bytes);
    t->result.gradient = malloc(model->parameter_count * sizeof(real));
    t->result.statistics = malloc(model->statistics_count * sizeof(real));
    if (!t->weights || !t->images || !t->workspace || !t->result.gradient || !t->result.statistics)
        return 0;
    dcgan_initialise(model, 1, 0, model->parameter_count, t->weights);
    for (size_t i = 0; i < batch * model->image_count; i++)
        t->images[i] = (uint8_t)((uint32_t)i * 2654435761u >> 24);
    return 1;
}

dcgan_status speed_measure(const dcgan_model *model, dcgan_device *device, int threads,
                           size_t batch, double seconds, double *images_per_second) {
    trial t = {0};
    double start = 0, elapsed = 0;
    size_t units = 0;
    dcgan_status status = dcgan_unit_workspace(model, device, batch, &t.bytes);

    if (status == DCGAN_OK && !allocate(&t, model, batch))
        status = DCGAN_DEVICE_MEMORY;
    while (status == DCGAN_OK && (units < 2 || elapsed < seconds)) {
        const dcgan_unit unit = {.weights = t.weights,
                                 .images = t.images,
                                 .count = batch,
                                 .batch = batch,
                                 .threads = threads,
                                 .device = device};

        status = dcgan_unit_gradients(model, &unit, &t.result, t.workspace, t.bytes);
        if (units++ == 0) /* the first one warms up */
            start = clock_now();
        elapsed = clock_now() - start;
    }
    if (status == DCGAN_OK)
        *images_per_second = (double)((units - 1) * batch) / elapsed;
    free_trial(&t);
    return status;
}
