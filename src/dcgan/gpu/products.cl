/*
 * products.cl - convolution, transposed convolution and weight gradient as products of matrices
 *
 * Compiled once for each size of tile: BLOCK is 4 or 8, and PRODUCT(name) names a kernel of it. A
 * group computes a tile of TILE x TILE numbers of the result, TILE = 16 BLOCK, each of its 16 x 16
 * threads a block of BLOCK x BLOCK. DEPTH columns of the left and rows of the right matrix at a
 * time go through local memory, while the next ones are on their way. Neither matrix exists: what
 * a thread loads it looks up in the images. What is outside of image or matrix is 0.
 *
 *     kernel     rows M            columns N            sum over K               groups
 *     down       images h w        small_channels       ky, kx, large_channels   M, N
 *     up         images h w        large_channels       the 4 taps of a parity,  M, N, 4 parities
 *                                                       small_channels
 *     up, 1x1    images            16 large_channels    small_channels           M, N
 *     gradient   small_channels    16 large_channels    images h w of a slice    M, N, slices
 *
 * Every number of a result is added up by one thread in the order of k, from the first to the last:
 * the bits don't depend on the tile.
 */
#define TILE (16 * BLOCK)
#define PIECES (BLOCK / 4)    /* float4s of a thread's rows, and of its columns */
#define STRIDE (TILE / 4 + 1) /* float4s from one k to the next; odd, so that banks differ */
#define AT(k, i) ((k)*4 * STRIDE + (i))

/* Takes a tile of both matrices, transposed to [DEPTH][TILE], and adds their product to a thread's
 * block. Rows 4 y ... 4 y + 3 of each 64 belong to thread row y, columns likewise. */
INLINE void PRODUCT(multiply)(float sum[BLOCK][BLOCK], __local const float4 *left,
                              __local const float4 *right) {
    const int row = THREAD / 16, column = THREAD % 16;

#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        float a[BLOCK], b[BLOCK];
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            const float4 u = left[k * STRIDE + row + 16 * p],
                         v = right[k * STRIDE + column + 16 * p];
            a[4 * p] = u.x, a[4 * p + 1] = u.y, a[4 * p + 2] = u.z, a[4 * p + 3] = u.w;
            b[4 * p] = v.x, b[4 * p + 1] = v.y, b[4 * p + 2] = v.z, b[4 * p + 3] = v.w;
        }
#pragma unroll
        for (int i = 0; i < BLOCK; i++)
#pragma unroll
            for (int j = 0; j < BLOCK; j++)
                sum[i][j] = FMA(a[i], b[j], sum[i][j]);
    }
}

/* The place in a tile of a thread's row (or column) number i. */
#define OWN(thread, i) ((i) / 4 * 64 + (thread)*4 + (i) % 4)

KERNEL PRODUCT(down)(TENSOR(small_image), TENSOR(large_image), TENSOR(weights), int images,
                     convolution_parameters) {
    __local float4 left[DEPTH * STRIDE], right[DEPTH * STRIDE];
    PLACE(small_image);
    INPUT(large_image);
    INPUT(weights);
    const int rows = images * h * w, depth = 16 * large_channels;
    const int lane = THREAD % DEPTH, line = THREAD / DEPTH;
    const int first_row = GROUP_X * TILE, first_column = GROUP_Y * TILE;
    float sum[BLOCK][BLOCK], a[BLOCK], b[BLOCK];
    int corner[BLOCK], inside[BLOCK]; /* of each row: its place, and a bit for each tap */
    int tap = 0, channel = lane;

#pragma unroll
    for (int i = 0; i < BLOCK; i++) {
        const int row = first_row + line + 16 * i, image = row / (h * w), pixel = row % (h * w);
        const int y = stride * (pixel / w) - padding, x = stride * (pixel % w) - padding;
        corner[i] = ((image * height + y) * width + x) * large_channels;
        inside[i] = row < rows ? taps_inside(y, x, height, width) : 0;
#pragma unroll
        for (int j = 0; j < BLOCK; j++)
            sum[i][j] = 0.0f;
    }
    for (int k = 0; k < depth + DEPTH; k += DEPTH) {
        if (k > 0) {
            BARRIER;
#pragma unroll
            for (int i = 0; i < BLOCK; i++) {
                ((__local float *)left)[AT(lane, line + 16 * i)] = a[i];
                ((__local float *)right)[AT(lane, line + 16 * i)] = b[i];
            }
            BARRIER;
        }
        if (k < depth) {
            while (channel >= large_channels)
                channel -= large_channels, tap++;
            const int offset = (tap / 4 * width + tap % 4) * large_channels + channel;
#pragma unroll
            for (int i = 0; i < BLOCK; i++) {
                const int column = first_column + line + 16 * i, there = k + lane < depth;
                a[i] = there && inside[i] >> tap & 1 ? large_image[corner[i] + offset] : 0.0f;
                b[i] = there && column < small_channels ? weights[(size_t)column * depth + k + lane]
                                                        : 0.0f;
            }
            channel += DEPTH;
        }
        if (k > 0)
            PRODUCT(multiply)(sum, left, right);
    }
#pragma unroll
    for (int i = 0; i < BLOCK; i++)
#pragma unroll
        for (int j = 0; j < BLOCK; j++) {
            const int row = first_row + OWN(THREAD / 16, i),
                      column = first_column + OWN(THREAD % 16, j);
            if (row < rows && column < small_channels)
                small_image[(size_t)row * small_channels + column] = sum[i][j];
        }
}

/* The pixels of the larger image fall into four parities of row and column. Those of one parity
 * are a convolution of the smaller image with 2 x 2 of the 4 x 4 weights. Between 1x1 and 4x4 there
 * is one tap, and the 16 pixels are the columns. */
KERNEL PRODUCT(up)(TENSOR(large_image), TENSOR(small_image), TENSOR(weights), int images,
                   convolution_parameters) {
    __local float4 left[DEPTH * STRIDE], right[DEPTH * STRIDE];
    PLACE(large_image);
    INPUT(small_image);
    INPUT(weights);
    const int one = stride == 1, parity_y = GROUP_Z / 2, parity_x = GROUP_Z % 2;
    const int rows = images * h * w, columns = one ? 16 * large_channels : large_channels;
    const int depth = one ? small_channels : 4 * small_channels;
    const int lane = THREAD % DEPTH, line = THREAD / DEPTH;
    const int first_row = GROUP_X * TILE, first_column = GROUP_Y * TILE;
    float sum[BLOCK][BLOCK], a[BLOCK], b[BLOCK];
    int inside[BLOCK];
    int a_tap = 0, a_channel = lane, b_tap = 0, b_channel = line;

#pragma unroll
    for (int i = 0; i < BLOCK; i++) {
        const int row = first_row + line + 16 * i, pixel = row % (h * w);
        inside[i] = row >= rows ? 0
                    : one       ? 1
                          : parity_taps_inside(pixel / w, pixel % w, h, w, parity_y, parity_x);
#pragma unroll
        for (int j = 0; j < BLOCK; j++)
            sum[i][j] = 0.0f;
    }
    for (int k = 0; k < depth + DEPTH; k += DEPTH) {
        if (k > 0) {
            BARRIER;
#pragma unroll
            for (int i = 0; i < BLOCK; i++) {
                ((__local float *)left)[AT(lane, line + 16 * i)] = a[i];
                ((__local float *)right)[AT(line, lane + 16 * i)] = b[i];
            }
            BARRIER;
        }
        if (k < depth) {
            while (a_channel >= small_channels)
                a_channel -= small_channels, a_tap++;
            while (b_channel >= small_channels)
                b_channel -= small_channels, b_tap++;
            const int offset =
                one ? a_channel
                    : (parity_shift(a_tap / 2, parity_y) * w + parity_shift(a_tap % 2, parity_x)) *
                              small_channels +
                          a_channel;
            const int weight =
                one ? 0
                    : 4 * parity_kernel(b_tap / 2, parity_y) + parity_kernel(b_tap % 2, parity_x);
            const size_t from = ((size_t)b_channel * 16 + weight) * large_channels;
#pragma unroll
            for (int i = 0; i < BLOCK; i++) {
                const int row = first_row + line + 16 * i, column = first_column + lane + 16 * i;
                a[i] = k + lane < depth && inside[i] >> a_tap & 1
                           ? small_image[row * small_channels + offset]
                           : 0.0f;
                b[i] = k + line < depth && column < columns ? weights[from + column] : 0.0f;
            }
            a_channel += DEPTH;
            b_channel += DEPTH;
        }
        if (k > 0)
            PRODUCT(multiply)(sum, left, right);
    }
#pragma unroll
    for (int i = 0; i < BLOCK; i++) {
        const int row = first_row + OWN(THREAD / 16, i);
        const size_t to = one ? (size_t)row * columns
                              : parity_pixel(row, h, w, parity_y, parity_x) * large_channels;
#pragma unroll
        for (int j = 0; j < BLOCK; j++) {
            const int column = first_column + OWN(THREAD % 16, j);
            if (row < rows && column < columns)
                large_image[to + column] = sum[i][j];
        }
    }
}

/* A slice of the rows, into its place among slices[slice][small_channels][16][large_channels]. */
KERNEL PRODUCT(gradient)(TENSOR(slices), TENSOR(large_image), TENSOR(small_image), int images,
                         convolution_parameters, int slice_rows) {
    __local float4 left[DEPTH * STRIDE], right[DEPTH * STRIDE];
    PLACE(slices);
    INPUT(large_image);
    INPUT(small_image);
    const int rows = images * h * w, columns = 16 * large_channels;
    const int begin = GROUP_Z * slice_rows;
    const int end = rows - begin < slice_rows ? rows : begin + slice_rows;
    const int lane = THREAD % 16, line = THREAD / 16;
    const int first_row = GROUP_X * TILE, first_column = GROUP_Y * TILE;
    /* the row of the images that this thread looks up: advanced by DEPTH without a division */
    int image = (begin + line) / (h * w), i = (begin + line) / w % h, j = (begin + line) % w;
    float sum[BLOCK][BLOCK], a[BLOCK], b[BLOCK];
    int kernel_y[BLOCK], kernel_x[BLOCK], offset[BLOCK]; /* of each column */

#pragma unroll
    for (int n = 0; n < BLOCK; n++) {
        const int column = first_column + lane + 16 * n, tap = column / large_channels;
        /* what is behind the last column is above every image */
        kernel_y[n] = column < columns ? tap / 4 - padding : -height - 4 * (h + 1);
        kernel_x[n] = tap % 4 - padding;
        offset[n] = (kernel_y[n] * width + kernel_x[n]) * large_channels + column % large_channels;
#pragma unroll
        for (int m = 0; m < BLOCK; m++)
            sum[n][m] = 0.0f;
    }
    for (int r = begin; r < end + DEPTH; r += DEPTH) {
        if (r > begin) {
            BARRIER;
#pragma unroll
            for (int n = 0; n < BLOCK; n++) {
                ((__local float *)left)[AT(line, lane + 16 * n)] = a[n];
                ((__local float *)right)[AT(line, lane + 16 * n)] = b[n];
            }
            BARRIER;
        }
        if (r < end) {
            const int there = r + line < end, y = stride * i, x = stride * j;
            const int corner = ((image * height + y) * width + x) * large_channels;
#pragma unroll
            for (int n = 0; n < BLOCK; n++) {
                const int row = first_row + lane + 16 * n;
                a[n] = there && row < small_channels
                           ? small_image[(r + line) * small_channels + row]
                           : 0.0f;
                b[n] = there && is_inside(y + kernel_y[n], x + kernel_x[n], height, width)
                           ? large_image[corner + offset[n]]
                           : 0.0f;
            }
            for (j += DEPTH; j >= w; i++)
                j -= w;
            for (; i >= h; image++)
                i -= h;
        }
        if (r > begin)
            PRODUCT(multiply)(sum, left, right);
    }
#pragma unroll
    for (int m = 0; m < BLOCK; m++)
#pragma unroll
        for (int n = 0; n < BLOCK; n++) {
            const int row = first_row + OWN(THREAD / 16, m),
                      column = first_column + OWN(THREAD % 16, n);
            if (row < small_channels && column < columns)
                slices[((size_t)GROUP_Z * small_channels + row) * columns + column] = sum[m][n];
        }
}

#undef TILE
#undef PIECES
#undef STRIDE
#undef AT
#undef OWN
