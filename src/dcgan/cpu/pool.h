/*
 * pool.h - threads that share the tasks of one operation after another
 *
 * An operation is cut into tasks that write to different memory. The tasks are the same for every
 * number of threads, and so are the bits of the results.
 */
#ifndef DCGAN_POOL_H
#define DCGAN_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_MAX_THREADS 64

typedef void (*pool_task)(void *context, size_t task);

typedef struct pool {
    int helpers; /* threads beside the caller's */
    pthread_t threads[POOL_MAX_THREADS - 1];
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    /* The current operation; it doesn't change until all of its tasks are finished. */
    pool_task function;
    void *context;
    _Atomic uint64_t ticket; /* number of the operation << 32 | tasks not taken yet */
    atomic_size_t finished;  /* tasks */
    atomic_int stopping;
} pool;

/* Starts threads - 1 helpers; with fewer than that if the system gives no more. */
void pool_start(pool *p, int threads);

/* Ends the helpers. */
void pool_stop(pool *p);

/* Calls function(context, 0 … tasks - 1), in any order and from any thread of the pool; returns
 * when all have returned. p may be NULL: the caller does them all. */
void pool_run(pool *p, size_t tasks, pool_task function, void *context);

#endif
