/*
 * portable.cl - what the kernels are written in: OpenCL C 1.2, or the same text compiled to PTX
 *
 * The texts are joined in this order: portable.cl, layers.cl, unit.cl, narrow.cl, and products.cl
 * once for each size of tile. Every kernel is launched with whole groups of GROUP threads in one
 * dimension; groups are numbered in up to three.
 *
 * The same device, driver and text give the same bits: nothing is added up atomically, every sum
 * has one order, and no compiler may contract or reorder. Only fma(), where it is written, rounds
 * once.
 */
#ifdef __NVPTX__ /* clang compiles OpenCL C to PTX without OpenCL's own library */
#define THREAD ((int)__nvvm_read_ptx_sreg_tid_x())
#define GROUP_X ((int)__nvvm_read_ptx_sreg_ctaid_x())
#define GROUP_Y ((int)__nvvm_read_ptx_sreg_ctaid_y())
#define GROUP_Z ((int)__nvvm_read_ptx_sreg_ctaid_z())
#define GROUPS_X ((int)__nvvm_read_ptx_sreg_nctaid_x())
#define BARRIER __nvvm_bar_sync(0)
#define FMA __builtin_fmaf
#define SQRT __builtin_sqrtf
#else
#define THREAD ((int)get_local_id(0))
#define GROUP_X ((int)get_group_id(0))
#define GROUP_Y ((int)get_group_id(1))
#define GROUP_Z ((int)get_group_id(2))
#define GROUPS_X ((int)get_num_groups(0))
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define FMA fma
#define SQRT sqrt
#endif

#pragma OPENCL FP_CONTRACT OFF

#define GROUP 256
#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
/* Or a function that is given a block of sums would keep them in memory. */
#define INLINE static inline __attribute__((always_inline))

/* A tensor is a buffer and the offset of its first number: a kernel names it TENSOR(x) among its
 * parameters, and PLACE(x) makes x a pointer. */
#define TENSOR(x) __global float *x##_memory, ulong x##_first
#define PLACE(x) __global float *const x = x##_memory + x##_first
#define INPUT(x) __global const float *restrict const x = x##_memory + x##_first

/* ---- two floats that stand for their sum, with about 48 bits ---- */

typedef struct pair {
    float high, low;
} pair;

/* Adds two floats without an error (Knuth 1969). */
INLINE pair two_sum(float a, float b) {
    const float sum = a + b, part = sum - a;
    const pair result = {sum, (a - (sum - part)) + (b - part)};
    return result;
}

/* Multiplies two floats without an error. The product is written in a way that no driver can
 * contract with what adds it, whatever it makes of the pragma. */
INLINE pair two_product(float a, float b) {
    const float product = FMA(a, b, 0.0f);
    const pair result = {product, FMA(a, b, -product)};
    return result;
}

/* Makes low small beside high again. What is infinite becomes NaN on the way, which is as good a
 * sign that something is not finite. */
INLINE pair pair_of(float high, float low) {
    const float sum = high + low;
    const pair result = {sum, low - (sum - high)};
    return result;
}

INLINE pair pair_add(pair a, pair b) {
    const pair high = two_sum(a.high, b.high), low = two_sum(a.low, b.low);
    const pair sum = pair_of(high.high, high.low + low.high);
    return pair_of(sum.high, sum.low + low.low);
}

INLINE pair pair_add_float(pair a, float b) {
    const pair sum = two_sum(a.high, b);
    return pair_of(sum.high, sum.low + a.low);
}

INLINE pair pair_multiply(pair a, pair b) {
    const pair product = two_product(a.high, b.high);
    return pair_of(product.high, product.low + FMA(a.high, b.low, a.low * b.high));
}

/* Sums that are kept from call to call: 8 bytes each. */
INLINE void add_to_sum(__global float *sum, pair x) {
    const pair before = {sum[0], sum[1]}, after = pair_add(before, x);
    sum[0] = after.high;
    sum[1] = after.low;
}

/*
 * Adds up the pairs of threads whose numbers differ by multiples of width, a power of two: thread
 * t < width gets the sum of t, t + width, t + 2 width, ... in an order that depends on nothing
 * else. All threads of a group must call it, and pass a barrier before own is used again.
 */
INLINE pair sum_of_threads(__local pair *own, pair x, int width) {
    const int thread = THREAD;

    own[thread] = x;
    for (int reach = GROUP / 2; reach >= width; reach /= 2) {
        BARRIER;
        if (thread < reach)
            own[thread] = pair_add(own[thread], own[thread + reach]);
    }
    BARRIER;
    return own[thread & (width - 1)];
}

/* ---- functions that OpenCL has, but PTX has not: here they are the same bits for both ---- */

typedef union number_bits {
    float number;
    uint bits;
} number_bits;

INLINE int is_finite(float x) {
    number_bits u;
    u.number = x;
    return (u.bits & 0x7f800000u) != 0x7f800000u;
}

INLINE float not_a_number(void) {
    number_bits u;
    u.bits = 0x7fc00000u;
    return u.number;
}

INLINE float magnitude(float x) {
    return x < 0.0f ? -x : x;
}

/* e^x of -87 ... 88 (below: 0), within about an ulp: 2^k e^r, and a polynomial of e^r on
 * -ln 2 / 2 ... ln 2 / 2 (Moshier's Cephes, expf). NaN stays NaN. */
INLINE float exponential(float x) {
    const float scaled = x * 1.44269504088896341f;
    const int k = (int)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float part = FMA(-(float)k, 0.693359375f, x), r = FMA(-(float)k, -2.12194440e-4f, part);
    number_bits power;
    float p = 1.9875691500e-4f;

    if (x != x)
        return x;
    if (x < -87.0f)
        return 0.0f;
    p = FMA(p, r, 1.3981999507e-3f);
    p = FMA(p, r, 8.3334519073e-3f);
    p = FMA(p, r, 4.1665795894e-2f);
    p = FMA(p, r, 1.6666665459e-1f);
    p = FMA(p, r, 5.0000001201e-1f);
    power.bits = (uint)(k + 127) << 23;
    return (FMA(p, r * r, r) + 1.0f) * power.number;
}
