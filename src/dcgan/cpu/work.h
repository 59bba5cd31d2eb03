/*
 * work.h - the memory and threads that every function of the CPU backend uses
 */
#ifndef DCGAN_CPU_WORK_H
#define DCGAN_CPU_WORK_H

#include "../dcgan.h"
#include "pool.h"

typedef struct dcgan_work {
    real *scratch; /* aligned to a cache line */
    pool *pool;    /* threads; NULL: the caller's alone */
} dcgan_work;

#endif
