/*
 * pool.c - threads that share out the tasks of one operation after the other
 *
 * An operation may last 50 microseconds, so helpers look for the next one in a short loop before they sleep.
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

/* Does tasks until none is left. */
static void do_tasks(pool *p) {
    size_t task;
    while ((task = atomic_fetch_add(&p->next, 1)) < p->tasks)
        p->function(p->context, task);
}

/* Waits until there is another operation than the last. */
static void wait_for_operation(pool *p, unsigned last) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&p->operation) != last)
            return;
        relax();
    }
    pthread_mutex_lock(&p->mutex);
    while (atomic_load(&p->operation) == last)
        pthread_cond_wait(&p->wake, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

/* A helper's life. */
static void *help(void *context) {
    pool *p = context;
    unsigned last = 0;

    for (;;) {
        wait_for_operation(p, last);
        last++;
        if (atomic_load(&p->stopping))
            return NULL;
        do_tasks(p);
        atomic_fetch_add(&p->resting, 1);
    }
}

/* Announces an operation. The lock makes sure that no helper falls asleep between looking and waiting. */
static void announce(pool *p) {
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->next, 0);
    atomic_store(&p->resting, 0);
    atomic_fetch_add(&p->operation, 1);
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
    announce(p);
    for (int i = 0; i < p->helpers; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
}

void pool_run(pool *p, size_t tasks, pool_task function, void *context) {
    if (!p || p->helpers == 0 || tasks == 1) {
        for (size_t task = 0; task < tasks; task++)
            function(context, task);
        return;
    }
    p->function = function;
    p->context = context;
    p->tasks = tasks;
    announce(p);
    do_tasks(p);
    for (int looks = 0; atomic_load(&p->resting) < p->helpers; looks++) {
        relax();
        if (looks > SPINS) /* a helper has lost its processor to somebody else */
            sched_yield();
    }
}
