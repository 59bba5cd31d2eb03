/*
 * memory.c - what a backend does with memory that it frees, and how much it may take
 *
 * A shard is 1 MiB, and on its way through a backend it is copied several times. The C library
 * gives such pieces back to the system at once, and the system hands them out again page by page,
 * cleared: that took longer than all the rest of a download. A few of them are kept instead.
 */
#include "module.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* Lets this backend keep a few megabytes that it frees; nothing happens at later calls. */
void gan_keep_memory(void) {
#ifdef __GLIBC__
    static bool done;

    if (done)
        return;
    done = true;
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
#endif
}

/* Returns the bytes of memory that count for the bound and that this process has already; 0 where
 * the system doesn't tell (it is not Linux). */
static rlim_t memory_now(void) {
    unsigned long pages = 0;
    FILE *in = fopen("/proc/self/statm", "r");

    if (in) {
        if (fscanf(in, "%*u %*u %*u %*u %*u %lu", &pages) != 1)
            pages = 0;
        fclose(in);
    }
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Bounds the memory of this process to what it has and so many bytes more: its data, not what it
 * shares with other processes of the server. Returns the bound that was, for gan_free_memory. */
uint64 gan_bound_memory(uint64 more) {
    rlim_t now = memory_now(), before;
    struct rlimit limit;

    if (now == 0 || getrlimit(RLIMIT_DATA, &limit) != 0)
        return 0;
    before = limit.rlim_cur;
    now += (rlim_t)more;
    if (limit.rlim_cur == RLIM_INFINITY || now < limit.rlim_cur)
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? now : Min(now, limit.rlim_max);
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        ereport(LOG, (errmsg("the memory of this session could not be bounded: %m")));
    return (uint64)before;
}

/* Puts a bound back as it was. */
void gan_free_memory(uint64 before) {
    struct rlimit limit;

    if (before == 0 || getrlimit(RLIMIT_DATA, &limit) != 0)
        return;
    limit.rlim_cur = (rlim_t)before;
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        ereport(LOG, (errmsg("the memory of this session stays bounded: %m")));
}
