/*
 * test_backend.c - the table of functions that compute (src/dcgan/backend.h): units on any backend,
 * and what becomes of a unit when one of the functions fails
 *
 * Two tables are made of the CPU's functions: a near one, whose tensors are the caller's memory,
 * and a far one with memory of its own, as a GPU has. Both can be told to fail.
 */
#include "numbers.h"

#include <stdbool.h>

/* ---- tables that fail when told to ---- */

#define FUNCTIONS(X)                                                                               \
    X(open, (dcgan_device * device), (device))                                                     \
    X(reserve, (dcgan_device * device, size_t reals, tensor * memory), (device, reals, memory))    \
    X(write, (dcgan_device * device, tensor to, const real *from, size_t count),                   \
      (device, to, from, count))                                                                   \
    X(write_samples, (dcgan_device * device, tensor to, const uint8_t *from, size_t count),        \
      (device, to, from, count))                                                                   \
    X(read, (dcgan_device * device, real * to, tensor from, size_t count),                         \
      (device, to, from, count))                                                                   \
    X(read_sums, (dcgan_device * device, double *to, tensor sums, size_t count),                   \
      (device, to, sums, count))                                                                   \
    X(zero, (dcgan_device * device, tensor x, size_t reals), (device, x, reals))                   \
    X(mark, (dcgan_device * device, uint64_t * mark), (device, mark))                              \
    X(passed, (dcgan_device * device, uint64_t mark, int wait, int *passed),                       \
      (device, mark, wait, passed))                                                                \
    X(convolution,                                                                                 \
      (dcgan_device * device, tensor small, tensor large, tensor weights, size_t images,           \
       const dcgan_convolution *shape),                                                            \
      (device, small, large, weights, images, shape))                                              \
    X(transposed_convolution,                                                                      \
      (dcgan_device * device, tensor large, tensor small, tensor weights, size_t images,           \
       const dcgan_convolution *shape),                                                            \
      (device, large, small, weights, images, shape))                                              \
    X(weight_gradient,                                                                             \
      (dcgan_device * device, tensor dweights, tensor large, tensor small, size_t images,          \
       const dcgan_convolution *shape),                                                            \
      (device, dweights, large, small, images, shape))                                             \
    X(moments,                                                                                     \
      (dcgan_device * device, tensor mean, tensor variance, tensor x, size_t rows,                 \
       size_t channels),                                                                           \
      (device, mean, variance, x, rows, channels))                                                 \
    X(normalise,                                                                                   \
      (dcgan_device * device, tensor y, tensor x, tensor mean, tensor variance, tensor scale,      \
       tensor shift, size_t rows, size_t channels, real slope),                                    \
      (device, y, x, mean, variance, scale, shift, rows, channels, slope))                         \
    X(normalise_backward,                                                                          \
      (dcgan_device * device, tensor dx, tensor dscale, tensor dshift, tensor dy, tensor x,        \
       tensor mean, tensor variance, tensor scale, tensor shift, size_t rows, size_t channels,     \
       real slope),                                                                                \
      (device, dx, dscale, dshift, dy, x, mean, variance, scale, shift, rows, channels, slope))    \
    X(rectify, (dcgan_device * device, tensor x, size_t count, real slope),                        \
      (device, x, count, slope))                                                                   \
    X(rectify_backward, (dcgan_device * device, tensor dy, tensor y, size_t count, real slope),    \
      (device, dy, y, count, slope))                                                               \
    X(hyperbolic_tangent, (dcgan_device * device, tensor x, size_t count), (device, x, count))     \
    X(hyperbolic_tangent_backward, (dcgan_device * device, tensor dy, tensor y, size_t count),     \
      (device, dy, y, count))                                                                      \
    X(judge,                                                                                       \
      (dcgan_device * device, tensor dlogits, tensor loss, tensor hits, tensor logits,             \
       size_t count, int target, double weight),                                                   \
      (device, dlogits, loss, hits, logits, count, target, weight))                                \
    X(add_statistics,                                                                              \
      (dcgan_device * device, tensor sums, tensor mean, tensor variance, size_t channels,          \
       double weight),                                                                             \
      (device, sums, mean, variance, channels, weight))                                            \
    X(adam,                                                                                        \
      (dcgan_device * device, tensor weights, tensor moment1, tensor moment2, tensor gradient,     \
       size_t count, uint64_t t, const dcgan_adam_options *options),                               \
      (device, weights, moment1, moment2, gradient, count, t, options))                            \
    X(difference, (dcgan_device * device, tensor difference, tensor a, tensor b, size_t count),    \
      (device, difference, a, b, count))                                                           \
    X(finite, (dcgan_device * device, tensor sum, tensor x, size_t count), (device, sum, x, count))

#define NUMBER(name, parameters, arguments) FUNCTION_##name,
enum { FUNCTIONS(NUMBER) FUNCTION_COUNT };

#define NAME(name, parameters, arguments) #name,
static const char *const function_names[] = {FUNCTIONS(NAME)};

/* The call that fails, counted from 1, and the calls so far. */
static int failing_function = -1, failing_call, calls[FUNCTION_COUNT];

static bool fails(int function) {
    return ++calls[function] == failing_call && function == failing_function;
}

/* A device's own memory. It moves with every reservation, so nothing may be kept. */
static real *far_memory;

static dcgan_status far_reserve(dcgan_device *device, size_t reals, tensor *memory) {
    (void)device;
    free(far_memory);
    far_memory = aligned_alloc(64, (reals * sizeof(real) + 63) / 64 * 64);
    assert_non_null(far_memory);
    memset(far_memory, 0xff, reals * sizeof(real)); /* NaN: nothing is read before it is written */
    *memory = tensor_on_host(far_memory);
    return DCGAN_OK;
}

/* The functions of the CPU, but for those of memory. */
static dcgan_backend real_table;

#define WRAP(name, parameters, arguments)                                                          \
    static dcgan_status failing_##name parameters {                                                \
        return fails(FUNCTION_##name) ? DCGAN_DEVICE : real_table.name arguments;                  \
    }
FUNCTIONS(WRAP)

static void close_device(dcgan_device *device) {
    dcgan_backend_cpu.close(device);
    free(far_memory);
    far_memory = NULL;
}

/* Makes a table whose functions fail when they are told to. */
static dcgan_backend failing_table(int far) {
    dcgan_backend table = dcgan_backend_cpu;

    real_table = dcgan_backend_cpu;
    real_table.reserve = far_reserve;
#define SET(name, parameters, arguments) table.name = failing_##name;
    FUNCTIONS(SET)
    table.name = far ? "far" : "near";
    table.on_host = !far;
    table.close = close_device;
    return table;
}

/* ---- units ---- */

enum { COUNT = 7, BATCH = 2 };

typedef struct sample_unit {
    dcgan_model model;
    dcgan_unit unit;
    dcgan_unit_result result;
    dcgan_device device;
    real *weights;
    uint8_t *images;
    int local;
    size_t ready_count; /* parameters that were said to be final */
    int late;           /* some were before they stood in the result */
} sample_unit;

static const dcgan_local_options local_options = {
    {0.01, 0.5, 0.999, 1e-8}, {0.02, 0.5, 0.999, 1e-8}, 0.1};

static void note_ready(void *context, size_t first, size_t count) {
    sample_unit *u = context;

    u->ready_count += count;
    for (size_t i = first; i < first + count; i++)
        u->late |= isnan(u->result.gradient[i]);
}

static sample_unit open_unit(const dcgan_backend *backend, int local) {
    const dcgan_config config = {1, 32, 5, 3, 4};
    sample_unit u = {.local = local,
                     .device = {.backend = backend, .threads = 1},
                     .unit = {.count = COUNT,
                              .batch = BATCH,
                              .seed = 3,
                              .iteration = 4,
                              .position = 5,
                              .threads = 1,
                              .ready = note_ready}};

    assert_int_equal(dcgan_model_init(&u.model, &config), DCGAN_OK);
    u.weights = reals(u.model.parameter_count, 0.02, 0.2);
    u.images = malloc(COUNT * u.model.image_count);
    for (size_t i = 0; i < COUNT * u.model.image_count; i++)
        u.images[i] = (uint8_t)random_bits();
    u.unit.weights = u.weights;
    u.unit.images = u.images;
    u.result.gradient = filled(u.model.parameter_count, NAN);
    u.result.statistics = filled(u.model.statistics_count, NAN);
    return u;
}

/* Runs the unit on its device (without a backend: on the CPU that units open for themselves). */
static dcgan_status run_unit(sample_unit *u) {
    dcgan_device *device = u->device.backend ? &u->device : NULL;
    dcgan_status status = device ? device->backend->open(device) : DCGAN_OK;
    size_t bytes;
    void *workspace;

    u->unit.device = device;
    u->unit.context = u;
    u->ready_count = 0;
    assert_int_equal(u->local ? dcgan_unit_local_workspace(&u->model, device, BATCH, &bytes)
                              : dcgan_unit_workspace(&u->model, device, BATCH, &bytes),
                     DCGAN_OK);
    workspace = malloc(bytes);
    memset(workspace, 0xff, bytes);
    if (status == DCGAN_OK)
        status = u->local ? dcgan_unit_local(&u->model, &u->unit, &local_options, &u->result,
                                             workspace, bytes)
                          : dcgan_unit_gradients(&u->model, &u->unit, &u->result, workspace, bytes);
    if (device)
        device->backend->close(device);
    free(workspace);
    return status;
}

static void close_unit(sample_unit *u) {
    free(u->weights), free(u->images), free(u->result.gradient), free(u->result.statistics);
}

static void same_results(const sample_unit *a, const sample_unit *b) {
    assert_memory_equal(a->result.gradient, b->result.gradient,
                        a->model.parameter_count * sizeof(real));
    assert_memory_equal(a->result.statistics, b->result.statistics,
                        a->model.statistics_count * sizeof(real));
    assert_true(a->result.loss_d == b->result.loss_d && a->result.loss_g == b->result.loss_g);
    assert_true(a->result.accuracy_real == b->result.accuracy_real &&
                a->result.accuracy_fake == b->result.accuracy_fake);
}

/* Runs the same unit on two backends; both must have told of all they computed. */
static void run_both(const dcgan_backend *first, const dcgan_backend *second, int local,
                     dcgan_networks networks, sample_unit u[2]) {
    uint64_t start = random_state;

    for (int i = 0; i < 2; i++) {
        random_state = start;
        u[i] = open_unit(i ? second : first, local);
        u[i].unit.networks = networks;
        assert_int_equal(run_unit(&u[i]), DCGAN_OK);
        assert_int_equal(u[i].ready_count, networks == DCGAN_BOTH ? u[i].model.parameter_count
                                           : networks == DCGAN_GENERATOR_ONLY
                                               ? u[i].model.generator.count
                                               : u[i].model.discriminator.count);
        assert_false(u[i].late);
    }
}

static void memory_of_its_own_changes_no_bit(void **state) {
    const dcgan_backend far = failing_table(1), near = failing_table(0);
    const struct {
        int local;
        dcgan_networks networks;
    } kinds[] = {
        {0, DCGAN_BOTH}, {0, DCGAN_DISCRIMINATOR_ONLY}, {0, DCGAN_GENERATOR_ONLY}, {1, DCGAN_BOTH}};
    sample_unit u[2];
    (void)state;

    for (size_t i = 0; i < SIZE(kinds); i++)
        for (int n = 0; n < 2; n++) {
            run_both(NULL, n ? &near : &far, kinds[i].local, kinds[i].networks, u);
            same_results(&u[0], &u[1]);
            close_unit(&u[0]), close_unit(&u[1]);
        }
}

static void the_plain_loops_compute_whole_units(void **state) {
    sample_unit u[2];
    (void)state;

    for (int local = 0; local < 2; local++) {
        run_both(NULL, &dcgan_backend_naive, local, DCGAN_BOTH, u);
        for (size_t i = 0; i < u[0].model.parameter_count; i++)
            assert_true(fabsf(u[0].result.gradient[i] - u[1].result.gradient[i]) <=
                        (local ? 2e-3f : 1e-4f));
        assert_true(fabs(u[0].result.loss_d - u[1].result.loss_d) < 1e-4);
        assert_true(fabs(u[0].result.loss_g - u[1].result.loss_g) < 1e-4);
        close_unit(&u[0]), close_unit(&u[1]);
    }
}

/* ---- failures ---- */

/* Lets one call of a function fail, then runs the unit again without. */
static void check_failure(const dcgan_backend *table, sample_unit *u, const sample_unit *right,
                          int function, int call) {
    dcgan_status status;

    memset(calls, 0, sizeof calls);
    failing_function = function;
    failing_call = call;
    status = run_unit(u);
    failing_function = -1;
    if (status != DCGAN_DEVICE)
        fail_msg("%s: call %d of %s failed, and the unit says %d", table->name, call,
                 function_names[function], (int)status);
    assert_int_equal(run_unit(u), DCGAN_OK);
    same_results(u, right);
}

/* Every function in turn, at its first, second, middle and last call. */
static void a_failure_ends_the_unit_and_nothing_else(void **state) {
    size_t never[FUNCTION_COUNT] = {0};
    (void)state;

    for (int kind = 0; kind < 4; kind++) {
        const dcgan_backend table = failing_table(kind % 2);
        uint64_t start = random_state;
        sample_unit u = open_unit(&table, kind / 2), right;
        int total[FUNCTION_COUNT];

        random_state = start;
        right = open_unit(NULL, kind / 2);
        assert_int_equal(run_unit(&right), DCGAN_OK);
        memset(calls, 0, sizeof calls);
        assert_int_equal(run_unit(&u), DCGAN_OK);
        memcpy(total, calls, sizeof total);
        for (int f = 0; f < FUNCTION_COUNT; f++) {
            const int which[] = {1, 2, (total[f] + 1) / 2, total[f]};
            never[f] += total[f] == 0;
            for (size_t i = 0; i < SIZE(which); i++)
                if (which[i] >= 1 && which[i] <= total[f])
                    check_failure(&table, &u, &right, f, which[i]);
        }
        close_unit(&u), close_unit(&right);
    }
    for (int f = 0; f < FUNCTION_COUNT; f++) /* or the test would not have tried it */
        if (never[f] == 4)
            fail_msg("no unit calls %s", function_names[f]);
}

/* ---- generation ---- */

static dcgan_status draw(const sample_unit *u, dcgan_device *device, real *images,
                         real *statistics) {
    dcgan_generator g = {.model = &u->model,
                         .weights = u->weights,
                         .running_statistics = u->result.statistics,
                         .device = device};
    dcgan_status status;

    assert_int_equal(dcgan_generate_workspace(&u->model, device, 3, &g.workspace_bytes), DCGAN_OK);
    g.workspace = malloc(g.workspace_bytes);
    status = dcgan_generate(&g, 9, 1, 3, images);
    if (status == DCGAN_OK)
        status = dcgan_generator_statistics(&g, 9, 3, 2, statistics);
    free(g.workspace);
    return status;
}

static void images_are_drawn_on_a_device(void **state) {
    const dcgan_backend far = failing_table(1);
    sample_unit u = open_unit(NULL, 0);
    dcgan_device device = {.backend = &far, .threads = 1};
    size_t images = 3 * u.model.image_count, statistics = u.model.statistics_count;
    real *drawn[2] = {filled(images, NAN), filled(images, NAN)},
         *seen[2] = {filled(statistics, 0), filled(statistics, 0)};
    int total[FUNCTION_COUNT];
    (void)state;

    dcgan_initialise_statistics(&u.model, u.result.statistics);
    memset(calls, 0, sizeof calls);
    assert_int_equal(draw(&u, NULL, drawn[0], seen[0]), DCGAN_OK);
    assert_int_equal(draw(&u, &device, drawn[1], seen[1]), DCGAN_OK);
    assert_memory_equal(drawn[0], drawn[1], images * sizeof(real));
    assert_memory_equal(seen[0], seen[1], statistics * sizeof(real));
    memcpy(total, calls, sizeof total);
    for (int f = 0; f < FUNCTION_COUNT; f++)
        for (int call = 1; call <= total[f]; call += 1 + total[f] / 3) {
            memset(calls, 0, sizeof calls);
            failing_function = f;
            failing_call = call;
            assert_int_equal(draw(&u, &device, drawn[1], seen[1]), DCGAN_DEVICE);
            failing_function = -1;
        }
    device.backend->close(&device);
    free(drawn[0]), free(drawn[1]), free(seen[0]), free(seen[1]);
    close_unit(&u);
}

/* ---- devices by name ---- */

static void backends_are_found_by_name(void **state) {
    dcgan_device *device;
    uint64_t memory = 1;
    char text[40];
    (void)state;

    assert_string_equal(dcgan_backend_name(0), "cpu");
    assert_null(dcgan_backend_name(-1));
    for (int i = 0; dcgan_backend_name(i); i++)
        assert_true(dcgan_device_count(dcgan_backend_name(i)) >= 0);
    assert_int_equal(dcgan_device_count("cpu"), 1);
    assert_int_equal(dcgan_device_count("abacus"), 0);
    dcgan_device_describe("cpu", 0, text, sizeof text, &memory);
    assert_string_equal(text, "CPU");
    assert_int_equal(memory, 0);
    assert_int_equal(dcgan_device_open(&device, "cpu", 0, 3), DCGAN_OK);
    assert_string_equal(dcgan_device_error(device), "");
    dcgan_device_close(device);
    assert_int_equal(dcgan_device_open(&device, "cpu", 1, 1), DCGAN_INVALID_ARGUMENT);
    assert_null(device);
    assert_int_equal(dcgan_device_open(&device, "abacus", 0, 1), DCGAN_INVALID_ARGUMENT);
    dcgan_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        seeded_test(memory_of_its_own_changes_no_bit),
        seeded_test(the_plain_loops_compute_whole_units),
        seeded_test(a_failure_ends_the_unit_and_nothing_else),
        seeded_test(images_are_drawn_on_a_device),
        seeded_test(backends_are_found_by_name),
    };
    choose_seed();
    return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
