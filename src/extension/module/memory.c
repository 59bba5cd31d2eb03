/*
 * memory.c - lets a backend keep freed memory, and limits how much it may take
 *
 * A shard is 1 MiB, and a backend copies it several times. The C library returns such blocks to the
 * system at once, and the system gives them out again page by page, cleared: that took longer than
 * all the rest of a download. So the backend keeps a few of them.
 */
#include "module.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* Lets this backend keep a few megabytes that it frees. Later calls do nothing. */
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

/* Returns how many bytes that count for the limit this process already has; 0 if the system doesn't
 * tell (it is not Linux). */
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

/* Limits the memory of this process to what it has and a number of bytes more. Only its own data
 * counts, not memory that it shares with other processes of the server. Returns the previous limit,
 * for gan_free_memory. */
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
        ereport(LOG, (errmsg("the memory of this session could not be limited: %m")));
    return (uint64)before;
}

/* Restores the previous limit. */
void gan_free_memory(uint64 before) {
    struct rlimit limit;

    if (before == 0 || getrlimit(RLIMIT_DATA, &limit) != 0)
        return;
    limit.rlim_cur = (rlim_t)before;
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        ereport(LOG, (errmsg("the memory of this session stays limited: %m")));
}
