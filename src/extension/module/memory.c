/*
 * memory.c - what a backend does with memory that it frees
 *
 * A shard is 1 MiB, and on its way through a backend it is copied several times. The C library
 * gives such pieces back to the system at once, and the system hands them out again page by page,
 * cleared: that took longer than all the rest of a download. A few of them are kept instead.
 */
#include "module.h"

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
