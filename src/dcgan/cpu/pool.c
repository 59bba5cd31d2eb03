/*
 * pool.c - threads that share the tasks of one operation after another
 *
 * An operation may last only 50 microseconds, so helpers look for the next one in a short loop
 * before they sleep. No thread waits for a helper that has not taken a task: it may have lost its
 * processor to another program.
 */
#include "pool.h"

#include <sched.h>
#include <signal.h>

#define SPINS 4000 /* looks before sleeping; some 50 microseconds */

/* Tells the processor that this is a waiting loop. */
static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes a task of the current operation; returns 0 if there is none left. The operation's number
 * and the number of tasks left are one integer, so that a late helper can't mistake a task of the
 * next operation for one of the last. */
static int take_task(pool *p, size_t *task) {
    uint64_t ticket = atomic_load(&p->ticket);

    while ((uint32_t)ticket > 0)
        if (atomic_compare_exchange_weak(&p->ticket, &ticket, ticket - 1)) {
            *task = (uint32_t)ticket - 1;
            return 1;
        }
    return 0;
}

/* Does tasks until none is left. */
static void do_tasks(pool *p) {
    size_t task;

    while (take_task(p, &task)) {
        p->function(p->context, task);
        atomic_fetch_add(&p->finished, 1);
    }
}

static uint32_t operation(pool *p) {
    return (uint32_t)(atomic_load(&p->ticket) >> 32);
}

/* Waits until there is another operation than the last; returns its number. */
static uint32_t wait_for_operation(pool *p, uint32_t last) {
    for (int i = 0; i < SPINS && operation(p) == last; i++)
        relax();
    if (operation(p) == last) {
        pthread_mutex_lock(&p->mutex);
        while (operation(p) == last)
            pthread_cond_wait(&p->wake, &p->mutex);
        pthread_mutex_unlock(&p->mutex);
    }
    return operation(p);
}

/* The loop of a helper. */
static void *help(void *context) {
    pool *p = context;
    uint32_t last = 0;

    for (;;) {
        last = wait_for_operation(p, last);
        if (atomic_load(&p->stopping))
            return NULL;
        do_tasks(p);
    }
}

/* Announces an operation. The lock makes sure that no helper falls asleep between looking and
 * waiting. */
static void announce(pool *p, size_t tasks) {
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->finished, 0);
    atomic_store(&p->ticket, (uint64_t)(operation(p) + 1) << 32 | tasks);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

void pool_start(pool *p, int threads) {
    sigset_t all, before;

    *p = (pool){.helpers = 0};
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    sigfillset(&all); /* signals are the caller's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->helpers < threads - 1 && p->helpers < POOL_MAX_THREADS - 1 &&
           pthread_create(&p->threads[p->helpers], NULL, help, p) == 0)
        p->helpers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pool_stop(pool *p) {
    atomic_store(&p->stopping, 1);
    announce(p, 0);
    for (int i = 0; i < p->helpers; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
}

void pool_run(pool *p, size_t tasks, pool_task function, void *context) {
    if (!p || p->helpers == 0 || tasks < 2 || tasks > UINT32_MAX) {
        for (size_t task = 0; task < tasks; task++)
            function(context, task);
        return;
    }
    p->function = function;
    p->context = context;
    announce(p, tasks);
    do_tasks(p);
    for (int looks = 0; atomic_load(&p->finished) < tasks; looks++) {
        relax();
        if (looks > SPINS) /* a helper has lost its processor in the middle of a task */
            sched_yield();
    }
}
