/*
 * layers.c - batch norm (Ioffe and Szegedy 2015) and activations on the CPU
 *
 * NHWC makes the channels of a pixel neighbours: rows stream by, the channels' sums stay in cache.
 * Rows are cut into PARTS, always the same, one task each; sums over rows are kept in double
 * precision and added up in the order of the parts. The backward pass computes the sign of the
 * activation's input again in place of reading its output.
 */
#include "layers.h"
#include "../vectorised.h"

#include <math.h>
#include <string.h>

#define PARTS ((size_t)16)
#define CHANNEL_BLOCK ((size_t)64)    /* channels whose sums are held at a time */
#define PIECE_COUNT ((size_t)1 << 16) /* floats of a task of the element-wise layers */

/* What the tasks of one operation share. Arrays are [channels], sums [PARTS][2][channels]. */
typedef struct norm {
    const real *x, *dy;
    real *out;
    size_t rows, channels;
    real slope;
    double *sums;
    const real *mean;
    real *factor, *offset;    /* normalised, scaled, shifted: factor x + offset */
    real *inverse;            /* 1 / deviation */
    real *mean_dv, *mean_dvx; /* means over rows of dv and dv x^ */
} norm;

size_t layer_scratch_count(const dcgan_convolution *s) {
    size_t channels = s->large_channels > s->small_channels ? s->large_channels : s->small_channels;
    return channels * (2 * PARTS * sizeof(double) / sizeof(real) + 5);
}

/* Lays the arrays out in scratch memory. */
static norm begin(const real *x, size_t rows, size_t channels, real slope, const dcgan_work *work) {
    real *at = work->scratch + 2 * PARTS * channels * (sizeof(double) / sizeof(real));
    return (norm){.x = x,
                  .rows = rows,
                  .channels = channels,
                  .slope = slope,
                  .sums = (double *)work->scratch,
                  .factor = at,
                  .offset = at + channels,
                  .inverse = at + 2 * channels,
                  .mean_dv = at + 3 * channels,
                  .mean_dvx = at + 4 * channels};
}

/* Computes what turns x into the activation's input. */
static void set_line(norm *n, const real *mean, const real *variance, const real *scale,
                     const real *shift) {
    n->mean = mean;
    for (size_t c = 0; c < n->channels; c++) {
        double inverse = 1 / sqrt((double)variance[c] + DCGAN_NORM_EPSILON),
               factor = (double)scale[c] * inverse;
        n->inverse[c] = (real)inverse;
        n->factor[c] = (real)factor;
        n->offset[c] = (real)((double)shift[c] - factor * (double)mean[c]);
    }
}

/* Finds the first row of a part; of part PARTS: the end. */
static size_t part_row(const norm *n, size_t part) {
    return part * n->rows / PARTS;
}

/* Adds up one of the two sums over all parts. */
static double total(const norm *n, size_t which, size_t channel) {
    double sum = 0;
    for (size_t part = 0; part < PARTS; part++)
        sum += n->sums[(2 * part + which) * n->channels + channel];
    return sum;
}

/* Sums x - pivot and its square over rows: the pivot, near the mean, keeps the difference of the
 * two exact. */
VECTORISED static void add_moments(double *restrict sum, double *restrict square, const real *x,
                                   const real *pivot, size_t rows, size_t channels, size_t block) {
    for (size_t r = 0; r < rows; r++, x += channels)
        for (size_t c = 0; c < block; c++) {
            double d = (double)x[c] - (double)pivot[c];
            sum[c] += d;
            square[c] += d * d;
        }
}

static void moments_part(void *context, size_t part) {
    const norm *n = context;
    size_t first = part_row(n, part), rows = part_row(n, part + 1) - first;
    double *sum = n->sums + 2 * part * n->channels, *square = sum + n->channels;

    memset(sum, 0, 2 * n->channels * sizeof *sum);
    for (size_t c = 0; c < n->channels; c += CHANNEL_BLOCK)
        add_moments(sum + c, square + c, n->x + first * n->channels + c, n->x + c, rows,
                    n->channels, n->channels - c < CHANNEL_BLOCK ? n->channels - c : CHANNEL_BLOCK);
}

void layer_moments(real *mean, real *variance, const real *x, size_t rows, size_t channels,
                   const dcgan_work *work) {
    norm n = begin(x, rows, channels, 0, work);

    pool_run(work->pool, PARTS, moments_part, &n);
    for (size_t c = 0; c < channels; c++) {
        double shift = total(&n, 0, c) / (double)rows, square = total(&n, 1, c) / (double)rows;
        mean[c] = (real)((double)x[c] + shift);
        /* fmax drops NaN */
        variance[c] = (real)fmax(square - shift * shift, isnan(square) ? square : 0);
    }
}

VECTORISED static void normalise_rows(real *y, const real *x, const real *restrict factor,
                                      const real *restrict offset, size_t rows, size_t channels,
                                      real slope) {
    for (size_t r = 0; r < rows; r++, x += channels, y += channels)
        for (size_t c = 0; c < channels; c++) {
            real v = factor[c] * x[c] + offset[c];
            y[c] = v > 0 ? v : slope * v;
        }
}

static void normalise_part(void *context, size_t part) {
    const norm *n = context;
    size_t first = part_row(n, part), rows = part_row(n, part + 1) - first;
    normalise_rows(n->out + first * n->channels, n->x + first * n->channels, n->factor, n->offset,
                   rows, n->channels, n->slope);
}

void layer_normalise(real *y, const real *x, const real *mean, const real *variance,
                     const real *scale, const real *shift, size_t rows, size_t channels, real slope,
                     const dcgan_work *work) {
    norm n = begin(x, rows, channels, slope, work);

    n.out = y;
    set_line(&n, mean, variance, scale, shift);
    pool_run(work->pool, PARTS, normalise_part, &n);
}

/* Sums dv and dv x^ over rows, where dv = dy (activation's input > 0 ? 1 : slope) and x^ is the
 * normalised x. */
VECTORISED static void add_derivatives(double *restrict sum_dv, double *restrict sum_dvx,
                                       const real *x, const real *dy, const real *restrict mean,
                                       const real *restrict inverse, const real *restrict factor,
                                       const real *restrict offset, size_t rows, size_t channels,
                                       size_t block, real slope) {
    for (size_t r = 0; r < rows; r++, x += channels, dy += channels)
        for (size_t c = 0; c < block; c++) {
            real v = factor[c] * x[c] + offset[c], dv = v > 0 ? dy[c] : slope * dy[c];
            sum_dv[c] += (double)dv;
            sum_dvx[c] += (double)(dv * ((x[c] - mean[c]) * inverse[c]));
        }
}

static void derivatives_part(void *context, size_t part) {
    const norm *n = context;
    size_t first = part_row(n, part), rows = part_row(n, part + 1) - first,
           at = first * n->channels;
    double *sum_dv = n->sums + 2 * part * n->channels, *sum_dvx = sum_dv + n->channels;

    memset(sum_dv, 0, 2 * n->channels * sizeof *sum_dv);
    for (size_t c = 0; c < n->channels; c += CHANNEL_BLOCK)
        add_derivatives(sum_dv + c, sum_dvx + c, n->x + at + c, n->dy + at + c, n->mean + c,
                        n->inverse + c, n->factor + c, n->offset + c, rows, n->channels,
                        n->channels - c < CHANNEL_BLOCK ? n->channels - c : CHANNEL_BLOCK,
                        n->slope);
}

/* Computes dx = factor (dv - mean(dv) - x^ mean(dv x^)). */
VECTORISED static void derive_rows(real *dx, const real *dy, const real *x, const norm *n,
                                   size_t rows) {
    const real *restrict mean = n->mean, *restrict inverse = n->inverse,
                         *restrict factor = n->factor;
    const real *restrict offset = n->offset, *restrict mean_dv = n->mean_dv,
                         *restrict mean_dvx = n->mean_dvx;
    const size_t channels = n->channels;
    const real slope = n->slope;

    for (size_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels)
        for (size_t c = 0; c < channels; c++) {
            real v = factor[c] * x[c] + offset[c], dv = v > 0 ? dy[c] : slope * dy[c];
            dx[c] = factor[c] * (dv - mean_dv[c] - (x[c] - mean[c]) * inverse[c] * mean_dvx[c]);
        }
}

static void derive_part(void *context, size_t part) {
    const norm *n = context;
    size_t first = part_row(n, part), rows = part_row(n, part + 1) - first,
           at = first * n->channels;
    derive_rows(n->out + at, n->dy + at, n->x + at, n, rows);
}

void layer_normalise_backward(real *dx, real *dscale, real *dshift, const real *dy, const real *x,
                              const real *mean, const real *variance, const real *scale,
                              const real *shift, size_t rows, size_t channels, real slope,
                              const dcgan_work *work) {
    norm n = begin(x, rows, channels, slope, work);

    n.dy = dy;
    n.out = dx;
    set_line(&n, mean, variance, scale, shift);
    pool_run(work->pool, PARTS, derivatives_part, &n);
    for (size_t c = 0; c < channels; c++) {
        double dv = total(&n, 0, c), dvx = total(&n, 1, c);
        n.mean_dv[c] = (real)(dv / (double)rows);
        n.mean_dvx[c] = (real)(dvx / (double)rows);
        if (dscale)
            dscale[c] += (real)dvx;
        if (dshift)
            dshift[c] += (real)dv;
    }
    pool_run(work->pool, PARTS, derive_part, &n);
}

/* ---- activations by themselves ---- */

typedef struct piecewise {
    real *x;
    const real *y;
    size_t count;
    real slope;
    void (*function)(real *x, const real *y, size_t count, real slope);
} piecewise;

static void run_piece(void *context, size_t piece) {
    const piecewise *p = context;
    size_t first = piece * PIECE_COUNT,
           count = p->count - first < PIECE_COUNT ? p->count - first : PIECE_COUNT;
    p->function(p->x + first, p->y ? p->y + first : NULL, count, p->slope);
}

/* Applies a function to pieces of arrays. */
static void run_pieces(piecewise p, const dcgan_work *work) {
    pool_run(work->pool, (p.count + PIECE_COUNT - 1) / PIECE_COUNT, run_piece, &p);
}

VECTORISED static void rectify(real *x, const real *y, size_t count, real slope) {
    (void)y;
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] > 0 ? x[i] : slope * x[i];
}

void layer_rectify(real *x, size_t count, real slope, const dcgan_work *work) {
    run_pieces((piecewise){x, NULL, count, slope, rectify}, work);
}

/* The slope is positive or y is 0, so the sign of y is the sign of x. */
VECTORISED static void rectify_backward(real *restrict dy, const real *restrict y, size_t count,
                                        real slope) {
    for (size_t i = 0; i < count; i++)
        dy[i] = y[i] > 0 ? dy[i] : slope * dy[i];
}

void layer_rectify_backward(real *dy, const real *y, size_t count, real slope,
                            const dcgan_work *work) {
    run_pieces((piecewise){dy, y, count, slope, rectify_backward}, work);
}

static void hyperbolic_tangent(real *x, const real *y, size_t count, real slope) {
    (void)y, (void)slope;
    for (size_t i = 0; i < count; i++)
#ifdef DCGAN_DOUBLE
        x[i] = tanh(x[i]);
#else
        x[i] = tanhf(x[i]);
#endif
}

void layer_hyperbolic_tangent(real *x, size_t count, const dcgan_work *work) {
    run_pieces((piecewise){x, NULL, count, 0, hyperbolic_tangent}, work);
}

VECTORISED static void hyperbolic_tangent_backward(real *restrict dy, const real *restrict y,
                                                   size_t count, real slope) {
    (void)slope;
    for (size_t i = 0; i < count; i++)
        dy[i] *= 1 - y[i] * y[i];
}

void layer_hyperbolic_tangent_backward(real *dy, const real *y, size_t count,
                                       const dcgan_work *work) {
    run_pieces((piecewise){dy, y, count, 0, hyperbolic_tangent_backward}, work);
}
