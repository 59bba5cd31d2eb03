/*
 * kernels.h - the inner loops of the Winograd path and of gemm.c, compiled for several instruction
 * sets
 *
 * kernels_body.h is one text; kernels_avx512.c, kernels_avx2.c and kernels_portable.c compile it,
 * each with vectors of another length. Which one runs is chosen when the program runs.
 *
 * A 4x4 convolution with stride 2 is a 2x2 convolution with stride 1 between images whose pixels
 * are the four "quarters" (even and odd rows and columns) of the larger image: channel 4 a =
 * quarter x a + channel. Winograd's F(4x4, 2x2) (Winograd 1980; Lavin and Gray 2016, here with the
 * points 0, 1, -1, 2, infinity) turns a tile of 4x4 of its outputs, which reads 5x5 inputs, into 25
 * places at which inputs and weights are multiplied as matrices: 25 multiplications in place of 64.
 *
 *     large image --gather--> patches[25][tiles][4 a]
 *     large image <-scatter-- patches
 *                             products[25][tiles][b] --finish--> small image
 *                             products               <-spread--- small image
 *
 *     convolution             products[p] = patches[p]  weights[p]^T
 *     transposed convolution  patches[p]  = products[p] weights[p]
 *     weight gradient         dweights[p] = products[p]^T patches[p]
 *
 * scatter is the adjoint of gather, spread of finish: the same three products as im2col's, 25 times
 * smaller.
 */
#ifndef DCGAN_CPU_KERNELS_H
#define DCGAN_CPU_KERNELS_H

#include "../dcgan.h"

#define KERNEL_PLACES 25 /* at which a tile is multiplied */
#define KERNEL_TILE 4    /* rows and columns of outputs of a tile */
#define KERNEL_MAX_CHANNELS 16384

/* A matrix for each place: [25][rows][step]; place is the distance from one to the next. */
typedef struct kernel_matrices {
    real *at;
    size_t place, step;
} kernel_matrices;

/* A product for gemm.c: c[rows] = a b, or c += a b; a has the given distances between its rows and
 * between its columns. */
typedef struct kernel_product {
    const real *a, *b;
    real *c;
    size_t a_row, a_column, b_step, c_step;
    size_t rows, depth;
    int add;
} kernel_product;

typedef struct kernels {
    const char *name;
    size_t columns; /* of a panel, two vectors: what multiply works on at a time */

    /* c[rows][columns] = a b, where a is [rows][depth] with the given distances between rows and
     * between columns, and b is [depth][columns] with b_step from row to row. */
    void (*multiply)(real *c, size_t c_step, const real *a, size_t a_step, const real *b,
                     size_t b_step, size_t rows, size_t depth);
    /* The same with a transposed: [depth][rows]. */
    void (*multiply_transposed)(real *c, size_t c_step, const real *a, size_t a_step, const real *b,
                                size_t b_step, size_t rows, size_t depth);
    /* For gemm.c. The same, of one, two or three vectors of columns; of few_rows or less, also of
     * four. */
    void (*product)(const kernel_product *p, size_t vectors);
    size_t few_rows;
    /* c[rows] = a x, or c += a x, where x is a vector of depth. */
    void (*dots)(real *c, size_t c_step, const real *a, size_t a_step, const real *x, size_t rows,
                 size_t depth, int add);
    /* Copies b, [depth][columns], to to[depth][width], with zeros behind the columns; and the
     * same of a b that is transposed, [columns][depth]. */
    void (*pack_rows)(real *to, const real *b, size_t b_step, size_t columns, size_t depth,
                      size_t width);
    void (*pack_columns)(real *to, const real *b, size_t b_step, size_t columns, size_t depth,
                         size_t width);

    /* One image each way. */
    void (*gather)(kernel_matrices patches, const real *large, const dcgan_convolution *s);
    void (*scatter)(real *large, kernel_matrices patches, const dcgan_convolution *s);
    void (*finish)(real *small, kernel_matrices products, const dcgan_convolution *s);
    void (*spread)(kernel_matrices products, const real *small, const dcgan_convolution *s);

    /* Panels of the weights: of columns outputs from b on, [4 a][columns]; of columns inputs from k
     * on, [b][columns]. */
    void (*output_panel)(kernel_matrices panel, const real *weights, size_t b,
                         const dcgan_convolution *s);
    void (*input_panel)(kernel_matrices panel, const real *weights, size_t k,
                        const dcgan_convolution *s);
    /* The adjoint of input_panel: adds to dweights. */
    void (*add_panel)(real *dweights, kernel_matrices panel, size_t k, const dcgan_convolution *s);
} kernels;

/* Finds the best of those that this processor can run, or the one that kernels_force() named. */
const kernels *kernels_choose(void);

/* Lists what this processor can run, best first; returns null behind the last. */
const kernels *kernels_list(size_t index);

/* For tests and benchmarks: uses these kernels from now on, in all threads; NULL: the best
 * again. */
void kernels_force(const kernels *k);

#endif
