/*
 * gemm.h - products of matrices whose rows are contiguous, by OpenBLAS or by our own loops
 *
 * Which of the two gemm() uses is chosen when gemm.c is compiled (make BLAS=openblas or own).
 */
#ifndef DCGAN_CPU_GEMM_H
#define DCGAN_CPU_GEMM_H

#include "../dcgan.h"

typedef enum gemm_form {
    GEMM_AB,  /* a is [rows][depth], b is [depth][columns] */
    GEMM_ABT, /* b is [columns][depth] */
    GEMM_ATB  /* a is [depth][rows] */
} gemm_form;

/* c[rows][columns] = the product, or c += the product. A step is the distance between rows. */
typedef struct gemm_product {
    gemm_form form;
    size_t rows, columns, depth;
    const real *a, *b;
    real *c;
    size_t a_step, b_step, c_step;
    int add;
} gemm_product;

/* To be called before gemm(): OpenBLAS must not start threads, as each of ours calls it for
 * itself. */
void gemm_begin(void);

void gemm(const gemm_product *p);

/* The same by our own loops, whatever the build. Needs 100 KB of stack. */
void gemm_own(const gemm_product *p);

/* For tests and benchmarks: gemm() uses our own loops from now on, in all threads; 0: the build's
 * choice again. */
void gemm_prefer_own(int own);

/* Names what gemm() uses, for people: "OpenBLAS Haswell", "own". The text is static. */
const char *gemm_name(void);

#endif
