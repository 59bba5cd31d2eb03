/*
 * narrow.cl - products with few rows or columns, and what all products share
 *
 *     kernel           groups                          what
 *     up_narrow        images h w / GROUP, parities    up to 4 large channels: the last layer of G
 *     down_one         images, small channels          4x4 to 1x1: the last layer of D
 *     add_slices       weights / GROUP                 adds up slices of a gradient, in order
 *
 * A tile of 64 columns would be nearly empty for these.
 */
#define DEPTH 16

/* h, w: the smaller image; height, width: the larger one. */
#define convolution_parameters                                                                     \
    int h, int w, int small_channels, int height, int width, int large_channels, int stride,       \
        int padding

INLINE int is_inside(int y, int x, int height, int width) {
    return y >= 0 && y < height && x >= 0 && x < width;
}

/* Sets bit 4 ky + kx for the taps inside the larger image of a kernel whose corner is (y, x). */
INLINE int taps_inside(int y, int x, int height, int width) {
    int inside = 0;

    for (int tap = 0; tap < 16; tap++)
        inside |= is_inside(y + tap / 4, x + tap % 4, height, width) << tap;
    return inside;
}

/*
 * Row u of the larger image receives rows i of the smaller one with u = 2 i + ky - 1. So an even
 * row u = 2 q receives i = q with ky = 1 and i = q - 1 with ky = 3, an odd row 2 q + 1 receives
 * i = q with ky = 2 and i = q + 1 with ky = 0: these are its taps 0 and 1. Columns likewise.
 */
INLINE int parity_shift(int tap, int parity) {
    return tap ? (parity ? 1 : -1) : 0;
}

INLINE int parity_kernel(int tap, int parity) {
    return parity ? 2 - 2 * tap : 1 + 2 * tap;
}

/* Sets bit 2 tap_y + tap_x for the taps inside the smaller image. */
INLINE int parity_taps_inside(int q, int r, int h, int w, int parity_y, int parity_x) {
    int inside = 0;

    for (int tap = 0; tap < 4; tap++)
        inside |= is_inside(q + parity_shift(tap / 2, parity_y),
                            r + parity_shift(tap % 2, parity_x), h, w)
                  << tap;
    return inside;
}

/* The pixel of a parity that belongs to a row (image, q, r) of the product. */
INLINE size_t parity_pixel(int row, int h, int w, int parity_y, int parity_x) {
    const int pixel = row % (h * w);
    const size_t q = (size_t)(row / (h * w)) * h + pixel / w;

    return (2 * q + parity_y) * 2 * w + 2 * (pixel % w) + parity_x;
}

/* A thread has one row of the product and all of its up to 4 columns; stride is 2. Sums are those
 * of up in products.cl, to the bit. */
KERNEL up_narrow(TENSOR(large_image), TENSOR(small_image), TENSOR(weights), int images,
                 convolution_parameters) {
    __local float left[DEPTH * (GROUP + 1)];
    __local float4 right[DEPTH];
    PLACE(large_image);
    INPUT(small_image);
    INPUT(weights);
    const int parity_y = GROUP_Y / 2, parity_x = GROUP_Y % 2;
    const int rows = images * h * w, depth = 4 * small_channels;
    const int first_row = GROUP_X * GROUP, row = first_row + THREAD;
    const int lane = THREAD % DEPTH, line = THREAD / DEPTH;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    int inside[GROUP / 16];
    int tap = 0, channel = lane;

#pragma unroll
    for (int i = 0; i < GROUP / 16; i++) {
        const int other = first_row + line + 16 * i, pixel = other % (h * w);
        inside[i] =
            other < rows ? parity_taps_inside(pixel / w, pixel % w, h, w, parity_y, parity_x) : 0;
    }
    for (int k = 0; k < depth; k += DEPTH) {
        while (channel >= small_channels)
            channel -= small_channels, tap++;
        const int offset = (parity_shift(tap / 2, parity_y) * w + parity_shift(tap % 2, parity_x)) *
                               small_channels +
                           channel;
        const int weight = 4 * parity_kernel(tap / 2, parity_y) + parity_kernel(tap % 2, parity_x);

        BARRIER;
#pragma unroll
        for (int i = 0; i < GROUP / 16; i++)
            left[lane * (GROUP + 1) + line + 16 * i] =
                k + lane < depth && inside[i] >> tap & 1
                    ? small_image[(first_row + line + 16 * i) * small_channels + offset]
                    : 0.0f;
        if (line < 4)
            ((__local float *)right)[4 * lane + line] =
                k + lane < depth && line < large_channels
                    ? weights[((size_t)channel * 16 + weight) * large_channels + line]
                    : 0.0f;
        BARRIER;
#pragma unroll
        for (int l = 0; l < DEPTH; l++) {
            const float a = left[l * (GROUP + 1) + THREAD];
            const float4 b = right[l];
            sum[0] = FMA(a, b.x, sum[0]);
            sum[1] = FMA(a, b.y, sum[1]);
            sum[2] = FMA(a, b.z, sum[2]);
            sum[3] = FMA(a, b.w, sum[3]);
        }
        channel += DEPTH;
    }
    if (row < rows) {
        const size_t to = parity_pixel(row, h, w, parity_y, parity_x) * large_channels;
        for (int n = 0; n < 4; n++)
            if (n < large_channels)
                large_image[to + n] = sum[n];
    }
}

/* A group has one number of the result: its threads take every GROUP-th term. */
KERNEL down_one(TENSOR(small_image), TENSOR(large_image), TENSOR(weights), int depth,
                int small_channels) {
    __local float own[GROUP];
    PLACE(small_image);
    INPUT(large_image);
    INPUT(weights);
    __global const float *const a = large_image + (size_t)GROUP_X * depth;
    __global const float *const b = weights + (size_t)GROUP_Y * depth;
    float sum = 0.0f;

    for (int k = THREAD; k < depth; k += GROUP)
        sum = FMA(a[k], b[k], sum);
    own[THREAD] = sum;
    for (int reach = GROUP / 2; reach >= 1; reach /= 2) {
        BARRIER;
        if (THREAD < reach)
            own[THREAD] += own[THREAD + reach];
    }
    if (THREAD == 0)
        small_image[(size_t)GROUP_X * small_channels + GROUP_Y] = own[0];
}

KERNEL add_slices(TENSOR(dweights), TENSOR(slices), int count, int slice_count) {
    PLACE(dweights);
    INPUT(slices);
    const int i = GROUP_X * GROUP + THREAD;

    if (i < count) {
        float sum = 0.0f;
        for (int s = 0; s < slice_count; s++)
            sum += slices[(size_t)s * count + i];
        dweights[i] += sum;
    }
}
