/*
 * winograd.c - the three convolutions by Winograd's F(4x4, 2x2): its matrices, their order, and the
 * threads' tasks
 *
 * Images are processed in blocks whose matrices fit the second or third level cache and, for the
 * same reason, the weights of a block in slices of a few panels. Each stage is a set of tasks for
 * the threads.
 */
#include "winograd.h"
#include "kernels.h"

#define BLOCK_TILES ((size_t)256) /* rows of the matrices of a block of images */
#define SLICE_PANELS ((size_t)4)
#define PADDING ((size_t)16)     /* keeps rows from starting at equal places of the cache */
#define MAX_COLUMNS ((size_t)32) /* of a panel, whatever the instruction set */

/* Everything the tasks of one block and slice share. */
typedef struct winograd {
    const kernels *kernels;
    const dcgan_convolution *shape;
    const real *weights, *input;
    real *output;
    size_t tiles, rows;                /* of an image, of the block */
    size_t large_count, small_count;   /* floats of an image */
    kernel_matrices patches, products; /* [25][rows][4 a], [25][rows][b] */
    kernel_matrices panels[SLICE_PANELS];
    size_t first; /* column at which the slice begins */
} winograd;

int winograd_takes(const dcgan_convolution *s) {
    return s->stride == 2 && s->padding == 1 && s->small_height % KERNEL_TILE == 0 &&
           s->small_width % KERNEL_TILE == 0 && s->large_height == 2 * s->small_height &&
           s->large_width == 2 * s->small_width && s->large_channels % 16 == 0 &&
           s->small_channels % MAX_COLUMNS == 0 && s->large_channels <= KERNEL_MAX_CHANNELS;
}

static size_t tiles_of(const dcgan_convolution *s) {
    return s->small_height / KERNEL_TILE * (s->small_width / KERNEL_TILE);
}

/* Counts the images of a block. */
static size_t block_of(const dcgan_convolution *s, size_t images) {
    size_t tiles = tiles_of(s), block = tiles < BLOCK_TILES ? BLOCK_TILES / tiles : 1;
    return images < block ? images : block;
}

/* Counts the floats of a slice's panels: rows is the larger of 4 a and b. */
static size_t panel_count(const dcgan_convolution *s) {
    size_t inputs = 4 * s->large_channels, outputs = s->small_channels;
    return KERNEL_PLACES * (inputs > outputs ? inputs : outputs) * MAX_COLUMNS;
}

size_t winograd_scratch_count(const dcgan_convolution *s, size_t images) {
    size_t rows = block_of(s, images) * tiles_of(s);
    return KERNEL_PLACES * rows * (4 * s->large_channels + s->small_channels + 2 * PADDING) +
           SLICE_PANELS * panel_count(s);
}

/* Prepares for blocks of up to images. */
static winograd begin(const dcgan_convolution *s, size_t images, const dcgan_work *work) {
    winograd w = {.kernels = kernels_choose(),
                  .shape = s,
                  .tiles = tiles_of(s),
                  .large_count = s->large_height * s->large_width * s->large_channels,
                  .small_count = s->small_height * s->small_width * s->small_channels};
    size_t rows = block_of(s, images) * w.tiles;
    real *at = work->scratch;

    w.patches = (kernel_matrices){.at = at, .step = 4 * s->large_channels + PADDING};
    w.patches.place = rows * w.patches.step;
    at += KERNEL_PLACES * w.patches.place;
    w.products = (kernel_matrices){.at = at, .step = s->small_channels + PADDING};
    w.products.place = rows * w.products.step;
    at += KERNEL_PLACES * w.products.place;
    for (size_t i = 0; i < SLICE_PANELS; i++, at += panel_count(s))
        w.panels[i] = (kernel_matrices){.at = at, .step = w.kernels->columns};
    return w;
}

/* Returns the rows of an image of the block. */
static kernel_matrices image_rows(const winograd *w, const kernel_matrices *m, size_t image) {
    return (kernel_matrices){m->at + image * w->tiles * m->step, m->place, m->step};
}

/* Returns a panel of the slice; rows is the number of its rows. */
static kernel_matrices slice_panel(const winograd *w, size_t panel, size_t rows) {
    kernel_matrices m = w->panels[panel];
    m.place = rows * m.step;
    return m;
}

/* ---- tasks over the images of a block ---- */

static void gather_image(void *context, size_t image) {
    const winograd *w = context;
    w->kernels->gather(image_rows(w, &w->patches, image), w->input + image * w->large_count,
                       w->shape);
}

static void scatter_image(void *context, size_t image) {
    const winograd *w = context;
    w->kernels->scatter(w->output + image * w->large_count, image_rows(w, &w->patches, image),
                        w->shape);
}

static void finish_image(void *context, size_t image) {
    const winograd *w = context;
    w->kernels->finish(w->output + image * w->small_count, image_rows(w, &w->products, image),
                       w->shape);
}

static void spread_image(void *context, size_t image) {
    const winograd *w = context;
    w->kernels->spread(image_rows(w, &w->products, image), w->input + image * w->small_count,
                       w->shape);
}

/* ---- tasks over the panels of a slice, and over its panels and places ---- */

static void output_panel(void *context, size_t panel) {
    const winograd *w = context;
    w->kernels->output_panel(slice_panel(w, panel, 4 * w->shape->large_channels), w->weights,
                             w->first + panel * w->kernels->columns, w->shape);
}

static void input_panel(void *context, size_t panel) {
    const winograd *w = context;
    w->kernels->input_panel(slice_panel(w, panel, w->shape->small_channels), w->weights,
                            w->first + panel * w->kernels->columns, w->shape);
}

static void add_panel(void *context, size_t panel) {
    const winograd *w = context;
    w->kernels->add_panel(w->output, slice_panel(w, panel, w->shape->small_channels),
                          w->first + panel * w->kernels->columns, w->shape);
}

/* products[place] = patches[place] panel^T */
static void multiply_patches(void *context, size_t task) {
    const winograd *w = context;
    size_t panel = task / KERNEL_PLACES, place = task % KERNEL_PLACES,
           inputs = 4 * w->shape->large_channels;
    kernel_matrices b = slice_panel(w, panel, inputs);
    real *c = w->products.at + place * w->products.place + w->first + panel * w->kernels->columns;

    w->kernels->multiply(c, w->products.step, w->patches.at + place * w->patches.place,
                         w->patches.step, b.at + place * b.place, b.step, w->rows, inputs);
}

/* patches[place] = products[place] panel */
static void multiply_products(void *context, size_t task) {
    const winograd *w = context;
    size_t panel = task / KERNEL_PLACES, place = task % KERNEL_PLACES,
           outputs = w->shape->small_channels;
    kernel_matrices b = slice_panel(w, panel, outputs);
    real *c = w->patches.at + place * w->patches.place + w->first + panel * w->kernels->columns;

    w->kernels->multiply(c, w->patches.step, w->products.at + place * w->products.place,
                         w->products.step, b.at + place * b.place, b.step, w->rows, outputs);
}

/* panel = products[place]^T patches[place] */
static void multiply_both(void *context, size_t task) {
    const winograd *w = context;
    size_t panel = task / KERNEL_PLACES, place = task % KERNEL_PLACES,
           outputs = w->shape->small_channels;
    kernel_matrices c = slice_panel(w, panel, outputs);
    const real *b =
        w->patches.at + place * w->patches.place + w->first + panel * w->kernels->columns;

    w->kernels->multiply_transposed(c.at + place * c.place, c.step,
                                    w->products.at + place * w->products.place, w->products.step, b,
                                    w->patches.step, outputs, w->rows);
}

/* Goes through columns by slices; for each, one stage after the other (a stage may be null). */
static void run_slices(winograd *w, size_t columns, const dcgan_work *work, pool_task before,
                       pool_task multiply, pool_task after) {
    size_t slice = SLICE_PANELS * w->kernels->columns;

    for (w->first = 0; w->first < columns; w->first += slice) {
        size_t left = columns - w->first,
               panels = (left < slice ? left : slice) / w->kernels->columns;
        if (before)
            pool_run(work->pool, panels, before, w);
        pool_run(work->pool, panels * KERNEL_PLACES, multiply, w);
        if (after)
            pool_run(work->pool, panels, after, w);
    }
}

void winograd_convolution(real *small, const real *large, const real *weights, size_t images,
                          const dcgan_convolution *s, const dcgan_work *work) {
    winograd w = begin(s, images, work);
    size_t block = block_of(s, images);

    w.weights = weights;
    for (size_t n = 0; n < images; n += block) {
        size_t count = images - n < block ? images - n : block;
        w.rows = count * w.tiles;
        w.input = large + n * w.large_count;
        w.output = small + n * w.small_count;
        pool_run(work->pool, count, gather_image, &w);
        run_slices(&w, s->small_channels, work, output_panel, multiply_patches, NULL);
        pool_run(work->pool, count, finish_image, &w);
    }
}

void winograd_transposed_convolution(real *large, const real *small, const real *weights,
                                     size_t images, const dcgan_convolution *s,
                                     const dcgan_work *work) {
    winograd w = begin(s, images, work);
    size_t block = block_of(s, images);

    w.weights = weights;
    for (size_t n = 0; n < images; n += block) {
        size_t count = images - n < block ? images - n : block;
        w.rows = count * w.tiles;
        w.input = small + n * w.small_count;
        w.output = large + n * w.large_count;
        pool_run(work->pool, count, spread_image, &w);
        run_slices(&w, 4 * s->large_channels, work, input_panel, multiply_products, NULL);
        pool_run(work->pool, count, scatter_image, &w);
    }
}

void winograd_weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                              const dcgan_convolution *s, const dcgan_work *work) {
    winograd w = begin(s, images, work);
    size_t block = block_of(s, images);

    w.output = dweights;
    for (size_t n = 0; n < images; n += block) {
        size_t count = images - n < block ? images - n : block;
        w.rows = count * w.tiles;
        w.input = large + n * w.large_count;
        pool_run(work->pool, count, gather_image, &w);
        w.input = small + n * w.small_count;
        pool_run(work->pool, count, spread_image, &w);
        run_slices(&w, 4 * s->large_channels, work, NULL, multiply_both, add_panel);
    }
}
