/*
 * opencl_library.c - finds OpenCL
 */
#include "opencl_library.h"

#include <dlfcn.h>
#include <pthread.h>

static opencl_library library;
static int loaded;

/* The loader of installable drivers, by the name that programs link to, by that which compilers
 * look for, and where macOS has it. */
static void *find_library(void) {
    static const char *const names[] = {"libOpenCL.so.1", "libOpenCL.so",
                                        "/System/Library/Frameworks/OpenCL.framework/OpenCL"};
    void *handle = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && !handle; i++)
        handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return handle;
}

/* It stays loaded: drivers have threads of their own. */
static void load(void) {
    void *handle = find_library();

    if (!handle)
        return;
#define OPENCL_LOAD(result, name, parameters)                                                      \
    library.name = (result(*) parameters)dlsym(handle, "cl" #name);                                \
    if (!library.name)                                                                             \
        return;
    OPENCL_FUNCTIONS(OPENCL_LOAD)
    loaded = 1;
}

const opencl_library *opencl(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
    return loaded ? &library : NULL;
}

const char *opencl_error_text(cl_int error) {
    switch (error) {
    case CL_DEVICE_NOT_AVAILABLE:
        return "device not available";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
        return "no memory on the device";
    case CL_OUT_OF_RESOURCES:
        return "out of resources";
    case CL_OUT_OF_HOST_MEMORY:
        return "out of host memory";
    case CL_BUILD_PROGRAM_FAILURE:
        return "the driver can't compile the kernels";
    case CL_INVALID_BUFFER_SIZE:
        return "more memory at once than the device gives";
    }
    return "error";
}
