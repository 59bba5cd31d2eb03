/*
 * gpu_device.h - runs one call of the table on a device of OpenCL and on the plainest loops
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
#ifndef TEST_GPU_DEVICE_H
#define TEST_GPU_DEVICE_H

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

static inline void works(dcgan_status status) {
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

static inline tensor at(const place *p, size_t number) {
    return (tensor){p->memory, c.tensors[number].first};
}

static inline tensor unless_none(tensor t) {
    return c.none ? (tensor){0} : t;
}

static inline void begin_check(void) {
    size_t room = c.room;
    float *before = c.before;

    free(c.bytes);
    memset(&c, 0, sizeof c);
    c.room = room;
    c.before = before;
}

/* Makes room, whose gaps hold numbers too: what reads them must not be believed. */
static inline void make_room(size_t count) {
    if (c.used + count > c.room) {
        c.room = 2 * (c.used + count);
        c.before = realloc(c.before, c.room * sizeof *c.before);
    }
    for (size_t i = 0; i < count; i++)
        c.before[c.used + i] = (float)(1000 + 500 * random_unit());
    c.used += count;
}

/* Appends a tensor at an even offset; returns its numbers. */
static inline float *add_tensor(size_t count, bool output, double centre, double spread) {
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

static inline float *input(size_t count) {
    return add_tensor(count, false, 0, 1);
}

static inline float *output(size_t count) {
    return add_tensor(count, true, 0, 1);
}

/* Sums begin with what doubles and pairs of floats agree about: zero. */
static inline void sums(size_t count) {
    memset(add_tensor(2 * count, true, 0, 0), 0, 2 * count * sizeof(float));
    c.tensors[c.tensor_count - 1].sums = true;
}

/* Runs a call on the device; what was read is freed by the caller. */
static inline float *run_on_gpu(dcgan_status (*call)(const place *), size_t scratch) {
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

static inline void close_enough(const char *what, size_t number, const float *got,
                                const float *expected, double tolerance) {
    size_t first = c.tensors[number].first, count = c.tensors[number].count;
    char name[200];

    snprintf(name, sizeof name, "%s, tensor %zu", what, number);
    close_to(name, got + first, expected + first, count,
             tolerance * largest(expected + first, count));
}

/* Compares sums, whose bits are each backend's own. */
static inline void sums_close_enough(const char *what, size_t number, const float *got,
                                     const float *expected, double tolerance) {
    for (size_t i = 0; i < c.tensors[number].count; i += 2) {
        const float *pair = got + c.tensors[number].first + i;
        double sum = (double)pair[0] + (double)pair[1], wanted;
        memcpy(&wanted, expected + c.tensors[number].first + i, sizeof wanted);
        if (!(fabs(sum - wanted) <= tolerance * fabs(wanted)))
            fail_msg("%s: sum %zu is %.17g instead of %.17g", what, i / 2, sum, wanted);
    }
}

static inline bool is_output(size_t i) {
    for (size_t t = 0; t < c.tensor_count; t++)
        if (c.tensors[t].output && i - c.tensors[t].first < c.tensors[t].count)
            return true;
    return false;
}

/* The check: see above. tolerance is relative to a tensor's largest number. */
static inline void check(const char *what, dcgan_status (*call)(const place *), size_t scratch,
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

/* ---- the program ---- */

static inline void remove_folder(const char *folder) {
    char name[1400];
    DIR *directory = opendir(folder);

    if (!directory)
        return;
    for (struct dirent *d; (d = readdir(directory));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
            if (snprintf(name, sizeof name, "%s/%s", folder, d->d_name) >= (int)sizeof name)
                continue;
            if (unlink(name) != 0)
                remove_folder(name);
        }
    closedir(directory);
    rmdir(folder);
}

/* Runs tests on the device, with a cache folder of their own; returns the exit status. */
static inline int run_on_device(const char *name, const struct CMUnitTest *tests, size_t count) {
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
    failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    gpu.backend->close(&gpu);
    free(c.before);
    free(c.bytes);
    remove_folder(cache);
    return failed;
}

#endif
