/*
 * kernels_body.h - the text of the inner loops; compiled once for each instruction set (kernels.h
 * says what each does)
 *
 * The including file defines KERNELS (the table's name), KERNELS_NAME, VECTOR_BYTES and TILE_ROWS:
 * the rows whose sums, two vectors each, fit into the registers. All channel counts are multiples
 * of a vector.
 */
#include "kernels.h"

#include <string.h>

/* These loops are not among those that must give the same bits everywhere. */
#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

typedef real vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define LANES (VECTOR_BYTES / sizeof(real))
#define COLUMNS (2 * LANES)
#define WIDEST 4 /* vectors of a row of sums */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 32")
#ifdef __has_feature
#if __has_feature(address_sanitizer) /* whose checks, unrolled, take minutes to compile */
#undef UNROLLED
#define UNROLLED
#endif
#endif

ALWAYS_INLINE vector load(const real *p) {
    return *(const vector *)p;
}

ALWAYS_INLINE void store(real *p, vector v) {
    *(vector *)p = v;
}

/* ---- matrix products ---- */

/* Multiplies rows by vectors of columns (constants); the sums stay in registers. */
ALWAYS_INLINE void multiply_rows(const size_t rows, const size_t vectors, const int add, real *c,
                                 size_t c_step, const real *a, size_t a_row, size_t a_column,
                                 const real *b, size_t b_step, size_t depth) {
    vector sum[TILE_ROWS][WIDEST];

    UNROLLED for (size_t i = 0; i < rows; i++) {
        UNROLLED for (size_t v = 0; v < vectors; v++) sum[i][v] = (vector){0};
    }
    for (size_t k = 0; k < depth; k++) {
        vector row[WIDEST];
        UNROLLED for (size_t v = 0; v < vectors; v++) row[v] = load(b + v * LANES);
        UNROLLED for (size_t i = 0; i < rows; i++) {
            real x = a[i * a_row];
            UNROLLED for (size_t v = 0; v < vectors; v++) sum[i][v] += x * row[v];
        }
        a += a_column;
        b += b_step;
    }
    UNROLLED for (size_t i = 0; i < rows; i++) {
        UNROLLED for (size_t v = 0; v < vectors; v++) {
            real *to = c + i * c_step + v * LANES;
            store(to, add ? (vector)(load(to) + sum[i][v]) : sum[i][v]);
        }
    }
}

/* Multiplies any number of rows by a panel, in blocks as equal as can be. */
ALWAYS_INLINE void multiply_panel(const size_t most, const size_t vectors, const int add, real *c,
                                  size_t c_step, const real *a, size_t a_row, size_t a_column,
                                  const real *b, size_t b_step, size_t rows, size_t depth) {
    size_t blocks = (rows + most - 1) / most;

    for (size_t block = 0; block < blocks; block++) {
        size_t count = rows / blocks + (block < rows % blocks);
        switch (count) {
#define CASE(n)                                                                                    \
    case n:                                                                                        \
        if (n <= most)                                                                             \
            multiply_rows(n, vectors, add, c, c_step, a, a_row, a_column, b, b_step, depth);       \
        break;
            /* clang-format off */
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if TILE_ROWS > 6
            CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
            /* clang-format on */
#undef CASE
        }
        c += count * c_step;
        a += count * a_row;
    }
}

static void multiply(real *c, size_t c_step, const real *a, size_t a_step, const real *b,
                     size_t b_step, size_t rows, size_t depth) {
    multiply_panel(TILE_ROWS, 2, 0, c, c_step, a, a_step, 1, b, b_step, rows, depth);
}

static void multiply_transposed(real *c, size_t c_step, const real *a, size_t a_step, const real *b,
                                size_t b_step, size_t rows, size_t depth) {
    multiply_panel(TILE_ROWS, 2, 0, c, c_step, a, 1, a_step, b, b_step, rows, depth);
}

/* A function for each number of vectors, as compilers take long for larger ones. */
#define PRODUCT(name, most, vectors)                                                               \
    static __attribute__((noinline)) void name(const kernel_product *p) {                          \
        multiply_panel(most, vectors, p->add, p->c, p->c_step, p->a, p->a_row, p->a_column, p->b,  \
                       p->b_step, p->rows, p->depth);                                              \
    }
PRODUCT(product_1, TILE_ROWS, 1)
PRODUCT(product_2, TILE_ROWS, 2)
PRODUCT(product_3, TILE_ROWS * 2 / 3, 3)
PRODUCT(product_4, TILE_ROWS / 2, 4)
#undef PRODUCT

static void product(const kernel_product *p, size_t vectors) {
    static void (*const products[])(const kernel_product *) = {product_1, product_2, product_3,
                                                               product_4};
    products[vectors - 1](p);
}

/* Multiplies rows (a constant) by a vector; four sums each hide the time that an addition takes. */
ALWAYS_INLINE void dot_rows(const size_t rows, real *c, size_t c_step, const real *a, size_t a_step,
                            const real *x, size_t depth, int add) {
    vector sum[4][2];
    size_t k = 0;

    UNROLLED for (size_t i = 0; i < rows; i++) sum[i][0] = sum[i][1] = (vector){0};
    for (; k + 2 * LANES <= depth; k += 2 * LANES) {
        vector x0 = load(x + k), x1 = load(x + k + LANES);
        UNROLLED for (size_t i = 0; i < rows; i++) {
            sum[i][0] += load(a + i * a_step + k) * x0;
            sum[i][1] += load(a + i * a_step + k + LANES) * x1;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        real total = add ? c[i * c_step] : 0;
        sum[i][0] += sum[i][1];
        for (size_t l = 0; l < LANES; l++)
            total += sum[i][0][l];
        for (size_t j = k; j < depth; j++)
            total += a[i * a_step + j] * x[j];
        c[i * c_step] = total;
    }
}

static void dots(real *c, size_t c_step, const real *a, size_t a_step, const real *x, size_t rows,
                 size_t depth, int add) {
    size_t i = 0;

    for (; i + 4 <= rows; i += 4)
        dot_rows(4, c + i * c_step, c_step, a + i * a_step, a_step, x, depth, add);
    for (; i < rows; i++)
        dot_rows(1, c + i * c_step, c_step, a + i * a_step, a_step, x, depth, add);
}

static void pack_rows(real *to, const real *b, size_t b_step, size_t columns, size_t depth,
                      size_t width) {
    for (size_t k = 0; k < depth; k++, to += width, b += b_step) {
        size_t j = 0;
        for (; j + LANES <= columns; j += LANES)
            store(to + j, load(b + j));
        for (; j < width; j++)
            to[j] = j < columns ? b[j] : 0;
    }
}

#if !defined(DCGAN_DOUBLE) && __has_builtin(__builtin_shufflevector)
/* Copies 4x4 numbers so that rows become columns. */
ALWAYS_INLINE void turn(real *to, size_t width, const real *b, size_t b_step) {
    typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
    four r0 = *(const four *)b, r1 = *(const four *)(b + b_step);
    four r2 = *(const four *)(b + 2 * b_step), r3 = *(const four *)(b + 3 * b_step);
    four low0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    four low2 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    four high0 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    four high2 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(four *)to = __builtin_shufflevector(low0, low2, 0, 1, 4, 5);
    *(four *)(to + width) = __builtin_shufflevector(low0, low2, 2, 3, 6, 7);
    *(four *)(to + 2 * width) = __builtin_shufflevector(high0, high2, 0, 1, 4, 5);
    *(four *)(to + 3 * width) = __builtin_shufflevector(high0, high2, 2, 3, 6, 7);
}
#else
ALWAYS_INLINE void turn(real *to, size_t width, const real *b, size_t b_step) {
    for (size_t k = 0; k < 4; k++)
        for (size_t j = 0; j < 4; j++)
            to[k * width + j] = b[j * b_step + k];
}
#endif

static void pack_columns(real *to, const real *b, size_t b_step, size_t columns, size_t depth,
                         size_t width) {
    size_t j = 0, whole = depth / 4 * 4;

    for (; j + 4 <= columns; j += 4, b += 4 * b_step) {
        for (size_t k = 0; k < whole; k += 4)
            turn(to + k * width + j, width, b + k, b_step);
        for (size_t k = whole; k < depth; k++)
            for (size_t i = 0; i < 4; i++)
                to[k * width + j + i] = b[i * b_step + k];
    }
    for (; j < width; j++, b += b_step)
        for (size_t k = 0; k < depth; k++)
            to[k * width + j] = j < columns ? b[k] : 0;
}

/* ---- transforms in one dimension, of vectors step apart ----
 *
 * Lavin and Gray's names: B d, A m, G g. */

/* d = B^T d: five inputs to five places. */
ALWAYS_INLINE void input_transform(vector *d, const size_t step) {
    vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    d[0] = 2 * (d0 - d2) + (d3 - d1);
    d[step] = (d3 - d2) - 2 * d1;
    d[2 * step] = 2 * d1 - 3 * d2 + d3;
    d[3 * step] = d3 - d1;
    d[4 * step] = 2 * (d1 - d3) + (d4 - d2);
}

/* p = B p: its adjoint. */
ALWAYS_INLINE void input_adjoint(vector *p, const size_t step) {
    vector p0 = p[0], p1 = p[step], p2 = p[2 * step], p3 = p[3 * step], p4 = p[4 * step];
    p[0] = 2 * p0;
    p[step] = 2 * (p2 - p1 + p4) - p0 - p3;
    p[2 * step] = -2 * p0 - p1 - 3 * p2 - p4;
    p[3 * step] = p0 + p1 + p2 + p3 - 2 * p4;
    p[4 * step] = p4;
}

/* m = A^T m: five places to four outputs. */
ALWAYS_INLINE void output_transform(vector *m, const size_t step) {
    vector sum = m[step] + m[2 * step], difference = m[step] - m[2 * step], m3 = m[3 * step];
    m[0] = m[0] + sum + m3;
    m[step] = difference + 2 * m3;
    m[2 * step] = sum + 4 * m3;
    m[3 * step] = difference + 8 * m3 + m[4 * step];
}

/* y = A y: its adjoint. */
ALWAYS_INLINE void output_adjoint(vector *y, const size_t step) {
    vector even = y[0] + y[2 * step], odd = y[step] + y[3 * step], y3 = y[3 * step];
    vector last = y[0] + 2 * y[step] + 4 * y[2 * step] + 8 * y3;
    y[step] = even + odd;
    y[2 * step] = even - odd;
    y[3 * step] = last;
    y[4 * step] = y3;
}

/* g = G g: two weights to five places. */
ALWAYS_INLINE void weight_transform(vector *g, const size_t step) {
    vector g0 = g[0], g1 = g[step], sixth0 = g0 * (real)(1.0 / 6), sixth1 = g1 * (real)(1.0 / 6);
    g[0] = (real)0.5 * g0;
    g[step] = (real)-0.5 * (g0 + g1);
    g[2 * step] = sixth1 - sixth0;
    g[3 * step] = sixth0 + 2 * sixth1;
    g[4 * step] = g1;
}

/* u = G^T u: its adjoint. */
ALWAYS_INLINE void weight_adjoint(vector *u, const size_t step) {
    vector half = (real)-0.5 * u[step], u2 = u[2 * step], u3 = u[3 * step];
    u[0] = (real)0.5 * u[0] + half + (u3 - u2) * (real)(1.0 / 6);
    u[step] = half + (u2 + 2 * u3) * (real)(1.0 / 6) + u[4 * step];
}

/* ---- images ---- */

/* Finds the pixels of the larger image under a tile's 5x5 inputs of one quarter; what is outside
 * gets outside. */
ALWAYS_INLINE void locate(size_t offset[25], size_t i, size_t j, size_t quarter, size_t outside,
                          const dcgan_convolution *s) {
    for (size_t p = 0; p < 25; p++) {
        size_t y = 2 * (i + p / 5) + quarter / 2 - 1,
               x = 2 * (j + p % 5) + quarter % 2 - 1; /* huge if negative */
        offset[p] = y < s->large_height && x < s->large_width
                        ? (y * s->large_width + x) * s->large_channels
                        : outside;
    }
}

static void gather(kernel_matrices patches, const real *large, const dcgan_convolution *s) {
    static const real zeros[KERNEL_MAX_CHANNELS];
    size_t a = s->large_channels, offset[25];
    const real *from[25];
    real *to = patches.at;

    for (size_t i = 0; i < s->small_height; i += KERNEL_TILE)
        for (size_t j = 0; j < s->small_width; j += KERNEL_TILE, to += patches.step)
            for (size_t quarter = 0; quarter < 4; quarter++) {
                locate(offset, i, j, quarter, (size_t)-1, s);
                for (size_t p = 0; p < 25; p++)
                    from[p] = offset[p] == (size_t)-1 ? zeros : large + offset[p];
                for (size_t c = 0; c < a; c += LANES) {
                    vector d[25];
                    UNROLLED for (size_t p = 0; p < 25; p++) d[p] = load(from[p] + c);
                    UNROLLED for (size_t x = 0; x < 5; x++) input_transform(d + x, 5);
                    UNROLLED for (size_t y = 0; y < 5; y++) input_transform(d + 5 * y, 1);
                    UNROLLED for (size_t p = 0; p < 25; p++)
                        store(to + p * patches.place + quarter * a + c, d[p]);
                }
            }
}

static void scatter(real *large, kernel_matrices patches, const dcgan_convolution *s) {
    size_t a = s->large_channels, size = s->large_height * s->large_width * a, offset[25];
    const real *from = patches.at;
    real edge[LANES]; /* what falls outside the image ends here */

    memset(large, 0, size * sizeof *large);
    for (size_t i = 0; i < s->small_height; i += KERNEL_TILE)
        for (size_t j = 0; j < s->small_width; j += KERNEL_TILE, from += patches.step)
            for (size_t quarter = 0; quarter < 4; quarter++) {
                locate(offset, i, j, quarter, (size_t)-1, s);
                for (size_t c = 0; c < a; c += LANES) {
                    vector d[25];
                    UNROLLED for (size_t p = 0; p < 25; p++) d[p] =
                        load(from + p * patches.place + quarter * a + c);
                    UNROLLED for (size_t x = 0; x < 5; x++) input_adjoint(d + x, 5);
                    UNROLLED for (size_t y = 0; y < 5; y++) input_adjoint(d + 5 * y, 1);
                    UNROLLED for (size_t p = 0; p < 25; p++) {
                        real *to = offset[p] == (size_t)-1 ? edge : large + offset[p] + c;
                        store(to, load(to) + d[p]);
                    }
                }
            }
}

static void finish(real *small, kernel_matrices products, const dcgan_convolution *s) {
    size_t b = s->small_channels, row = s->small_width * b;
    const real *from = products.at;

    for (size_t i = 0; i < s->small_height; i += KERNEL_TILE)
        for (size_t j = 0; j < s->small_width; j += KERNEL_TILE, from += products.step)
            for (size_t c = 0; c < b; c += LANES) {
                vector m[25];
                UNROLLED for (size_t p = 0; p < 25; p++) m[p] = load(from + p * products.place + c);
                UNROLLED for (size_t x = 0; x < 5; x++) output_transform(m + x, 5);
                UNROLLED for (size_t y = 0; y < 4; y++) output_transform(m + 5 * y, 1);
                UNROLLED for (size_t p = 0; p < 16; p++)
                    store(small + (i + p / 4) * row + (j + p % 4) * b + c, m[p / 4 * 5 + p % 4]);
            }
}

static void spread(kernel_matrices products, const real *small, const dcgan_convolution *s) {
    size_t b = s->small_channels, row = s->small_width * b;
    real *to = products.at;

    for (size_t i = 0; i < s->small_height; i += KERNEL_TILE)
        for (size_t j = 0; j < s->small_width; j += KERNEL_TILE, to += products.step)
            for (size_t c = 0; c < b; c += LANES) {
                vector m[25];
                UNROLLED for (size_t p = 0; p < 16; p++) m[p / 4 * 5 + p % 4] =
                    load(small + (i + p / 4) * row + (j + p % 4) * b + c);
                UNROLLED for (size_t y = 0; y < 4; y++) output_adjoint(m + 5 * y, 1);
                UNROLLED for (size_t x = 0; x < 5; x++) output_adjoint(m + x, 5);
                UNROLLED for (size_t p = 0; p < 25; p++) store(to + p * products.place + c, m[p]);
            }
}

/* ---- weights ----
 *
 * Kernel row 2 y + quarter / 2, column 2 x + quarter % 2 is weight (y, x) of a quarter. */

/* Transforms weights (0, 0), (0, 1), (1, 0), (1, 1), which stand at 0, 1, 5, 6, to 25 places. */
ALWAYS_INLINE void weight_tile(vector *g) {
    weight_transform(g, 5);
    weight_transform(g + 1, 5);
    UNROLLED for (size_t y = 0; y < 5; y++) weight_transform(g + 5 * y, 1);
}

static void input_panel(kernel_matrices panel, const real *weights, size_t k,
                        const dcgan_convolution *s) {
    size_t a = s->large_channels, quarter = k / a;
    const real *from = weights + (quarter / 2 * 4 + quarter % 2) * a + k % a;
    real *to = panel.at;

    for (size_t b = 0; b < s->small_channels; b++, from += 16 * a, to += panel.step)
        for (size_t c = 0; c < COLUMNS; c += LANES) {
            vector g[25];
            g[0] = load(from + c), g[1] = load(from + 2 * a + c);
            g[5] = load(from + 8 * a + c), g[6] = load(from + 10 * a + c);
            weight_tile(g);
            UNROLLED for (size_t p = 0; p < 25; p++) store(to + p * panel.place + c, g[p]);
        }
}

static void add_panel(real *dweights, kernel_matrices panel, size_t k, const dcgan_convolution *s) {
    size_t a = s->large_channels, quarter = k / a;
    real *to = dweights + (quarter / 2 * 4 + quarter % 2) * a + k % a;
    const real *from = panel.at;

    for (size_t b = 0; b < s->small_channels; b++, to += 16 * a, from += panel.step)
        for (size_t c = 0; c < COLUMNS; c += LANES) {
            vector u[25];
            UNROLLED for (size_t p = 0; p < 25; p++) u[p] = load(from + p * panel.place + c);
            UNROLLED for (size_t x = 0; x < 5; x++) weight_adjoint(u + x, 5);
            weight_adjoint(u, 1);
            weight_adjoint(u + 5, 1);
            store(to + c, load(to + c) + u[0]);
            store(to + 2 * a + c, load(to + 2 * a + c) + u[1]);
            store(to + 8 * a + c, load(to + 8 * a + c) + u[5]);
            store(to + 10 * a + c, load(to + 10 * a + c) + u[6]);
        }
}

/* Copies COLUMNS outputs x LANES channels of one weight so that outputs become neighbours. */
ALWAYS_INLINE void transpose(real to[LANES][COLUMNS], const real *from, size_t output_step) {
    for (size_t b = 0; b < COLUMNS; b++)
        for (size_t c = 0; c < LANES; c++)
            to[c][b] = from[b * output_step + c];
}

static void output_panel(kernel_matrices panel, const real *weights, size_t b,
                         const dcgan_convolution *s) {
    size_t a = s->large_channels;
    real *to = panel.at, turned[4][LANES][COLUMNS];

    for (size_t k = 0; k < 4 * a; k += LANES) {
        size_t quarter = k / a;
        const real *from = weights + (b * 16 + quarter / 2 * 4 + quarter % 2) * a + k % a;
        for (size_t w = 0; w < 4; w++)
            transpose(turned[w], from + (w / 2 * 8 + w % 2 * 2) * a, 16 * a);
        for (size_t i = 0; i < LANES; i++, to += panel.step)
            for (size_t c = 0; c < COLUMNS; c += LANES) {
                vector g[25];
                g[0] = load(turned[0][i] + c), g[1] = load(turned[1][i] + c);
                g[5] = load(turned[2][i] + c), g[6] = load(turned[3][i] + c);
                weight_tile(g);
                UNROLLED for (size_t p = 0; p < 25; p++) store(to + p * panel.place + c, g[p]);
            }
    }
}

const kernels KERNELS = {
    .name = KERNELS_NAME,
    .columns = COLUMNS,
    .multiply = multiply,
    .multiply_transposed = multiply_transposed,
    .product = product,
    .few_rows = TILE_ROWS / 2,
    .dots = dots,
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
    .gather = gather,
    .scatter = scatter,
    .finish = finish,
    .spread = spread,
    .output_panel = output_panel,
    .input_panel = input_panel,
    .add_panel = add_panel,
};
