/*
 * test_gemm.c - our own products of matrices on every instruction set of this machine, against the
 * plainest loop; and gemm(), whatever it was built to use
 *
 * Compiled twice: with floats, and with doubles (test_gemm_double.c).
 */
#include "../../src/dcgan/cpu/gemm.h"
#include "../../src/dcgan/cpu/kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(array) (sizeof(array) / sizeof *(array))
#define CANARY ((real)99)
#define LARGEST 600 /* rows, columns and depth of a random shape */

#ifdef DCGAN_DOUBLE
#define TOLERANCE 4e-15
#else
#define TOLERANCE 2e-6 /* of what the sum would be without signs */
#endif

static uint64_t test_seed = 1, random_state;

static uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static real random_unit(void) {
    return (real)((double)(random_bits() >> 11) * 0x1p-52 - 1);
}

/* Allocates a matrix whose last row ends where the memory does, so that a sanitizer sees what is
 * read or written behind it. Its numbers are random, and NaN between the rows. */
static real *matrix(size_t rows, size_t columns, size_t step) {
    size_t count = rows && columns ? (rows - 1) * step + columns : 0;
    real *x = malloc(count * sizeof *x + !count);

    assert_non_null(x);
    for (size_t i = 0; i < count; i++)
        x[i] = i % step < columns ? random_unit() : (real)NAN;
    return x;
}

typedef struct test_case {
    gemm_form form;
    size_t rows, columns, depth;
} test_case;

static const char *const form_names[] = {"a b", "a b^T", "a^T b"};

typedef void (*function)(const gemm_product *p);

/* Multiplies a case's matrices, with rows that lie apart by more than their length. */
static void check_case(const char *name, function multiply, const test_case *t, int add,
                       size_t apart) {
    int at = t->form == GEMM_ATB, bt = t->form == GEMM_ABT;
    size_t m = t->rows, n = t->columns, depth = t->depth, c_count = m * (n + apart);
    gemm_product p = {.form = t->form,
                      .rows = m,
                      .columns = n,
                      .depth = depth,
                      .a_step = (at ? m : depth) + apart + 1,
                      .b_step = (bt ? depth : n) + apart,
                      .c_step = n + apart,
                      .add = add};
    real *a = matrix(at ? depth : m, at ? m : depth, p.a_step);
    real *b = matrix(bt ? n : depth, bt ? depth : n, p.b_step);
    real *c = malloc((c_count + 1) * sizeof *c), *before = malloc((c_count + 1) * sizeof *c);

    assert_true(c && before);
    for (size_t i = 0; i <= c_count; i++)
        c[i] = i == c_count || i % p.c_step >= n ? CANARY : add ? random_unit() : (real)NAN;
    memcpy(before, c, (c_count + 1) * sizeof *c);
    p.a = a, p.b = b, p.c = c;
    multiply(&p);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = add ? (double)before[i * p.c_step + j] : 0, size = fabs(sum);
            for (size_t k = 0; k < depth; k++) {
                double product = (double)a[at ? k * p.a_step + i : i * p.a_step + k] *
                                 (double)b[bt ? j * p.b_step + k : k * p.b_step + j];
                sum += product;
                size += fabs(product);
            }
            if (!(fabs((double)c[i * p.c_step + j] - sum) <= TOLERANCE * size))
                fail_msg("%s, %s, %zu x %zu, depth %zu, %s, rows %zu apart: (%zu, %zu) is %.9g "
                         "instead of %.9g (seed %" PRIu64 ")",
                         name, form_names[t->form], m, n, depth, add ? "added" : "stored", apart, i,
                         j, (double)c[i * p.c_step + j], sum, test_seed);
        }
    for (size_t i = 0; i <= c_count; i++)
        if ((i == c_count || i % p.c_step >= n) && !(c[i] == CANARY))
            fail_msg("%s, %s, %zu x %zu, depth %zu: number %zu behind a row was overwritten", name,
                     form_names[t->form], m, n, depth, i);
    free(a);
    free(b);
    free(c);
    free(before);
}

/* Around the sizes of vectors, tiles and blocks. */
static const size_t edges[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  12, 13,  15,  16,
                               17, 24, 25, 31, 32, 33, 47, 48, 64, 65, 127, 256, 257};

/* The networks' own. */
static const test_case own_shapes[] = {
    {GEMM_ABT, 1024, 64, 48}, {GEMM_AB, 1024, 48, 64}, {GEMM_ATB, 32, 48, 2048},
    {GEMM_ABT, 32, 1, 8192},  {GEMM_AB, 32, 8192, 1},  {GEMM_ATB, 1, 8192, 64},
    {GEMM_AB, 32, 8192, 100}, {GEMM_AB, 1, 8192, 100}, {GEMM_ATB, 4, 8192, 64},
    {GEMM_ABT, 16, 512, 147}, {GEMM_ABT, 1, 200, 16},  {GEMM_ABT, 64, 40, 600},
};

static size_t edge(void) {
    return edges[random_bits() % SIZE(edges)];
}

static void check_all(const char *name, function multiply, size_t repeats) {
    random_state = test_seed;
    for (size_t i = 0; i < SIZE(own_shapes); i++)
        check_case(name, multiply, &own_shapes[i], i % 2, i % 3);
    for (size_t i = 0; i < repeats; i++) {
        gemm_form form = (gemm_form)(random_bits() % 3);
        test_case at_edge = {form, edge(), edge(), edge()};
        test_case any = {form, random_bits() % 70, random_bits() % 150, random_bits() % LARGEST};
        check_case(name, multiply, &at_edge, (int)(random_bits() % 2),
                   random_bits() % 2 ? random_bits() % 300 : 0);
        if (i % 4 == 0)
            check_case(name, multiply, &any, (int)(random_bits() % 2), random_bits() % 5);
    }
}

static void test_own(void **state) {
    (void)state;
    for (size_t i = 0; kernels_list(i); i++) {
        kernels_force(kernels_list(i));
        check_all(kernels_list(i)->name, gemm_own, 600);
    }
    kernels_force(NULL);
}

static void test_chosen(void **state) {
    (void)state;
    gemm_begin();
    check_all(gemm_name(), gemm, 0);
}

/* A row's sums don't depend on what else is multiplied: tasks may be cut differently. */
static void test_rows_alone(void **state) {
    real *a = matrix(50, 300, 300), *b = matrix(300, 90, 90), all[50 * 90], alone[50 * 90];
    gemm_product p = {.form = GEMM_AB,
                      .rows = 50,
                      .columns = 90,
                      .depth = 300,
                      .a = a,
                      .a_step = 300,
                      .b = b,
                      .b_step = 90,
                      .c = all,
                      .c_step = 90};
    (void)state;
    for (size_t k = 0; kernels_list(k); k++) {
        kernels_force(kernels_list(k));
        p.rows = 50, p.a = a, p.c = all;
        gemm_own(&p);
        p.rows = 1;
        for (size_t i = 0; i < 50; i++) {
            p.a = a + i * 300, p.c = alone + i * 90;
            gemm_own(&p);
        }
        assert_memory_equal(all, alone, sizeof all);
    }
    kernels_force(NULL);
    free(a);
    free(b);
}

static void test_preference(void **state) {
    const char *name = gemm_name();
    char first[40];

    (void)state;
    snprintf(first, sizeof first, "%s", name);
    gemm_prefer_own(1);
    assert_string_equal(gemm_name(), "own");
    check_all("preferred", gemm, 10);
    gemm_prefer_own(0);
    assert_string_equal(gemm_name(), first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_rows_alone),
        cmocka_unit_test(test_preference),
    };

    if (getenv("GANN_TEST_SEED"))
        test_seed = strtoull(getenv("GANN_TEST_SEED"), NULL, 10);
    printf("# GANN_TEST_SEED=%" PRIu64 "\n", test_seed);
    fflush(stdout);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
