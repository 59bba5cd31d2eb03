/*
 * test_gpu_layers.c - batch norm, activations, loss, Adam and copies on a device of OpenCL (gpu_device.h)
 */
#include "gpu_device.h"

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

int main(void) {
    static const struct CMUnitTest tests[] = {
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
    };

    return run_on_device("gpu_layers", tests, SIZE(tests));
}
