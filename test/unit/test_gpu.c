/*
 * test_gpu.c - every function of the table on a device of OpenCL, against the plainest loops
 *
 * A check lays its tensors out in one memory, with numbers between them that belong to nobody. The
 * same call then runs on the device, twice, and on the plain loops (dcgan_backend_naive): both
 * times the device must give the same bits, the outputs must be close to those of the loops, and
 * everything else must be as it was.
 *
 * Without a device all is skipped. Environment: GANN_TEST_SEED, as for all tests of layers;
 * GANN_TEST_DEVICE, which device, by default 0; GANN_TEST_TINY=1: only the smallest shapes, for a
 * simulator (test/gpu/oclgrind.sh).
 */
#include "numbers.h"

#include "../../src/dcgan/gpu/cache.h"
#include "../../src/dcgan/gpu/gpu.h"

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

/* Drivers and their compilers keep what they have allocated. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libOpenCL\nleak:libpocl\nleak:libLLVM\nleak:libclang\nleak:libstdc++\nleak:"
           "dlopen\n"
           "leak:opencl.c\nleak:opencl_program.c\n";
}

static dcgan_device gpu = {.backend = &dcgan_backend_opencl, .threads = 1};
static dcgan_device loops = {.backend = &dcgan_backend_naive, .threads = 1};
static bool tiny;

static void works(dcgan_status status) {
    if (status != DCGAN_OK)
        fail_msg("%s: %s", dcgan_status_text(status), gpu.error);
}

/* ---- a call on two backends ---- */

enum { MOST = 12, GAP = 67 };

/* Where a call runs, and its tensors' places in memory. */
typedef struct place {
    const dcgan_backend *backend;
    dcgan_device *device;
    void *memory;
} place;

static struct {
    float *before;
    size_t used, room;
    struct {
        size_t first, count;
        bool output, sums;
    } tensors[MOST];
    size_t tensor_count;
    /* what calls are given beside tensors */
    dcgan_convolution shape;
    size_t images, rows, channels, count;
    float slope;
    int target;
    bool none; /* leave out the tensors that may be left out */
    uint8_t *bytes;
} c;

static tensor at(const place *p, size_t number) {
    return (tensor){p->memory, c.tensors[number].first};
}

static tensor unless_none(tensor t) {
    return c.none ? (tensor){0} : t;
}

static void begin_check(void) {
    size_t room = c.room;
    float *before = c.before;

    free(c.bytes);
    memset(&c, 0, sizeof c);
    c.room = room;
    c.before = before;
}

/* Makes room, whose gaps hold numbers too: what reads them must not be believed. */
static void make_room(size_t count) {
    if (c.used + count > c.room) {
        c.room = 2 * (c.used + count);
        c.before = realloc(c.before, c.room * sizeof *c.before);
    }
    for (size_t i = 0; i < count; i++)
        c.before[c.used + i] = (float)(1000 + 500 * random_unit());
    c.used += count;
}

/* Appends a tensor at an even offset; returns its numbers. */
static float *add_tensor(size_t count, bool output, double centre, double spread) {
    size_t number = c.tensor_count++;
    float *x;

    assert_true(number < MOST);
    make_room(GAP + c.used % 2 + number % 2 * 2);
    c.used -= c.used % 2;
    c.tensors[number].first = c.used;
    c.tensors[number].count = count;
    c.tensors[number].output = output;
    make_room(count);
    x = c.before + c.tensors[number].first;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(centre + spread * random_unit());
    return x;
}

static float *input(size_t count) {
    return add_tensor(count, false, 0, 1);
}

static float *output(size_t count) {
    return add_tensor(count, true, 0, 1);
}

/* Sums begin with what doubles and pairs of floats agree about: zero. */
static void sums(size_t count) {
    memset(add_tensor(2 * count, true, 0, 0), 0, 2 * count * sizeof(float));
    c.tensors[c.tensor_count - 1].sums = true;
}

/* Runs a call on the device; what was read is freed by the caller. */
static float *run_on_gpu(dcgan_status (*call)(const place *), size_t scratch) {
    const dcgan_backend *b = gpu.backend;
    float *after = malloc(c.used * sizeof *after);
    tensor memory;
    uint64_t mark;
    int passed = 0;

    works(b->reserve(&gpu, c.used + scratch, &memory));
    gpu.scratch = tensor_at(memory, c.used);
    works(b->write(&gpu, memory, c.before, c.used));
    works(call(&(place){b, &gpu, memory.memory}));
    works(b->read(&gpu, after, memory, c.used));
    works(b->mark(&gpu, &mark));
    works(b->passed(&gpu, mark, 1, &passed));
    assert_int_equal(passed, 1);
    return after;
}

static void close_enough(const char *what, size_t number, const float *got, const float *expected,
                         double tolerance) {
    size_t first = c.tensors[number].first, count = c.tensors[number].count;
    char name[200];

    snprintf(name, sizeof name, "%s, tensor %zu", what, number);
    close_to(name, got + first, expected + first, count,
             tolerance * largest(expected + first, count));
}

/* Compares sums, whose bits are each backend's own. */
static void sums_close_enough(const char *what, size_t number, const float *got,
                              const float *expected, double tolerance) {
    for (size_t i = 0; i < c.tensors[number].count; i += 2) {
        const float *pair = got + c.tensors[number].first + i;
        double sum = (double)pair[0] + (double)pair[1], wanted;
        memcpy(&wanted, expected + c.tensors[number].first + i, sizeof wanted);
        if (!(fabs(sum - wanted) <= tolerance * fabs(wanted)))
            fail_msg("%s: sum %zu is %.17g instead of %.17g", what, i / 2, sum, wanted);
    }
}

static bool is_output(size_t i) {
    for (size_t t = 0; t < c.tensor_count; t++)
        if (c.tensors[t].output && i - c.tensors[t].first < c.tensors[t].count)
            return true;
    return false;
}

/* The check: see above. tolerance is relative to a tensor's largest number. */
static void check(const char *what, dcgan_status (*call)(const place *), size_t scratch,
                  double tolerance) {
    float *got = run_on_gpu(call, scratch), *again = run_on_gpu(call, scratch);
    float *expected = aligned_alloc(64, (c.used * sizeof *expected + 63) / 64 * 64);

    memcpy(expected, c.before, c.used * sizeof *expected);
    works(call(&(place){loops.backend, &loops, expected}));
    if (memcmp(got, again, c.used * sizeof *got) != 0)
        fail_msg("%s: not the same bits twice", what);
    for (size_t i = 0; i < c.used; i++)
        if (memcmp(&got[i], &c.before[i], sizeof got[i]) != 0 && !is_output(i))
            fail_msg("%s: number %zu of the memory is nobody's to write", what, i);
    for (size_t t = 0; t < c.tensor_count; t++)
        if (c.tensors[t].output)
            (c.tensors[t].sums ? sums_close_enough : close_enough)(what, t, got, expected,
                                                                   tolerance);
    free(got), free(again), free(expected);
}

/* ---- convolutions ---- */

static dcgan_status call_convolution(const place *p) {
    return p->backend->convolution(p->device, at(p, 0), at(p, 1), at(p, 2), c.images, &c.shape);
}

static dcgan_status call_transposed_convolution(const place *p) {
    return p->backend->transposed_convolution(p->device, at(p, 1), at(p, 0), at(p, 2), c.images,
                                              &c.shape);
}

static dcgan_status call_weight_gradient(const place *p) {
    return p->backend->weight_gradient(p->device, at(p, 2), at(p, 1), at(p, 0), c.images, &c.shape);
}

typedef struct layer {
    size_t images, h, w, small_channels, large_channels; /* h = w = 1: between 1x1 and 4x4 */
} layer;

/* Every edge of a tile and of a step in depth, on both sides: primes, 1, and one more. */
static const layer odd_layers[] = {
    {1, 2, 2, 1, 1},  {3, 1, 1, 1, 1},  {2, 3, 5, 7, 3}, {5, 1, 1, 13, 11},
    {1, 5, 3, 2, 17}, {2, 2, 3, 17, 5}, {1, 1, 2, 3, 4},
};

/* The layers of real networks, at fewer images; and more than one tile, slice and group. */
static const layer real_layers[] = {
    {2, 16, 16, 64, 3}, {1, 8, 8, 128, 64}, {3, 4, 4, 129, 67},  {65, 1, 1, 100, 33},
    {67, 1, 1, 1, 64},  {3, 16, 16, 16, 1}, {5, 11, 7, 65, 130}, {2, 4, 4, 257, 31},
};

static void lay_out(const layer *l, int which) {
    const bool one = l->h == 1 && l->w == 1;
    size_t counts[3];

    begin_check();
    c.images = l->images;
    c.shape = (dcgan_convolution){l->h,
                                  l->w,
                                  l->small_channels,
                                  one ? 4 : 2 * l->h,
                                  one ? 4 : 2 * l->w,
                                  l->large_channels,
                                  one ? 1 : 2,
                                  one ? 0 : 1};
    counts[0] = l->images * l->h * l->w * l->small_channels;
    counts[1] = l->images * c.shape.large_height * c.shape.large_width * l->large_channels;
    counts[2] = 16 * l->small_channels * l->large_channels;
    for (int t = 0; t < 3; t++)
        add_tensor(counts[t], t == which, 0, 1);
}

/* Both sizes of tile give the same bits. */
static void check_tiles(const char *what, dcgan_status (*call)(const place *), size_t scratch) {
    float *got[2];

    for (int large = 0; large < 2; large++) {
        gpu_of(&gpu)->tile = large ? 128 : 64;
        check(what, call, scratch, 3e-6);
        got[large] = run_on_gpu(call, scratch);
    }
    gpu_of(&gpu)->tile = 0;
    if (memcmp(got[0], got[1], c.used * sizeof *got[0]) != 0)
        fail_msg("%s: not the same bits with both tiles", what);
    free(got[0]), free(got[1]);
}

static void check_layer(const layer *l) {
    static const struct {
        const char *name;
        dcgan_status (*call)(const place *);
    } kinds[] = {{"convolution", call_convolution},
                 {"transposed convolution", call_transposed_convolution},
                 {"weight gradient", call_weight_gradient}};
    char what[200];

    for (int kind = 0; kind < 3; kind++) {
        lay_out(l, kind);
        snprintf(what, sizeof what, "%s of %zu images, %zux%zu, %zu and %zu channels",
                 kinds[kind].name, l->images, l->h, l->w, l->small_channels, l->large_channels);
        check_tiles(what, kinds[kind].call, gpu.backend->scratch_count(&c.shape, c.images));
    }
}

static void convolutions_of_odd_shapes(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(odd_layers); i++)
        check_layer(&odd_layers[i]);
}

static void convolutions_of_real_shapes(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(real_layers) && !tiny; i++)
        check_layer(&real_layers[i]);
}

static void shapes_that_no_kernel_knows_are_refused(void **state) {
    (void)state;
    lay_out(&(layer){1, 2, 2, 1, 1}, 0);
    c.shape.padding = 0;
    assert_int_equal(call_convolution(&(place){gpu.backend, &gpu, NULL}), DCGAN_INVALID_ARGUMENT);
    lay_out(&(layer){1, 2, 2, 1, 1}, 0);
    c.images = (size_t)1 << 40;
    assert_int_equal(call_weight_gradient(&(place){gpu.backend, &gpu, NULL}), DCGAN_TOO_LARGE);
    assert_int_equal(gpu.backend->scratch_count(&c.shape, c.images), 0);
}

/* ---- batch norm ---- */

static dcgan_status call_moments(const place *p) {
    return p->backend->moments(p->device, at(p, 0), at(p, 1), at(p, 2), c.rows, c.channels);
}

static dcgan_status call_normalise(const place *p) {
    return p->backend->normalise(p->device, at(p, 0), at(p, 1), at(p, 2), at(p, 3), at(p, 4),
                                 at(p, 5), c.rows, c.channels, c.slope);
}

static dcgan_status call_normalise_in_place(const place *p) {
    return p->backend->normalise(p->device, at(p, 0), at(p, 0), at(p, 2), at(p, 3), at(p, 4),
                                 at(p, 5), c.rows, c.channels, c.slope);
}

static dcgan_status call_normalise_backward(const place *p) {
    return p->backend->normalise_backward(
        p->device, at(p, 0), unless_none(at(p, 6)), unless_none(at(p, 7)), at(p, 8), at(p, 1),
        at(p, 2), at(p, 3), at(p, 4), at(p, 5), c.rows, c.channels, c.slope);
}

static dcgan_status call_normalise_backward_in_place(const place *p) {
    return p->backend->normalise_backward(p->device, at(p, 0), at(p, 6), at(p, 7), at(p, 0),
                                          at(p, 1), at(p, 2), at(p, 3), at(p, 4), at(p, 5), c.rows,
                                          c.channels, c.slope);
}

static const size_t norm_shapes[][2] = {{1, 1},     {2, 3},     {7, 5},     {97, 13},
                                        {64, 64},   {33, 65},   {4099, 16}, {257, 67},
                                        {1024, 31}, {20000, 3}, {17, 1031}};

/* Lays out x, and what is behind a batch norm. */
static void lay_out_norm(const size_t shape[2], bool backward) {
    size_t count = shape[0] * shape[1], channels = shape[1];

    begin_check();
    c.rows = shape[0];
    c.channels = channels;
    c.slope = 0.2f;
    output(count);
    input(count);
    input(channels);
    add_tensor(channels, false, 1, 0.9);
    input(channels);
    input(channels);
    add_tensor(channels, backward && !c.none, 0, 1);
    add_tensor(channels, backward && !c.none, 0, 1);
    input(count);
}

static void batch_norm(void **state) {
    size_t shapes = tiny ? 5 : SIZE(norm_shapes);
    (void)state;

    for (size_t i = 0; i < shapes; i++) {
        const size_t *shape = norm_shapes[i];
        begin_check();
        c.rows = shape[0];
        c.channels = shape[1];
        output(shape[1]);
        output(shape[1]);
        input(shape[0] * shape[1]);
        check("moments", call_moments, 0, 5e-7);
        lay_out_norm(shape, false);
        check("normalise", call_normalise, 0, 1e-6);
        check("normalise in place", call_normalise_in_place, 0, 1e-6);
        lay_out_norm(shape, true);
        check("normalise, backward", call_normalise_backward, 0, 3e-6);
        check("normalise, backward in place", call_normalise_backward_in_place, 0, 3e-6);
        c.none = true;
        c.tensors[6].output = c.tensors[7].output = false;
        check("normalise, backward, without a gradient", call_normalise_backward, 0, 3e-6);
    }
}

/* Numbers far from zero, and one that is far from all others: the variance holds. */
static void a_variance_beside_a_large_mean(void **state) {
    const size_t rows = tiny ? 65 : 4096;
    float *x;
    (void)state;

    for (int far = 0; far < 2; far++) {
        begin_check();
        c.rows = rows;
        c.channels = 3;
        output(3);
        output(3);
        x = add_tensor(rows * 3, false, far ? 0 : 3000, 1);
        if (far)
            x[0] = x[1] = x[2] = 1e5f;
        check("moments", call_moments, 0, 5e-7);
    }
}

/* ---- activations ---- */

static dcgan_status call_rectify(const place *p) {
    return p->backend->rectify(p->device, at(p, 0), c.count, c.slope);
}

static dcgan_status call_rectify_backward(const place *p) {
    return p->backend->rectify_backward(p->device, at(p, 0), at(p, 1), c.count, c.slope);
}

static dcgan_status call_tangent(const place *p) {
    return p->backend->hyperbolic_tangent(p->device, at(p, 0), c.count);
}

static dcgan_status call_tangent_backward(const place *p) {
    return p->backend->hyperbolic_tangent_backward(p->device, at(p, 0), at(p, 1), c.count);
}

static const size_t counts[] = {1, 2, 255, 256, 257, 70001};

static void activations(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(counts) - tiny; i++) {
        begin_check();
        c.count = counts[i];
        c.slope = 0.2f;
        output(c.count);
        input(c.count);
        check("rectify", call_rectify, 0, 0);
        check("rectify, backward", call_rectify_backward, 0, 0);
        check("tanh", call_tangent, 0, 2e-7);
        check("tanh, backward", call_tangent_backward, 0, 2e-7);
    }
}

/* Tells how many floats of the size of x lie between a and x. */
static double ulps(double a, double x) {
    int exponent;

    frexp(x, &exponent);
    return fabs(a - x) / ldexp(1, exponent - 24);
}

/* Over all sizes of numbers, not only near 1. */
static void tanh_is_right_to_three_ulps(void **state) {
    const size_t count = tiny ? 300 : 100000;
    float *x, *got;
    double worst = 0;
    (void)state;

    begin_check();
    c.count = count;
    x = output(count);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(pow(10, -6 + 8 * (double)i / (double)count) * (i % 2 ? 1 : -1));
    got = run_on_gpu(call_tangent, 0);
    x = c.before + c.tensors[0].first;
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, ulps((double)got[c.tensors[0].first + i], tanh((double)x[i])));
    print_message("# tanh: %.2f ulps\n", worst);
    assert_true(worst <= 3);
    free(got);
}

/* ---- what a unit makes of them ---- */

static dcgan_status call_judge(const place *p) {
    return p->backend->judge(p->device, unless_none(at(p, 0)), at(p, 1), at(p, 2), at(p, 3),
                             c.count, c.target, 1.0 / 3);
}

static void check_judge(size_t count, double spread, double tolerance) {
    for (int i = 0; i < 4; i++) {
        begin_check();
        c.count = count;
        c.target = i % 2;
        c.none = i / 2;
        add_tensor(count, !c.none, 0, 1);
        sums(1);
        sums(1);
        add_tensor(count, false, 0, spread);
        check("judge", call_judge, 0, tolerance);
    }
}

static void judging(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(counts) - tiny; i++)
        check_judge(counts[i], 3, 3e-7);
    check_judge(64, 60, 3e-7);
    check_judge(1, 0, 3e-7); /* 0 is on neither side */
}

/* One logit at a time: a small loss, or derivative, is not lost beside a large one. (The plain
 * loops subtract a sigmoid from 1.) */
static void a_loss_has_no_cancellation(void **state) {
    (void)state;
    for (int i = 0; i <= (tiny ? 2 : 40); i++)
        for (int target = 0; target < 2; target++) {
            const double logit = -80 + 4 * i, e = exp(target ? logit : -logit);
            float expected = (float)((target ? -1.0 : 1.0) / 3 / (1 + e)), *got;

            begin_check();
            c.count = 1;
            c.target = target;
            output(1);
            sums(1);
            sums(1);
            input(1)[0] = (float)logit;
            got = run_on_gpu(call_judge, 0);
            close_to("derivative", got + c.tensors[0].first, &expected, 1,
                     4e-7 * fabs((double)expected));
            free(got);
            c.none = true;
            c.tensors[0].output = false;
            check("judge", call_judge, 0, 4e-7);
        }
}

static dcgan_status call_add_statistics(const place *p) {
    TRY(p->backend->add_statistics(p->device, at(p, 0), at(p, 1), at(p, 2), c.channels, 1.0 / 7));
    TRY(p->backend->add_statistics(p->device, at(p, 0), at(p, 1), at(p, 2), c.channels, 1.0 / 7));
    return p->backend->add_statistics(p->device, at(p, 0), at(p, 2), at(p, 1), c.channels, 1e-3);
}

static void statistics_are_added_in_double_precision(void **state) {
    (void)state;
    for (size_t channels = 1; channels < 300; channels = 3 * channels + 2) {
        begin_check();
        c.channels = channels;
        sums(2 * channels);
        add_tensor(channels, false, 2, 1);
        add_tensor(channels, false, 2, 1);
        check("statistics", call_add_statistics, 0, 1e-13);
    }
}

static dcgan_status call_adam(const place *p) {
    const dcgan_adam_options options = {2e-4, 0.5, 0.999, 1e-8};

    return p->backend->adam(p->device, at(p, 0), at(p, 1), at(p, 2), at(p, 3), c.count, 3,
                            &options);
}

static void adam_takes_the_same_step(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(counts) - tiny; i++) {
        begin_check();
        c.count = counts[i];
        output(c.count);
        output(c.count);
        add_tensor(c.count, true, 1, 1);
        output(c.count);
        check("Adam", call_adam, 0, 2e-7);
    }
}

/* Where division and square root are rounded as IEEE 754 says, no bit differs from the CPU's step;
 * other devices may differ in the last one. */
static void adam_is_the_step_of_the_cpu(void **state) {
    const dcgan_adam_options options = {2e-4, 0.5, 0.999, 1e-8};
    size_t others = 0;
    float *got;
    (void)state;

    begin_check();
    c.count = tiny ? 300 : 30000;
    for (int t = 0; t < 4; t++)
        add_tensor(c.count, true, t == 2, 1);
    got = run_on_gpu(call_adam, 0);
    dcgan_adam(c.before + c.tensors[0].first, c.before + c.tensors[1].first,
               c.before + c.tensors[2].first, c.before + c.tensors[3].first, c.count, 3, &options);
    for (size_t t = 0; t < 3; t++)
        for (size_t i = c.tensors[t].first; i < c.tensors[t].first + c.count; i++) {
            others += got[i] != c.before[i];
            assert_true(fabs((double)got[i] - (double)c.before[i]) <=
                        1.2e-7 * fabs((double)c.before[i]) + 1e-9);
        }
    print_message("# Adam: %zu of %zu numbers differ from the CPU's\n", others, 3 * c.count);
    free(got);
}

static dcgan_status call_difference(const place *p) {
    return p->backend->difference(p->device, at(p, 0), at(p, 1), at(p, 2), c.count);
}

static dcgan_status call_difference_in_place(const place *p) {
    return p->backend->difference(p->device, at(p, 0), at(p, 1), at(p, 0), c.count);
}

static dcgan_status call_zero(const place *p) {
    return p->backend->zero(p->device, at(p, 0), c.count);
}

static dcgan_status call_write_samples(const place *p) {
    return p->backend->write_samples(p->device, at(p, 0), c.bytes, c.count);
}

static void numbers_are_moved(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(counts) - tiny; i++) {
        begin_check();
        c.count = counts[i];
        output(c.count);
        input(c.count);
        input(c.count);
        check("difference", call_difference, 0, 0);
        check("difference in place", call_difference_in_place, 0, 0);
        check("zero", call_zero, 0, 0);
        c.bytes = malloc(c.count);
        for (size_t j = 0; j < c.count; j++)
            c.bytes[j] = (uint8_t)j;
        check("samples", call_write_samples, 0, 2e-7);
    }
}

static dcgan_status call_finite(const place *p) {
    return p->backend->finite(p->device, at(p, 0), at(p, 1), c.count);
}

static void what_is_not_finite_is_seen(void **state) {
    static const float others[] = {NAN, -NAN, INFINITY, -INFINITY};
    (void)state;

    for (size_t i = 0; i < SIZE(counts) - tiny; i++)
        for (size_t other = 0; other <= SIZE(others); other++) {
            const size_t where = random_bits() % counts[i];
            float *x, *got;

            begin_check();
            c.count = counts[i];
            sums(1);
            x = input(c.count);
            x[random_bits() % c.count] = 3e38f;
            if (other < SIZE(others))
                x[other % 2 ? where : c.count - 1] = others[other];
            got = run_on_gpu(call_finite, 0);
            x = got + c.tensors[0].first;
            if (other < SIZE(others))
                assert_false(isfinite(x[0] + x[1]));
            else
                assert_true(x[0] == 0 && x[1] == 0);
            free(got);
        }
}

static void sums_are_read(void **state) {
    const float pairs[] = {1, 0x1p-30f, -3, 0x1p-40f, 0, 0};
    const dcgan_backend *b = gpu.backend;
    double got[3];
    tensor memory;
    (void)state;

    works(b->reserve(&gpu, 100, &memory));
    works(b->write(&gpu, tensor_at(memory, 10), pairs, 6));
    works(b->read_sums(&gpu, got, tensor_at(memory, 10), 3));
    assert_true(got[0] == 1 + 0x1p-30 && got[1] == -3 + 0x1p-40 && got[2] == 0);
}

/* ---- marks, failures, the cache ---- */

/* More of them than are kept on their way. */
static void marks_pass_in_order(void **state) {
    const dcgan_backend *b = gpu.backend;
    uint64_t marks[200];
    int passed;
    tensor memory;
    (void)state;

    works(b->reserve(&gpu, 1 << 20, &memory));
    for (size_t i = 0; i < SIZE(marks); i++) {
        works(b->zero(&gpu, memory, tiny ? 10 : 1 << 20));
        works(b->mark(&gpu, &marks[i]));
        if (i)
            assert_true(marks[i] > marks[i - 1]);
    }
    works(b->passed(&gpu, marks[150], 1, &passed));
    assert_int_equal(passed, 1);
    works(b->passed(&gpu, marks[3], 0, &passed));
    assert_int_equal(passed, 1);
    do
        works(b->passed(&gpu, marks[199], 0, &passed));
    while (!passed);
}

static void a_device_has_only_so_much_memory(void **state) {
    tensor memory;
    (void)state;

    if (tiny) /* the simulator would call it an error */
        skip();
    assert_int_equal(gpu.backend->reserve(&gpu, (size_t)1 << 48, &memory), DCGAN_DEVICE_MEMORY);
    print_message("# %s\n", gpu.error);
    assert_non_null(strstr(gpu.error, "clCreateBuffer"));
    works(gpu.backend->reserve(&gpu, 10, &memory)); /* and continues */
}

static void a_failure_is_made_where_it_is_asked_for(void **state) {
    dcgan_device other = {.backend = &dcgan_backend_opencl, .number = gpu.number};
    const dcgan_backend *b = other.backend;
    tensor memory;
    (void)state;

    setenv("GANN_DEVICE_FAULT", "zero:2", 1);
    works(b->open(&other));
    unsetenv("GANN_DEVICE_FAULT");
    works(b->reserve(&other, 10, &memory));
    works(b->zero(&other, memory, 10));
    assert_int_equal(b->zero(&other, memory, 10), DCGAN_DEVICE);
    assert_string_equal(other.error, "zero: GANN_DEVICE_FAULT asks for a failure");
    works(b->zero(&other, memory, 10));
    b->close(&other);
    b->close(&other); /* whatever has failed */
    other.number = -1;
    assert_int_equal(b->open(&other), DCGAN_DEVICE);
    b->close(&other);
}

/* Finds the cache's only file. */
static void find_file(const char *folder, char name[1000]) {
    DIR *directory = opendir(folder);
    int files = 0;

    assert_non_null(directory);
    for (struct dirent *d; (d = readdir(directory));)
        if (d->d_name[0] != '.') {
            snprintf(name, 1000, "%s/%s", folder, d->d_name);
            files++;
        }
    closedir(directory);
    assert_int_equal(files, 1);
}

static void damage_file(const char *name, int kind) {
    FILE *file = fopen(name, kind == 0 ? "wb" : "rb+");

    assert_non_null(file);
    if (kind == 1) /* in the middle of the data */
        fseek(file, 3000, SEEK_SET);
    if (kind == 2) /* longer */
        fseek(file, 0, SEEK_END);
    fputs("damaged", file);
    fclose(file);
    if (kind == 3) /* shorter */
        assert_int_equal(truncate(name, 5000), 0);
}

static void open_and_close(void) {
    dcgan_device other = {.backend = &dcgan_backend_opencl, .number = gpu.number};

    works(other.backend->open(&other));
    other.backend->close(&other);
}

/* main() has given this program a cache of its own, which opening the device has filled. */
static void a_damaged_cache_is_replaced(void **state) {
    char folder[600], name[1000];
    struct stat before, after;
    (void)state;

    if (tiny) /* says nothing of kernels */
        skip();
    snprintf(folder, sizeof folder, "%s/gannsfriends", getenv("XDG_CACHE_HOME"));
    find_file(folder, name);
    assert_int_equal(stat(name, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    open_and_close();
    assert_int_equal(stat(name, &after), 0);
    assert_true(before.st_ino == after.st_ino); /* it was used */
    for (int kind = 0; kind < 4; kind++) {
        damage_file(name, kind);
        open_and_close(); /* writes it again */
        find_file(folder, name);
        assert_int_equal(stat(name, &before), 0);
        assert_true(before.st_ino != after.st_ino);
        open_and_close(); /* uses it */
        assert_int_equal(stat(name, &after), 0);
        assert_true(before.st_ino == after.st_ino);
    }
}

static void the_cache_keeps_what_belongs_to_a_key(void **state) {
    char cache[500], elsewhere[600], *found;
    size_t bytes = 0;
    (void)state;

    snprintf(cache, sizeof cache, "%s", getenv("XDG_CACHE_HOME"));
    snprintf(elsewhere, sizeof elsewhere, "%s/other", cache);
    setenv("XDG_CACHE_HOME", elsewhere, 1);
    assert_null(cache_read("key", &bytes));
    cache_write("key", "data", 4);
    cache_write("key", "more data", 9);
    found = cache_read("key", &bytes);
    assert_int_equal(bytes, 9);
    assert_memory_equal(found, "more data", 9);
    free(found);
    assert_null(cache_read("another", &bytes));
    /* no folder, nor any that could be made: not an error */
    setenv("XDG_CACHE_HOME", "/dev/null", 1);
    cache_write("key", "data", 4);
    assert_null(cache_read("key", &bytes));
    setenv("XDG_CACHE_HOME", cache, 1);
}

/* ---- whole units ---- */

enum { COUNT = 7, BATCH = 4 };

typedef struct unit_result {
    float *gradient, *statistics;
    dcgan_unit_result result;
} unit_result;

/* Runs a unit on a device (null: the CPU), which must end with a status. */
static unit_result run_unit(const dcgan_model *model, const dcgan_unit *given, int local,
                            dcgan_device *device, dcgan_status expected) {
    dcgan_status status;
    const dcgan_local_options options = {{2e-3, 0.5, 0.999, 1e-8}, {2e-3, 0.5, 0.999, 1e-8}, 0.1};
    unit_result r = {
        filled(model->parameter_count, NAN), filled(model->statistics_count, NAN), {0}};
    dcgan_unit unit = *given;
    size_t bytes;
    void *workspace;

    r.result.gradient = r.gradient;
    r.result.statistics = r.statistics;
    unit.device = device;
    works(local ? dcgan_unit_local_workspace(model, device, BATCH, &bytes)
                : dcgan_unit_workspace(model, device, BATCH, &bytes));
    workspace = malloc(bytes);
    status = local ? dcgan_unit_local(model, &unit, &options, &r.result, workspace, bytes)
                   : dcgan_unit_gradients(model, &unit, &r.result, workspace, bytes);
    if (status != expected)
        fail_msg("%s: %s", dcgan_status_text(status), device ? device->error : "");
    free(workspace);
    return r;
}

static void free_result(unit_result *r) {
    free(r->gradient), free(r->statistics);
}

static double distance(const float *a, const float *b, size_t count) {
    double difference = 0, size = 0;

    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

/* What a unit is made of: a small model's weights and images. */
typedef struct sample_unit {
    dcgan_model model;
    dcgan_unit unit;
    float *weights;
    uint8_t *images;
} sample_unit;

static sample_unit open_unit(void) {
    const dcgan_config config = {3, 32, 11, 5, 6};
    sample_unit u = {.unit = {.count = COUNT,
                              .batch = BATCH,
                              .seed = 3,
                              .iteration = 4,
                              .position = 5,
                              .threads = 1}};

    works(dcgan_model_init(&u.model, &config));
    u.weights = filled(u.model.parameter_count, 0);
    dcgan_initialise(&u.model, 7, 0, u.model.parameter_count, u.weights);
    u.images = malloc(COUNT * u.model.image_count);
    for (size_t i = 0; i < COUNT * u.model.image_count; i++)
        u.images[i] = (uint8_t)random_bits();
    u.unit.weights = u.weights;
    u.unit.images = u.images;
    return u;
}

static void close_unit(sample_unit *u) {
    free(u->weights), free(u->images);
}

static void whole_units(void **state) {
    sample_unit u;
    (void)state;

    if (tiny)
        skip();
    u = open_unit();
    for (int local = 0; local < 2; local++) {
        const size_t parameters = u.model.parameter_count, statistics = u.model.statistics_count;
        unit_result expected = run_unit(&u.model, &u.unit, local, NULL, DCGAN_OK),
                    got = run_unit(&u.model, &u.unit, local, &gpu, DCGAN_OK),
                    again = run_unit(&u.model, &u.unit, local, &gpu, DCGAN_OK);
        double off = distance(got.gradient, expected.gradient, parameters),
               statistics_off = distance(got.statistics, expected.statistics, statistics);
        print_message("# %s: gradient off by %.2g, statistics by %.2g, loss by %.2g\n",
                      local ? "local steps" : "gradients", off, statistics_off,
                      got.result.loss_d - expected.result.loss_d);
        assert_true(off < (local ? 1e-2 : 1e-4));
        assert_true(statistics_off < (local ? 1e-3 : 1e-5));
        assert_true(fabs(got.result.loss_d - expected.result.loss_d) < 1e-4);
        assert_true(fabs(got.result.loss_g - expected.result.loss_g) < 1e-4);
        assert_true(got.result.accuracy_real == expected.result.accuracy_real &&
                    got.result.accuracy_fake == expected.result.accuracy_fake);
        assert_memory_equal(got.gradient, again.gradient, parameters * sizeof(float));
        assert_memory_equal(got.statistics, again.statistics, statistics * sizeof(float));
        assert_true(got.result.loss_d == again.result.loss_d);
        free_result(&expected), free_result(&got), free_result(&again);
    }
    close_unit(&u);
}

/* And the device serves the next unit. */
static void a_failure_ends_a_unit(void **state) {
    static const char *const faults[] = {"reserve:1", "write:3",     "convolution:5",
                                         "moments:2", "read_sums:1", "mark:2",
                                         "passed:1",  "read:4",      "write_samples:2"};
    sample_unit u;
    (void)state;

    if (tiny)
        skip();
    u = open_unit();
    for (size_t i = 0; i < SIZE(faults); i++) {
        dcgan_device other = {.backend = &dcgan_backend_opencl, .number = gpu.number};
        unit_result failed, good;

        setenv("GANN_DEVICE_FAULT", faults[i], 1);
        works(other.backend->open(&other));
        unsetenv("GANN_DEVICE_FAULT");
        failed = run_unit(&u.model, &u.unit, 0, &other, DCGAN_DEVICE);
        assert_non_null(strstr(other.error, "GANN_DEVICE_FAULT"));
        good = run_unit(&u.model, &u.unit, 0, &other, DCGAN_OK);
        other.backend->close(&other);
        free_result(&failed), free_result(&good);
    }
    close_unit(&u);
}

static void devices_are_described(void **state) {
    char text[200];
    uint64_t memory;
    (void)state;

    assert_int_equal(dcgan_device_count("opencl"), gpu.backend->count());
    for (int i = 0; i < gpu.backend->count(); i++) {
        dcgan_device_describe("opencl", i, text, sizeof text, &memory);
        print_message("# device %d: %s, %" PRIu64 " MB\n", i, text, memory >> 20);
        assert_true(strlen(text) > 0);
    }
    dcgan_device_describe("opencl", 0, text, 3, &memory);
    assert_true(strlen(text) <= 2);
}

/* ---- the program ---- */

static void remove_folder(const char *folder) {
    char name[1400];
    DIR *directory = opendir(folder);

    if (!directory)
        return;
    for (struct dirent *d; (d = readdir(directory));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
            snprintf(name, sizeof name, "%s/%s", folder, d->d_name);
            if (unlink(name) != 0)
                remove_folder(name);
        }
    closedir(directory);
    rmdir(folder);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        seeded_test(devices_are_described),
        seeded_test(convolutions_of_odd_shapes),
        seeded_test(convolutions_of_real_shapes),
        seeded_test(shapes_that_no_kernel_knows_are_refused),
        seeded_test(batch_norm),
        seeded_test(a_variance_beside_a_large_mean),
        seeded_test(activations),
        seeded_test(tanh_is_right_to_three_ulps),
        seeded_test(judging),
        seeded_test(a_loss_has_no_cancellation),
        seeded_test(statistics_are_added_in_double_precision),
        seeded_test(adam_takes_the_same_step),
        seeded_test(adam_is_the_step_of_the_cpu),
        seeded_test(numbers_are_moved),
        seeded_test(what_is_not_finite_is_seen),
        seeded_test(sums_are_read),
        seeded_test(marks_pass_in_order),
        seeded_test(a_device_has_only_so_much_memory),
        seeded_test(a_failure_is_made_where_it_is_asked_for),
        seeded_test(a_damaged_cache_is_replaced),
        seeded_test(the_cache_keeps_what_belongs_to_a_key),
        seeded_test(whole_units),
        seeded_test(a_failure_ends_a_unit),
    };
    char cache[] = "/tmp/gann-test-gpu-XXXXXX";
    int failed;

    choose_seed();
    tiny = getenv("GANN_TEST_TINY") != NULL;
    if (!mkdtemp(cache))
        return 1;
    setenv("XDG_CACHE_HOME", cache, 1);
    if (getenv("GANN_TEST_DEVICE"))
        gpu.number = atoi(getenv("GANN_TEST_DEVICE"));
    if (gpu.backend->count() == 0) {
        remove_folder(cache);
        puts("1..0 # SKIP there is no device of OpenCL here (Debian: pocl-opencl-icd)");
        return 0;
    }
    if (gpu.backend->open(&gpu) != DCGAN_OK) {
        printf("Bail out! %s\n", gpu.error);
        return 1;
    }
    failed = cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
    gpu.backend->close(&gpu);
    free(c.before);
    free(c.bytes);
    remove_folder(cache);
    return failed;
}
