/*
 * swd.c - summaries of sets of images and their sliced Wasserstein distance (docs/format.md,
 * section 11)
 *
 * It works level by level: the patches of all images are the rows of a matrix, normalised by
 * channel, which is multiplied by 16 directions at a time; each column of the product is sorted and
 * cut into groups. The memory is that of one level's patches.
 */
#include "swd.h"
#include "pyramid.h"

#include "../dcgan/cpu/gemm.h"
#include "../dcgan/dcgan.h"

#include <math.h>
#include <string.h>

/* Streams of random numbers (docs/format.md, section 1), and the epoch whose order gives the
 * sample: no run gets that far. */
enum { STREAM_DIRECTIONS = 5, STREAM_PATCHES = 6 };
#define SAMPLE_EPOCH 0xFFFFFFFFu

#define BLOCK 16      /* directions that are projected on at a time */
#define RADIX_BITS 11 /* of a float's 32, in three passes */
#define RADIX_SIZE (1u << RADIX_BITS)
#define ALIGNMENT 64

typedef struct work {
    const swd_set *set;
    uint64_t seed;
    size_t dimensions;  /* of a patch */
    size_t rows;        /* patches of a level */
    float *patches;     /* [rows][dimensions] */
    float *directions;  /* [SWD_DIRECTIONS][dimensions] */
    float *projections; /* [BLOCK][rows] */
    uint32_t *keys[2];  /* [rows], to sort */
    float *buffers[3];  /* of a pyramid */
} work;

const char *swd_status_text(swd_status status) {
    static const char *const texts[] = {"is fine",
                                        "has sizes that are out of range",
                                        "needs a larger workspace",
                                        "was cancelled",
                                        "holds NaN or infinity",
                                        "holds quantiles that are not in order",
                                        "holds quantiles that no normalised patches have"};
    return (size_t)status < sizeof texts / sizeof *texts ? texts[status] : "has an unknown status";
}

size_t swd_levels(size_t size) {
    size_t levels = 1;
    for (; size > SWD_LAST_SIZE; size /= 2)
        levels++;
    return levels;
}

size_t swd_summary_count(size_t size) {
    return swd_levels(size) * SWD_DIRECTIONS * SWD_QUANTILES;
}

uint64_t swd_sample(uint64_t seed, uint64_t images, uint64_t k) {
    return dcgan_permute(seed, SAMPLE_EPOCH, images, k);
}

/* Reserves room for count numbers of 4 bytes; with base null it only counts. */
static void *take(unsigned char *base, size_t *used, size_t count) {
    void *room = base ? base + *used : NULL;

    *used += (count * 4 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return room;
}

/* Lays out the workspace; returns the bytes used. */
static size_t lay_out(work *w, unsigned char *base, size_t count, size_t size, size_t channels) {
    size_t used = 0;

    w->dimensions = SWD_PATCH * SWD_PATCH * channels;
    w->rows = count * SWD_PATCHES;
    w->patches = take(base, &used, w->rows * w->dimensions);
    w->directions = take(base, &used, SWD_DIRECTIONS * w->dimensions);
    w->projections = take(base, &used, BLOCK * w->rows);
    for (int i = 0; i < 2; i++)
        w->keys[i] = take(base, &used, w->rows);
    for (int i = 0; i < 3; i++)
        w->buffers[i] = take(base, &used, pyramid_count(size, channels));
    return used;
}

swd_status swd_workspace(size_t count, size_t channels, size_t *bytes) {
    work w;

    if (count < 1 || count > SWD_MAX_IMAGES || (channels != 1 && channels != 3))
        return SWD_INVALID_ARGUMENT;
    *bytes = lay_out(&w, NULL, count, 128, channels) + ALIGNMENT;
    return SWD_OK;
}

/* Cuts an image's patches out of one level of its pyramid. */
static void cut_patches(const work *w, const float *level, size_t size, uint32_t number,
                        uint32_t image) {
    size_t line = SWD_PATCH * w->set->channels;
    float *patch = w->patches + (size_t)image * SWD_PATCHES * w->dimensions;

    for (uint32_t p = 0; p < SWD_PATCHES; p++) {
        uint32_t block[4];
        dcgan_philox((const uint32_t[4]){p, image, number, STREAM_PATCHES}, w->seed, block);
        size_t places = size - SWD_PATCH + 1, y = (size_t)((uint64_t)block[0] * places >> 32),
               x = (size_t)((uint64_t)block[1] * places >> 32);
        for (size_t row = 0; row < SWD_PATCH; row++, patch += line)
            memcpy(patch, level + ((y + row) * size + x) * w->set->channels, line * sizeof *patch);
    }
}

/* Gives each channel of the patches mean 0 and variance 1; a constant channel becomes 0. */
static void normalise(const work *w) {
    size_t channels = w->set->channels, count = w->rows * w->dimensions;
    double first[3] = {0}, second[3] = {0}, n = (double)(count / channels);

    for (size_t c = 0; c < channels; c++) {
        double mean, deviation;
        for (size_t i = c; i < count; i += channels)
            first[c] += (double)w->patches[i];
        mean = first[c] / n;
        for (size_t i = c; i < count; i += channels) {
            double d = (double)w->patches[i] - mean;
            second[c] += d * d;
        }
        deviation = sqrt(second[c] / n);
        for (size_t i = c; i < count; i += channels)
            w->patches[i] =
                deviation > 1e-6 ? (float)(((double)w->patches[i] - mean) / deviation) : 0;
    }
}

/* Draws a level's directions, vectors of length 1. */
static void draw_directions(const work *w, uint32_t level) {
    dcgan_noise(w->seed, level, 0, STREAM_DIRECTIONS, SWD_DIRECTIONS * w->dimensions,
                w->directions);
    for (size_t k = 0; k < SWD_DIRECTIONS; k++) {
        float *direction = w->directions + k * w->dimensions;
        double square = 0;
        for (size_t j = 0; j < w->dimensions; j++)
            square += (double)direction[j] * (double)direction[j];
        for (size_t j = 0; j < w->dimensions; j++)
            direction[j] = (float)((double)direction[j] / sqrt(square));
    }
}

/* Maps a float to a number in the same order, and back. */
static uint32_t to_key(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ (bits >> 31 ? 0xFFFFFFFFu : 0x80000000u);
}

static float from_key(uint32_t key) {
    uint32_t bits = key ^ (key >> 31 ? 0x80000000u : 0xFFFFFFFFu);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Sorts keys stably by a number of bits, beginning at a given bit. */
static void sort_pass(uint32_t *to, const uint32_t *from, size_t count, int shift) {
    size_t starts[RADIX_SIZE] = {0}, sum = 0;

    for (size_t i = 0; i < count; i++)
        starts[from[i] >> shift & (RADIX_SIZE - 1)]++;
    for (size_t d = 0; d < RADIX_SIZE; d++) {
        size_t here = starts[d];
        starts[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[from[i] >> shift & (RADIX_SIZE - 1)]++] = from[i];
}

/* Sorts a projection and reduces it to the means of SWD_QUANTILES groups. */
static void reduce(const work *w, const float *projection, float *quantiles) {
    for (size_t i = 0; i < w->rows; i++)
        w->keys[0][i] = to_key(projection[i]);
    sort_pass(w->keys[1], w->keys[0], w->rows, 0);
    sort_pass(w->keys[0], w->keys[1], w->rows, RADIX_BITS);
    sort_pass(w->keys[1], w->keys[0], w->rows, 2 * RADIX_BITS);
    for (size_t q = 0; q < SWD_QUANTILES; q++) {
        size_t begin = q * w->rows / SWD_QUANTILES, end = (q + 1) * w->rows / SWD_QUANTILES;
        double sum = 0;
        if (end == begin) /* fewer patches than groups */
            end = begin + 1;
        for (size_t i = begin; i < end; i++)
            sum += (double)from_key(w->keys[1][i]);
        quantiles[q] = (float)(sum / (double)(end - begin));
        if (q > 0 && quantiles[q] < quantiles[q - 1]) /* a rounding error */
            quantiles[q] = quantiles[q - 1];
    }
}

/* Summarises one level. */
static swd_status summarise_level(const work *w, size_t level, float *summary,
                                  swd_progress progress, void *context) {
    const swd_set *set = w->set;

    for (size_t i = 0; i < set->count; i++) {
        if (progress && progress(context))
            return SWD_CANCELLED;
        const float *pixels =
            pyramid_level(set->images + i * pyramid_count(set->size, set->channels), set->size,
                          set->channels, level, swd_levels(set->size), (float **)w->buffers);
        cut_patches(w, pixels, set->size >> level, (uint32_t)level, (uint32_t)i);
    }
    normalise(w);
    draw_directions(w, (uint32_t)level);
    for (size_t first = 0; first < SWD_DIRECTIONS; first += BLOCK) {
        if (progress && progress(context))
            return SWD_CANCELLED;
        gemm(&(gemm_product){.form = GEMM_ABT,
                             .rows = BLOCK,
                             .columns = w->rows,
                             .depth = w->dimensions,
                             .a = w->directions + first * w->dimensions,
                             .a_step = w->dimensions,
                             .b = w->patches,
                             .b_step = w->dimensions,
                             .c = w->projections,
                             .c_step = w->rows});
        for (size_t k = 0; k < BLOCK; k++)
            reduce(w, w->projections + k * w->rows, summary + (first + k) * SWD_QUANTILES);
    }
    return SWD_OK;
}

swd_status swd_summarise(const swd_set *set, uint64_t seed, float *summary, void *workspace,
                         size_t bytes, swd_progress progress, void *context) {
    work w;
    size_t needed;
    swd_status status = swd_workspace(set->count, set->channels, &needed);

    if (status != SWD_OK || !set->images || !summary ||
        (set->size != 32 && set->size != 64 && set->size != 128))
        return SWD_INVALID_ARGUMENT;
    if (!workspace || bytes < needed)
        return SWD_WORKSPACE;
    lay_out(&w, (unsigned char *)workspace + (ALIGNMENT - (uintptr_t)workspace % ALIGNMENT),
            set->count, set->size, set->channels);
    w.set = set;
    w.seed = seed;
    gemm_begin();
    for (size_t level = 0; level < swd_levels(set->size) && status == SWD_OK; level++)
        status = summarise_level(&w, level, summary + level * SWD_DIRECTIONS * SWD_QUANTILES,
                                 progress, context);
    return status;
}

/* The mean square in a direction is that of a vector of length 1 times patches whose numbers have
 * mean square 1: at most their dimensions. Groups differ in size by one, so twice that is
 * allowed. */
swd_status swd_check(const float *summary, size_t size, size_t channels) {
    double limit = 2.0 * SWD_PATCH * SWD_PATCH * (double)channels;

    for (size_t k = 0; k < swd_levels(size) * SWD_DIRECTIONS; k++, summary += SWD_QUANTILES) {
        double square = 0;
        for (size_t q = 0; q < SWD_QUANTILES; q++) {
            if (!isfinite(summary[q]))
                return SWD_NOT_FINITE;
            if (q > 0 && summary[q] < summary[q - 1])
                return SWD_NOT_SORTED;
            square += (double)summary[q] * (double)summary[q];
        }
        if (square / SWD_QUANTILES > limit)
            return SWD_IMPOSSIBLE;
    }
    return SWD_OK;
}

double swd_distance(const float *a, const float *b, size_t size, double distances[SWD_MAX_LEVELS]) {
    const size_t count = SWD_DIRECTIONS * SWD_QUANTILES, levels = swd_levels(size);
    double mean = 0;

    for (size_t l = 0; l < levels; l++, a += count, b += count) {
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += fabs((double)a[i] - (double)b[i]);
        distances[l] = 1000 * sum / (double)count;
        mean += distances[l] / (double)levels;
    }
    return mean;
}

double swd_difference(const float *a, const float *b, size_t size) {
    double largest = 0;

    for (size_t i = 0; i < swd_summary_count(size); i++)
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    return largest;
}
