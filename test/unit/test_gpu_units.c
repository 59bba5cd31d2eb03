/*
 * test_gpu_units.c - marks, failures, the cache and whole units on a device of OpenCL
 */
#include "gpu_device.h"

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

int main(void) {
    static const struct CMUnitTest tests[] = {
        seeded_test(devices_are_described),
        seeded_test(marks_pass_in_order),
        seeded_test(a_device_has_only_so_much_memory),
        seeded_test(a_failure_is_made_where_it_is_asked_for),
        seeded_test(a_damaged_cache_is_replaced),
        seeded_test(the_cache_keeps_what_belongs_to_a_key),
        seeded_test(whole_units),
        seeded_test(a_failure_ends_a_unit),
    };

    return run_on_device("gpu_units", tests, SIZE(tests));
}
