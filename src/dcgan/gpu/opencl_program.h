/*
 * opencl_program.h - the kernels, compiled for a device
 */
#ifndef DCGAN_OPENCL_PROGRAM_H
#define DCGAN_OPENCL_PROGRAM_H

#include "gpu.h"
#include "opencl_library.h"

/* Compiles them, or takes what was compiled before from the cache. */
dcgan_status opencl_program(dcgan_device *device, cl_context context, cl_device_id id,
                            cl_program *program);

/* Says which call failed, and how; OpenCL's errors are either about memory or not. */
dcgan_status opencl_fail(dcgan_device *device, const char *call, cl_int error);

/* Calls a function that returns an error. */
#define CL_TRY(device, name, ...)                                                                  \
    do {                                                                                           \
        cl_int cl_try_error = opencl()->name(__VA_ARGS__);                                         \
        if (cl_try_error != CL_SUCCESS)                                                            \
            return opencl_fail(device, "cl" #name, cl_try_error);                                  \
    } while (0)

#endif
