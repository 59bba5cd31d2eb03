/*
 * reference.c - a summary of the real images, against which the server measures the generated ones
 *
 * A fixed sample of the dataset, chosen by the run's seed, is reduced to quantiles of random
 * projections of its patches (src/quality): no image leaves this machine.
 */
#include "reference.h"
#include "../../common/clock.h"
#include "../../common/stop.h"
#include "../../quality/swd.h"

#include <stdlib.h>

#define ASK_AGAIN_SECONDS 600 /* the instructor may have begun again */
#define ASK_FIRST_SECONDS 1   /* the server asks only accounts with averaged work */

/* Cancels the computation when a stop is requested. */
static int is_stopped(void *context) {
    (void)context;
    return stop_asked();
}

/* Reads the sample's images; false if a stop is requested or they can't be read. */
static bool read_sample(loop *l, uint8_t *images, size_t count) {
    for (size_t k = 0; k < count; k++)
        if (stop_asked() ||
            dataset_image(l->data, swd_sample(l->run->seed, dataset_count(l->data), k),
                          images + k * l->model.image_count) != 0)
            return false;
    return true;
}

/* Summarises count images into a blob; false if that failed or was stopped. */
static bool summarise(loop *l, size_t count, uint8_t *images, void *workspace, size_t bytes,
                      unsigned char *blob) {
    const dcgan_config *config = &l->model.config;
    swd_set set = {
        .images = images, .count = count, .size = config->image_size, .channels = config->channels};

    if (!read_sample(l, images, count) ||
        swd_summarise(&set, l->run->seed, (float *)(blob + BLOB_HEADER_SIZE), workspace, bytes,
                      is_stopped, NULL) != SWD_OK)
        return false;
    blob_write(blob, (float *)(blob + BLOB_HEADER_SIZE), swd_summary_count(set.size));
    return true;
}

/* Makes and sends the summary. A failure here does not stop the worker from computing units. */
static void contribute(loop *l, size_t count) {
    size_t numbers = swd_summary_count(l->model.config.image_size), bytes = 0;
    char answer[16];

    if (swd_workspace(count, l->model.config.channels, &bytes) != SWD_OK)
        return;
    uint8_t *images = malloc(count * l->model.image_count);
    void *workspace = malloc(bytes);
    unsigned char *blob = malloc(blob_size(numbers));
    if (!images || !workspace || !blob)
        display_warn("There is not enough memory for a summary of %zu images.\n"
                     "There is nothing to do: this program continues without it.",
                     count);
    else if (summarise(l, count, images, workspace, bytes, blob)) {
        if (server_reference(l->server, l->worker, count, blob, blob_size(numbers), answer) !=
            SERVER_OK)
            display_warn("The server did not accept the summary of %zu images: %s\n"
                         "There is nothing to do: this program continues without it.",
                         count, server_trouble(l->server)->what);
        else
            display_say("summarised %zu images for the measure of quality: %s", count, answer);
    }
    free(images);
    free(workspace);
    free(blob);
}

void reference_offer(loop *l) {
    size_t wanted;

    if (l->claimed_ahead || clock_now() < l->next_reference)
        return;
    l->reference_wait = l->reference_wait > 0 ? 2 * l->reference_wait : ASK_FIRST_SECONDS;
    if (l->reference_wait > ASK_AGAIN_SECONDS)
        l->reference_wait = ASK_AGAIN_SECONDS;
    l->next_reference = clock_now() + l->reference_wait;
    if (server_reference_wanted(l->server, l->worker, &wanted) == SERVER_OK && wanted > 0 &&
        wanted <= dataset_count(l->data)) {
        contribute(l, wanted);
        l->reference_wait = ASK_AGAIN_SECONDS;
    }
}
