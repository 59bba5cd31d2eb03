/*
 * gemm.c - products of matrices over the micro-kernels of kernels_body.h, or by OpenBLAS
 *
 * As in Goto and van de Geijn 2008: the product is cut so that a block of b stays in the second
 * level cache, and a block of a in the first. What would be read at bad distances is copied
 * before ("packed"): a b that is transposed or ends within a vector, and rows of a that lie far
 * apart. The matrices of the networks' ends are small or long and thin, so the rest is read where
 * it lies.
 */
#include "gemm.h"
#include "kernels.h"

#include <string.h>

#ifdef GANN_OPENBLAS
#include <cblas.h>
#include <stdatomic.h>
#include <stdio.h>
#endif

#define BLOCK_BYTES ((size_t)256) /* of a row of b in a block */
#define BLOCK_COLUMNS (BLOCK_BYTES / sizeof(real))
#define BLOCK_DEPTH ((size_t)256)
#define BLOCK_ROWS ((size_t)24)
#define PADDING ((size_t)16) /* keeps packed rows from starting at equal places of the cache */
#define FAR ((size_t)256)    /* rows of a that are so far apart share places of the cache */

/* Cuts count into blocks of at most size, as equal as can be; returns the length of the one that
 * begins at first. */
static size_t block_length(size_t count, size_t first, size_t size) {
    size_t left = count - first, blocks = (left + size - 1) / size;
    return blocks ? (left + blocks - 1) / blocks : 0;
}

/* What multiplies a block: all rows, few columns, a limited depth. */
typedef struct block {
    const kernels *use;
    const real *a, *b;
    real *c;
    size_t a_row, a_column, b_row, b_column, c_step;
    size_t rows, columns, depth;
    int add, packed; /* b is packed: panel after panel */
} block;

/* Counts the vectors of the panel behind which left are left. */
static size_t panel_vectors(const block *x, size_t left) {
    size_t few = x->rows <= x->use->few_rows;
    return left == 1 || left == 3 || (left == 4 && few) ? left : 2;
}

/* Packs a block of b. */
static void pack(real *to, block *x, size_t lanes) {
    for (size_t j = 0, width; j < x->columns; j += width) {
        size_t left = x->columns - j, columns;
        const real *from = x->b + j * x->b_column;
        width = panel_vectors(x, (left + lanes - 1) / lanes) * lanes;
        columns = left < width ? left : width;
        if (x->b_column == 1)
            x->use->pack_rows(to + j * x->depth, from, x->b_row, columns, x->depth, width);
        else
            x->use->pack_columns(to + j * x->depth, from, x->b_column, columns, x->depth, width);
    }
    x->b = to;
    x->packed = 1;
}

/* Multiplies a few rows by one panel; columns that are no whole vectors go through a tile. */
static void multiply_panel(const kernels *use, kernel_product *p, size_t vectors, size_t width,
                           size_t columns) {
    real tile[BLOCK_ROWS * BLOCK_COLUMNS];
    kernel_product whole = *p;

    if (width == columns) {
        use->product(p, vectors);
        return;
    }
    whole.c = tile;
    whole.c_step = width;
    whole.add = 0;
    use->product(&whole, vectors);
    for (size_t i = 0; i < p->rows; i++)
        for (size_t j = 0; j < columns; j++) {
            real *to = p->c + i * p->c_step + j;
            *to = (p->add ? *to : 0) + tile[i * width + j];
        }
}

/* Multiplies a block. */
static void multiply_block(const block *x, size_t lanes) {
    real packed[BLOCK_ROWS * (BLOCK_DEPTH + PADDING)];
    int pack_a = x->a_column == 1 && x->a_row >= FAR && x->columns > 2 * lanes;

    for (size_t i = 0, rows; i < x->rows; i += rows) {
        kernel_product p = {.a = x->a + i * x->a_row,
                            .a_row = x->a_row,
                            .a_column = x->a_column,
                            .c_step = x->c_step,
                            .depth = x->depth,
                            .add = x->add};
        p.rows = rows = x->rows - i < BLOCK_ROWS ? x->rows - i : BLOCK_ROWS;
        if (pack_a) {
            for (size_t r = 0; r < rows; r++)
                memcpy(packed + r * (BLOCK_DEPTH + PADDING), p.a + r * p.a_row,
                       x->depth * sizeof *packed);
            p.a = packed;
            p.a_row = BLOCK_DEPTH + PADDING;
        }
        for (size_t j = 0, width; j < x->columns; j += width) {
            size_t left = x->columns - j, vectors = panel_vectors(x, (left + lanes - 1) / lanes);
            width = vectors * lanes;
            p.b = x->b + (x->packed ? j * x->depth : j);
            p.b_step = x->packed ? width : x->b_row;
            p.c = x->c + i * x->c_step + j;
            multiply_panel(x->use, &p, vectors, width, left < width ? left : width);
        }
    }
}

void gemm_own(const gemm_product *p) {
    real packed[BLOCK_COLUMNS * BLOCK_DEPTH];
    block x = {.use = kernels_choose(),
               .a_row = p->form == GEMM_ATB ? 1 : p->a_step,
               .a_column = p->form == GEMM_ATB ? p->a_step : 1,
               .b_row = p->form == GEMM_ABT ? 1 : p->b_step,
               .b_column = p->form == GEMM_ABT ? p->b_step : 1,
               .c_step = p->c_step,
               .rows = p->rows};
    size_t lanes = x.use->columns / 2;

    if (p->form == GEMM_ABT && p->columns == 1) {
        x.use->dots(p->c, p->c_step, p->a, p->a_step, p->b, p->rows, p->depth, p->add);
        return;
    }
    if (p->form == GEMM_ABT && p->rows == 1) {
        x.use->dots(p->c, 1, p->b, p->b_step, p->a, p->columns, p->depth, p->add);
        return;
    }
    for (size_t j = 0; j < p->columns; j += x.columns) {
        size_t k = 0;
        x.columns = p->columns - j < BLOCK_COLUMNS ? p->columns - j : BLOCK_COLUMNS;
        x.c = p->c + j;
        do { /* once even if there is nothing to sum up */
            x.depth = block_length(p->depth, k, BLOCK_DEPTH);
            x.a = p->a + k * x.a_column;
            x.b = p->b + k * x.b_row + j * x.b_column;
            x.add = p->add || k > 0;
            x.packed = 0;
            if (x.b_column != 1 || x.columns % lanes != 0 ||
                (x.b_row >= FAR && x.rows > x.use->few_rows))
                pack(packed, &x, lanes);
            multiply_block(&x, lanes);
            k += x.depth;
        } while (k < p->depth);
    }
}

#ifdef GANN_OPENBLAS

#ifdef DCGAN_DOUBLE
#define cblas_gemm cblas_dgemm
#else
#define cblas_gemm cblas_sgemm
#endif

static atomic_int prefer_own;

void gemm_begin(void) {
    openblas_set_num_threads(1);
}

void gemm(const gemm_product *p) {
    if (atomic_load(&prefer_own))
        gemm_own(p);
    else
        cblas_gemm(CblasRowMajor, p->form == GEMM_ATB ? CblasTrans : CblasNoTrans,
                   p->form == GEMM_ABT ? CblasTrans : CblasNoTrans, (int)p->rows, (int)p->columns,
                   (int)p->depth, 1, p->a, (int)p->a_step, p->b, (int)p->b_step,
                   (real)(p->add != 0), p->c, (int)p->c_step);
}

void gemm_prefer_own(int own) {
    atomic_store(&prefer_own, own);
}

const char *gemm_name(void) {
    static char name[40];
    if (atomic_load(&prefer_own))
        return "own";
    snprintf(name, sizeof name, "OpenBLAS %s", openblas_get_corename());
    return name;
}

#else

void gemm_begin(void) {}

void gemm(const gemm_product *p) {
    gemm_own(p);
}

void gemm_prefer_own(int own) {
    (void)own;
}

const char *gemm_name(void) {
    return "own";
}

#endif
