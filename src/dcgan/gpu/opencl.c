/*
 * opencl.c - devices of OpenCL 1.2: one queue each, in order
 *
 * Nothing waits for the device but passed(), when asked to, and read_sums(). Marks are events in a
 * ring; as many as fit may be on their way.
 */
#include "opencl_program.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEVICES 64
#define MAX_PLATFORMS 16
#define MAX_MARKS ((uint64_t)64)
#define LOCAL_BYTES 32768 /* what OpenCL promises; the kernels have at most 17 kB */

typedef struct opencl_state {
    gpu_state gpu; /* the first: gpu_of() */
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernels[GPU_KERNEL_COUNT];
    cl_event marks[MAX_MARKS]; /* mark m at m % MAX_MARKS */
    uint64_t last_mark, last_passed;
} opencl_state;

static opencl_state *state_of(const dcgan_device *device) {
    return device->own;
}

/* ---- the devices of this machine ---- */

static cl_device_id found[MAX_DEVICES];
static int found_count;

/* Reads a number of up to 8 bytes; 0 where the driver doesn't know. */
static uint64_t number_of(cl_device_id id, cl_uint what) {
    uint64_t number = 0;

    return opencl()->GetDeviceInfo(id, what, sizeof number, &number, NULL) == CL_SUCCESS ? number
                                                                                         : 0;
}

/* Tells whether the kernels can run there. */
static int is_usable(cl_device_id id) {
    return number_of(id, CL_DEVICE_AVAILABLE) && number_of(id, CL_DEVICE_COMPILER_AVAILABLE) &&
           number_of(id, CL_DEVICE_MAX_WORK_GROUP_SIZE) >= GPU_GROUP &&
           number_of(id, CL_DEVICE_LOCAL_MEM_SIZE) >= LOCAL_BYTES;
}

/* 0: GPUs, 1: other accelerators, 2: processors that OpenCL runs on, such as PoCL's. */
static int rank_of(cl_device_id id) {
    uint64_t type = number_of(id, CL_DEVICE_TYPE);

    return type & CL_DEVICE_TYPE_GPU ? 0 : type & CL_DEVICE_TYPE_CPU ? 2 : 1;
}

/* Appends a platform's devices of a rank. */
static void find_on(cl_platform_id platform, int rank) {
    cl_device_id ids[MAX_DEVICES];
    cl_uint count = 0;

    if (opencl()->GetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &count) !=
        CL_SUCCESS)
        return;
    for (cl_uint i = 0; i < count && i < MAX_DEVICES && found_count < MAX_DEVICES; i++)
        if (rank_of(ids[i]) == rank && is_usable(ids[i]))
            found[found_count++] = ids[i];
}

static void find_devices(void) {
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint count = 0;

    if (!opencl() || opencl()->GetPlatformIDs(MAX_PLATFORMS, platforms, &count) != CL_SUCCESS)
        return;
    for (int rank = 0; rank < 3; rank++)
        for (cl_uint i = 0; i < count && i < MAX_PLATFORMS; i++)
            find_on(platforms[i], rank);
}

static int opencl_count(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_devices);
    return found_count;
}

/* Names are padded with blanks by some drivers. */
static void opencl_describe(int number, char *text, size_t size, uint64_t *memory) {
    char name[256] = "";
    size_t first, length;

    *memory = 0;
    if (number < 0 || number >= opencl_count()) {
        snprintf(text, size, "none");
        return;
    }
    opencl()->GetDeviceInfo(found[number], CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    first = strspn(name, " ");
    for (length = strlen(name); length > first && name[length - 1] == ' '; length--)
        ;
    snprintf(text, size, "%.*s", (int)(length - first), name + first);
    if (rank_of(found[number]) < 2)
        *memory = number_of(found[number], CL_DEVICE_GLOBAL_MEM_SIZE);
}

/* ---- memory and kernels ---- */

static dcgan_status allocate(dcgan_device *device, size_t bytes, void **memory) {
    cl_int error;

    *memory =
        opencl()->CreateBuffer(state_of(device)->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    return *memory ? DCGAN_OK : opencl_fail(device, "clCreateBuffer", error);
}

/* What is still queued keeps it. */
static void release(dcgan_device *device, void *memory) {
    (void)device;
    if (memory)
        opencl()->ReleaseMemObject(memory);
}

static dcgan_status copy_in(dcgan_device *device, void *to, size_t at, const void *from,
                            size_t bytes) {
    if (bytes)
        CL_TRY(device, EnqueueWriteBuffer, state_of(device)->queue, to, 0, at, bytes, from, 0, NULL,
               NULL);
    return DCGAN_OK;
}

static dcgan_status copy_out(dcgan_device *device, void *to, const void *from, size_t at,
                             size_t bytes, int wait) {
    if (bytes)
        CL_TRY(device, EnqueueReadBuffer, state_of(device)->queue, (cl_mem)(uintptr_t)from,
               wait != 0, at, bytes, to, 0, NULL, NULL);
    return DCGAN_OK;
}

/* Sets one of a kernel's parameters, or the two of a tensor. */
static dcgan_status set_argument(dcgan_device *device, cl_kernel kernel, const gpu_argument *a,
                                 cl_uint *number) {
    const uint64_t first = a->tensor.first;

    switch (a->kind) {
    case GPU_TENSOR:
        CL_TRY(device, SetKernelArg, kernel, (*number)++, sizeof(cl_mem), &a->tensor.memory);
        CL_TRY(device, SetKernelArg, kernel, (*number)++, sizeof first, &first);
        break;
    case GPU_MEMORY:
        CL_TRY(device, SetKernelArg, kernel, (*number)++, sizeof(cl_mem), &a->memory);
        break;
    case GPU_INT:
        CL_TRY(device, SetKernelArg, kernel, (*number)++, sizeof a->integer, &a->integer);
        break;
    case GPU_FLOAT:
        CL_TRY(device, SetKernelArg, kernel, (*number)++, sizeof a->number, &a->number);
        break;
    }
    return DCGAN_OK;
}

static dcgan_status launch(dcgan_device *device, gpu_kernel kernel, gpu_groups groups,
                           const gpu_argument *arguments, size_t count) {
    opencl_state *s = state_of(device);
    const size_t local[] = {GPU_GROUP, 1, 1}, global[] = {groups.x * GPU_GROUP, groups.y, groups.z};
    cl_uint number = 0;
    cl_int error;

    if (groups.x == 0 || groups.y == 0 || groups.z == 0)
        return DCGAN_OK;
    for (size_t i = 0; i < count; i++)
        TRY(set_argument(device, s->kernels[kernel], &arguments[i], &number));
    error = opencl()->EnqueueNDRangeKernel(s->queue, s->kernels[kernel], 3, NULL, global, local, 0,
                                           NULL, NULL);
    if (error == CL_SUCCESS)
        return DCGAN_OK;
    return opencl_fail(device, "clEnqueueNDRangeKernel", error);
}

static const gpu_driver driver = {.allocate = allocate,
                                  .release = release,
                                  .copy_in = copy_in,
                                  .copy_out = copy_out,
                                  .launch = launch};

/* ---- marks ---- */

/* Finds out whether the oldest mark on its way has passed, or failed; then its event is no longer
 * needed. */
static dcgan_status pass_oldest(dcgan_device *device, int wait, int *passed) {
    opencl_state *s = state_of(device);
    cl_event *event = &s->marks[(s->last_passed + 1) % MAX_MARKS];
    cl_int status = CL_COMPLETE, error = wait ? opencl()->WaitForEvents(1, event) : CL_SUCCESS;

    if (error != CL_SUCCESS && error != CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        return opencl_fail(device, "clWaitForEvents", error);
    CL_TRY(device, GetEventInfo, *event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status,
           NULL);
    *passed = status == CL_COMPLETE;
    if (status <= CL_COMPLETE) {
        opencl()->ReleaseEvent(*event);
        *event = NULL;
        s->last_passed++;
    }
    return status < 0 ? opencl_fail(device, "a queued call", status) : DCGAN_OK;
}

/* Flushing lets the device begin, and a mark pass that nobody waits for. */
static dcgan_status opencl_mark(dcgan_device *device, uint64_t *mark) {
    opencl_state *s = state_of(device);
    int passed;

    TRY(gpu_enter(device, "mark"));
    if (s->last_mark - s->last_passed == MAX_MARKS)
        TRY(pass_oldest(device, 1, &passed));
    CL_TRY(device, EnqueueMarkerWithWaitList, s->queue, 0, NULL,
           &s->marks[(s->last_mark + 1) % MAX_MARKS]);
    *mark = ++s->last_mark;
    CL_TRY(device, Flush, s->queue);
    return DCGAN_OK;
}

static dcgan_status opencl_passed(dcgan_device *device, uint64_t mark, int wait, int *passed) {
    opencl_state *s = state_of(device);

    TRY(gpu_enter(device, "passed"));
    *passed = 1;
    while (*passed && s->last_passed < mark && s->last_passed < s->last_mark)
        TRY(pass_oldest(device, wait, passed));
    return DCGAN_OK;
}

/* ---- open and close ---- */

static dcgan_status create_kernels(dcgan_device *device) {
    opencl_state *s = state_of(device);
    cl_int error;

    for (int i = 0; i < GPU_KERNEL_COUNT; i++) {
        s->kernels[i] = opencl()->CreateKernel(s->program, gpu_kernel_names[i], &error);
        if (!s->kernels[i])
            return opencl_fail(device, "clCreateKernel", error);
    }
    return DCGAN_OK;
}

static dcgan_status opencl_open(dcgan_device *device) {
    opencl_state *s;
    cl_device_id id;
    cl_int error;

    if (device->number < 0 || device->number >= opencl_count())
        return gpu_fail(device, DCGAN_DEVICE, "OpenCL: there is no device %d", device->number);
    id = found[device->number];
    s = device->own = calloc(1, sizeof *s);
    if (!s)
        return gpu_fail(device, DCGAN_DEVICE_MEMORY, "no memory");
    s->gpu.driver = &driver;
    s->gpu.processors = (size_t)number_of(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    s->context = opencl()->CreateContext(NULL, 1, &id, NULL, NULL, &error);
    if (!s->context)
        return opencl_fail(device, "clCreateContext", error);
    s->queue = opencl()->CreateCommandQueue(s->context, id, 0, &error);
    if (!s->queue)
        return opencl_fail(device, "clCreateCommandQueue", error);
    TRY(opencl_program(device, s->context, id, &s->program));
    TRY(create_kernels(device));
    return gpu_begin(device);
}

/* What is still queued writes into the caller's memory: it has to end first. */
static void opencl_close(dcgan_device *device) {
    opencl_state *s = state_of(device);

    if (!s)
        return;
    if (s->queue)
        opencl()->Finish(s->queue);
    for (uint64_t i = 0; i < MAX_MARKS; i++)
        if (s->marks[i])
            opencl()->ReleaseEvent(s->marks[i]);
    gpu_end(device);
    for (int i = 0; i < GPU_KERNEL_COUNT; i++)
        if (s->kernels[i])
            opencl()->ReleaseKernel(s->kernels[i]);
    if (s->program)
        opencl()->ReleaseProgram(s->program);
    if (s->queue)
        opencl()->ReleaseCommandQueue(s->queue);
    if (s->context)
        opencl()->ReleaseContext(s->context);
    free(s);
    device->own = NULL;
}

const dcgan_backend dcgan_backend_opencl = {
    .name = "opencl",
    .count = opencl_count,
    .describe = opencl_describe,
    .open = opencl_open,
    .close = opencl_close,
    .mark = opencl_mark,
    .passed = opencl_passed,
    GPU_FUNCTIONS,
};
