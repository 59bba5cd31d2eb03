/*
 * test_pool.c - every task once, and all done on return
 */
#include "../../src/dcgan/cpu/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

enum { TASKS = 1000 };

typedef struct counts {
    unsigned char done[TASKS];
    atomic_int running;
} counts;

static void count(void *context, size_t task) {
    counts *c = context;
    atomic_fetch_add(&c->running, 1);
    c->done[task]++; /* a plain byte: a task that two threads did, or did too late, shows */
    atomic_fetch_sub(&c->running, 1);
}

/* Runs operations of every size up to a limit. */
static void run_all(pool *p, size_t step) {
    counts c;

    for (size_t tasks = 0; tasks <= TASKS; tasks += step) {
        memset(&c, 0, sizeof c);
        pool_run(p, tasks, count, &c);
        assert_int_equal(atomic_load(&c.running), 0);
        for (size_t i = 0; i < TASKS; i++)
            assert_int_equal(c.done[i], i < tasks);
    }
}

static void every_task_once(void **state) {
    (void)state;
    run_all(NULL, 7);
    for (int threads = 1; threads <= 5; threads++) {
        pool p;
        pool_start(&p, threads);
        assert_int_equal(p.helpers, threads - 1);
        run_all(&p, 7);
        pool_stop(&p);
    }
}

static void helpers_that_fell_asleep_wake(void **state) {
    pool p;
    (void)state;
    pool_start(&p, 3);
    for (int i = 0; i < 20; i++) {
        usleep(3000);
        run_all(&p, TASKS);
    }
    pool_stop(&p);
}

static void too_many_threads_are_fewer(void **state) {
    pool p;
    (void)state;
    pool_start(&p, 1000);
    assert_int_equal(p.helpers, POOL_MAX_THREADS - 1);
    run_all(&p, TASKS / 2);
    pool_stop(&p);
    pool_start(&p, 0); /* and none at all is the caller's alone */
    assert_int_equal(p.helpers, 0);
    run_all(&p, TASKS / 2);
    pool_stop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_once),
        cmocka_unit_test(helpers_that_fell_asleep_wake),
        cmocka_unit_test(too_many_threads_are_fewer),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
