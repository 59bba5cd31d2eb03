/*
 * opencl_program.c - compiles the kernels, which takes a driver seconds, and keeps the result
 */
#include "opencl_program.h"
#include "cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dcgan_status opencl_fail(dcgan_device *device, const char *call, cl_int error) {
    const int memory = error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_RESOURCES ||
                       error == CL_OUT_OF_HOST_MEMORY || error == CL_INVALID_BUFFER_SIZE;

    return gpu_fail(device, memory ? DCGAN_DEVICE_MEMORY : DCGAN_DEVICE, "OpenCL: %s: %s (%d)",
                    call, opencl_error_text(error), (int)error);
}

/* No option lets the compiler change a result. Where a device can round division and square root
 * as IEEE 754 says, it shall: then Adam takes the same step as on the CPU. */
static const char *options(cl_device_id id) {
    cl_bitfield can = 0;

    opencl()->GetDeviceInfo(id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof can, &can, NULL);
    return can & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT
               ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt"
               : "-cl-std=CL1.2";
}

/* Names what the compiled kernels depend on. */
static void write_key(char *key, size_t size, cl_device_id id) {
    char name[256] = "", driver[256] = "", version[256] = "";
    uint64_t hash = CACHE_HASH;

    opencl()->GetDeviceInfo(id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    opencl()->GetDeviceInfo(id, CL_DRIVER_VERSION, sizeof driver - 1, driver, NULL);
    opencl()->GetDeviceInfo(id, CL_DEVICE_VERSION, sizeof version - 1, version, NULL);
    for (size_t i = 0; i < gpu_text_count; i++)
        hash = cache_hash(hash, gpu_text[i], strlen(gpu_text[i]));
    snprintf(key, size, "%s; driver %s; %s; text %016" PRIx64 "; %s", name, driver, version, hash,
             options(id));
}

/* Any failure means that the cache is of no use, whatever the reason. */
static cl_program from_cache(cl_context context, cl_device_id id, const char *key) {
    size_t bytes;
    unsigned char *binary = cache_read(key, &bytes);
    const unsigned char *binaries[] = {binary};
    cl_int error = CL_SUCCESS, status = CL_SUCCESS;
    cl_program program;

    if (!binary)
        return NULL;
    program = opencl()->CreateProgramWithBinary(context, 1, &id, &bytes, binaries, &status, &error);
    free(binary);
    if (program && error == CL_SUCCESS && status == CL_SUCCESS &&
        opencl()->BuildProgram(program, 1, &id, options(id), NULL, NULL) == CL_SUCCESS)
        return program;
    if (program)
        opencl()->ReleaseProgram(program);
    return NULL;
}

static void to_cache(cl_program program, const char *key) {
    size_t bytes = 0;
    unsigned char *binary;

    if (opencl()->GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) !=
            CL_SUCCESS ||
        bytes == 0 || !(binary = malloc(bytes)))
        return;
    if (opencl()->GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) ==
        CL_SUCCESS)
        cache_write(key, binary, bytes);
    free(binary);
}

/* The compiler's first words say what it does not like. */
static dcgan_status refuse(dcgan_device *device, cl_program program, cl_device_id id,
                           cl_int error) {
    dcgan_status status = opencl_fail(device, "clBuildProgram", error);
    size_t length = strlen(device->error), bytes = 0;
    char *log;

    if (opencl()->GetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) !=
            CL_SUCCESS ||
        !(log = calloc(1, bytes + 1)))
        return status;
    opencl()->GetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    snprintf(device->error + length, sizeof device->error - length, ": %s", log);
    free(log);
    return status;
}

dcgan_status opencl_program(dcgan_device *device, cl_context context, cl_device_id id,
                            cl_program *program) {
    char key[1024];
    cl_int error;

    write_key(key, sizeof key, id);
    *program = from_cache(context, id, key);
    if (*program)
        return DCGAN_OK;
    *program = opencl()->CreateProgramWithSource(context, (cl_uint)gpu_text_count,
                                                 (const char **)(uintptr_t)gpu_text, NULL, &error);
    if (!*program)
        return opencl_fail(device, "clCreateProgramWithSource", error);
    error = opencl()->BuildProgram(*program, 1, &id, options(id), NULL, NULL);
    if (error != CL_SUCCESS)
        return refuse(device, *program, id, error);
    to_cache(*program, key);
    return DCGAN_OK;
}
