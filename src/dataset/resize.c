/*
 * resize.c - from a decoded image to the pixels of a run: grey or colour, resize, cut out the
 * middle. The arithmetic is that of Pillow's BILINEAR (weights in fixed point with 22 bits behind
 * the point), so that results are equal; only the pixels that are cut out are computed.
 */
#include "image.h"

#include <math.h>
#include <stdlib.h>

#define WEIGHT_BITS 22
#define WEIGHT_HALF (1 << (WEIGHT_BITS - 1))

/* The inputs of each output of one axis: output i is a weighted sum of count[i] inputs, beginning
 * with first[i]. */
typedef struct axis {
    size_t outputs;
    size_t taps; /* weights that an output has room for */
    size_t *first;
    size_t *count;
    int32_t *weight; /* [output][tap], sums to 2^22 */
} axis;

/* Frees the tables. */
static void axis_free(axis *plan) {
    free(plan->first);
    free(plan->count);
    free(plan->weight);
}

/* Fills in the weights of one output, whose centre is given in inputs; share is scratch for the
 * unrounded weights. */
static void axis_weigh(axis *plan, size_t output, double centre, double support, size_t from,
                       double *share) {
    double low = centre - support + 0.5;
    double high = centre + support + 0.5;
    size_t first = low > 0 ? (size_t)low : 0;
    size_t last = high < (double)from ? (size_t)high : from;
    double sum = 0;

    plan->first[output] = first;
    plan->count[output] = last - first;
    for (size_t k = first; k < last; k++) {
        double distance = fabs(((double)k - centre + 0.5) * (1.0 / support));

        share[k - first] = distance < 1.0 ? 1.0 - distance : 0.0;
        sum += share[k - first];
    }
    for (size_t k = 0; k < last - first; k++)
        plan->weight[output * plan->taps + k] =
            (int32_t)(0.5 + share[k] / sum * (1 << WEIGHT_BITS));
}

/*
 * Plans outputs skip ... skip + outputs - 1 of resizing an axis of length from to length to.
 * Returns -1 when memory is short; the plan is to be freed in any case.
 */
static int axis_plan(axis *plan, size_t from, size_t to, size_t skip, size_t outputs) {
    double scale = (double)from / (double)to;
    double support = scale > 1.0 ? scale : 1.0;
    double *share;
    size_t weights;

    plan->outputs = outputs;
    plan->taps = (size_t)ceil(support) * 2 + 1;
    if (!size_multiply(outputs, plan->taps, &weights))
        return -1;
    plan->first = calloc(outputs, sizeof *plan->first);
    plan->count = calloc(outputs, sizeof *plan->count);
    plan->weight = calloc(weights, sizeof *plan->weight);
    share = calloc(plan->taps, sizeof *share);
    if (plan->first == NULL || plan->count == NULL || plan->weight == NULL || share == NULL) {
        free(share);
        return -1;
    }
    for (size_t output = 0; output < outputs; output++)
        axis_weigh(plan, output, ((double)(skip + output) + 0.5) * scale, support, from, share);
    free(share);
    return 0;
}

/* Rounds a weighted sum, to which half a unit was added already, to 8 bits. */
static unsigned char round_sum(int32_t sum) {
    sum >>= WEIGHT_BITS;
    return (unsigned char)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Resizes one row: target [plan->outputs][channels] from source [any][channels]. */
static void resize_row(const axis *plan, size_t channels, const unsigned char *source,
                       unsigned char *target) {
    for (size_t output = 0; output < plan->outputs; output++) {
        const int32_t *weight = plan->weight + output * plan->taps;

        for (size_t channel = 0; channel < channels; channel++) {
            const unsigned char *sample = source + plan->first[output] * channels + channel;
            int32_t sum = WEIGHT_HALF;

            for (size_t k = 0; k < plan->count[output]; k++)
                sum += sample[k * channels] * weight[k];
            *target++ = round_sum(sum);
        }
    }
}

/* Resizes the columns: target [plan->outputs][stride] from source rows of the same stride, the
 * first being row first. */
static void resize_columns(const axis *plan, size_t stride, size_t first,
                           const unsigned char *source, unsigned char *target) {
    for (size_t output = 0; output < plan->outputs; output++) {
        const unsigned char *top = source + (plan->first[output] - first) * stride;
        const int32_t *weight = plan->weight + output * plan->taps;

        for (size_t x = 0; x < stride; x++) {
            int32_t sum = WEIGHT_HALF;

            for (size_t k = 0; k < plan->count[output]; k++)
                sum += top[k * stride + x] * weight[k];
            *target++ = round_sum(sum);
        }
    }
}

/* Resizes by the two plans, rows first. Returns -1 when memory is short. */
static int resize_both(const image *source, const axis *across, const axis *down,
                       unsigned char *pixels) {
    size_t first = down->first[0];
    size_t rows = down->first[down->outputs - 1] + down->count[down->outputs - 1] - first;
    size_t stride = across->outputs * source->channels;
    size_t bytes;
    unsigned char *between;

    if (!size_multiply(rows, stride, &bytes) || (between = malloc(bytes)) == NULL)
        return -1;
    for (size_t row = 0; row < rows; row++)
        resize_row(across, source->channels,
                   source->pixels + (first + row) * source->width * source->channels,
                   between + row * stride);
    resize_columns(down, stride, first, between, pixels);
    free(between);
    return 0;
}

/* Halves the excess of an axis over the cut; ties are rounded to even. */
static size_t cut_from(size_t length, size_t side) {
    size_t excess = length - side;

    return excess / 2 + (excess % 4 == 3);
}

/* Resizes so that the shorter side has the given length, and cuts out the middle. Returns -1 when
 * memory is short. */
static int resize_and_cut(const image *source, size_t side, unsigned char *pixels) {
    bool tall = source->width <= source->height;
    size_t width = tall ? side : side * source->width / source->height;
    size_t height = tall ? side * source->height / source->width : side;
    axis across = {0};
    axis down = {0};
    int outcome = -1;

    if (axis_plan(&across, source->width, width, cut_from(width, side), side) == 0 &&
        axis_plan(&down, source->height, height, cut_from(height, side), side) == 0)
        outcome = resize_both(source, &across, &down, pixels);
    axis_free(&across);
    axis_free(&down);
    return outcome;
}

/* Turns colour into grey, count pixels. */
static void to_grey(const unsigned char *colour, unsigned char *grey, size_t count) {
    for (size_t i = 0; i < count; i++, colour += 3)
        grey[i] = (unsigned char)((19595u * colour[0] + 38470u * colour[1] + 7471u * colour[2] +
                                   32768u) >>
                                  16);
}

/* Turns grey into colour, count pixels. */
static void to_colour(const unsigned char *grey, unsigned char *colour, size_t count) {
    for (size_t i = 0; i < count; i++, colour += 3)
        colour[0] = colour[1] = colour[2] = grey[i];
}

/* Converts an image to another number of channels and prepares it. Returns -1 when memory is
 * short. */
static int convert_and_cut(const image *decoded, size_t side, size_t channels,
                           unsigned char *pixels) {
    size_t count = decoded->width * decoded->height;
    char unused[1];
    image converted;
    int outcome;

    if (image_allocate(&converted, decoded->width, decoded->height, channels, unused,
                       sizeof unused) != IMAGE_OK)
        return -1;
    if (channels == 1)
        to_grey(decoded->pixels, converted.pixels, count);
    else
        to_colour(decoded->pixels, converted.pixels, count);
    outcome = resize_and_cut(&converted, side, pixels);
    image_free(&converted);
    return outcome;
}

int image_prepare(const image *decoded, size_t side, size_t channels, unsigned char *pixels) {
    if (decoded->channels == channels)
        return resize_and_cut(decoded, side, pixels);
    return convert_and_cut(decoded, side, channels, pixels);
}
