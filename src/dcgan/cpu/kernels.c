/*
 * kernels.c - chooses the instruction set of the inner loops
 */
#include "kernels.h"

#include <stdatomic.h>

#ifdef __x86_64__
extern const kernels kernels_avx512, kernels_avx2;
#endif
extern const kernels kernels_portable;

static _Atomic(const kernels *) forced;

/* Lists what this processor and its operating system can run, best first. */
const kernels *kernels_list(size_t index) {
    const kernels *able[4] = {0};
    size_t count = 0;

#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
        able[count++] = &kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        able[count++] = &kernels_avx2;
#endif
    able[count++] = &kernels_portable;
    return index < count ? able[index] : NULL;
}

const kernels *kernels_choose(void) {
    const kernels *k = atomic_load(&forced);
    return k ? k : kernels_list(0);
}

void kernels_force(const kernels *k) {
    atomic_store(&forced, k);
}
