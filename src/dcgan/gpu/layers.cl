/*
 * layers.cl - batch norm and activations
 *
 * Batch norm sees x as [rows][channels] and cuts it twice: a group takes width channels (a power of
 * two up to 64: enough of them that neighbours read neighbours) of the rows of one slice. Its
 * GROUP / width rows of threads stream by the slice's rows; thread t has channel t % width.
 *
 *     kernel                        groups                       what
 *     moments_slices                channel blocks x slices      sums of x and x^2 of a slice
 *     moments_total                 channel blocks               adds up the slices, in order
 *     normalise                     channel blocks x slices      y
 *     normalise_backward_slices     channel blocks x slices      sums of dv and dv x^ of a slice
 *     normalise_backward_total      channel blocks               adds up; adds to dscale and dshift
 *     normalise_backward            channel blocks x slices      dx
 *     rectify ... (element-wise)    count / GROUP                one number a thread
 *
 * slices: [slice][4][channels], two pairs each; total: [2][channels]. Sums are pairs, so that
 * the variance may be taken from the sum of squares: 48 bits, of which the mean's square may eat
 * half.
 */

/* Which channel and rows a thread of batch norm has. */
typedef struct norm_part {
    int channel, row, end, step; /* channel = channels: none */
} norm_part;

INLINE norm_part find_part(int rows, int channels, int width, int slice_rows) {
    const int first = GROUP_Y * slice_rows;
    norm_part part;

    part.channel = GROUP_X * width + (THREAD & (width - 1));
    part.step = GROUP / width;
    part.row = first + THREAD / width;
    part.end = part.channel >= channels ? 0 : rows - first < slice_rows ? rows : first + slice_rows;
    return part;
}

/* Writes a group's two sums to its place among the slices. */
INLINE void write_slice(__global float *slices, pair a, pair b, int channels, int channel) {
    __global float *const at = slices + (size_t)GROUP_Y * 4 * channels + channel;

    at[0] = a.high;
    at[channels] = a.low;
    at[2 * channels] = b.high;
    at[3 * channels] = b.low;
}

/* Adds up every (GROUP / width)-th slice of a channel, in order. */
INLINE pair add_slices_of(__global const float *slices, int which, int slice_count, int channels,
                          int channel, int width) {
    pair sum = {0.0f, 0.0f};

    if (channel < channels)
        for (int s = THREAD / width; s < slice_count; s += GROUP / width) {
            __global const float *const at = slices + ((size_t)s * 4 + which) * channels + channel;
            const pair slice = {at[0], at[channels]};
            sum = pair_add(sum, slice);
        }
    return sum;
}

KERNEL moments_slices(TENSOR(slices), TENSOR(x), int rows, int channels, int width,
                      int slice_rows) {
    __local pair own[GROUP];
    PLACE(slices);
    INPUT(x);
    const norm_part part = find_part(rows, channels, width, slice_rows);
    pair sum = {0.0f, 0.0f}, square = {0.0f, 0.0f};

    for (int r = part.row; r < part.end; r += part.step) {
        const float v = x[(size_t)r * channels + part.channel];
        sum = pair_add_float(sum, v);
        square = pair_add(square, two_product(v, v));
    }
    sum = sum_of_threads(own, sum, width);
    BARRIER;
    square = sum_of_threads(own, square, width);
    if (THREAD < width && part.channel < channels)
        write_slice(slices, sum, square, channels, part.channel);
}

/* one is 1 / rows as a pair. */
KERNEL moments_total(TENSOR(mean), TENSOR(variance), TENSOR(slices), int slice_count, int channels,
                     int width, float one_high, float one_low) {
    __local pair own[GROUP];
    PLACE(mean);
    PLACE(variance);
    INPUT(slices);
    const int channel = GROUP_X * width + (THREAD & (width - 1));
    const pair one = {one_high, one_low};
    pair sum = add_slices_of(slices, 0, slice_count, channels, channel, width), square;

    sum = pair_multiply(sum_of_threads(own, sum, width), one);
    BARRIER;
    square = add_slices_of(slices, 2, slice_count, channels, channel, width);
    square = pair_multiply(sum_of_threads(own, square, width), one);
    if (THREAD < width && channel < channels) {
        const pair of_mean = pair_multiply(sum, sum), minus = {-of_mean.high, -of_mean.low};
        const pair rest = pair_add(square, minus);
        mean[channel] = sum.high;
        variance[channel] = rest.high < 0.0f ? 0.0f : rest.high; /* NaN stays */
    }
}

/* What turns x into the activation's input, for one channel. */
typedef struct norm_line {
    float mean, inverse, scale, shift;
} norm_line;

INLINE norm_line read_line(__global const float *mean, __global const float *variance,
                           __global const float *scale, __global const float *shift, int channel,
                           float epsilon) {
    norm_line line;

    line.mean = mean[channel];
    line.inverse = 1.0f / SQRT(variance[channel] + epsilon);
    line.scale = scale[channel];
    line.shift = shift[channel];
    return line;
}

/* Forward and backward must agree on its sign, to the bit. */
INLINE float on_line(norm_line line, float x) {
    return FMA((x - line.mean) * line.inverse, line.scale, line.shift);
}

KERNEL normalise(TENSOR(y), TENSOR(x), TENSOR(mean), TENSOR(variance), TENSOR(scale), TENSOR(shift),
                 int rows, int channels, int width, int slice_rows, float epsilon, float slope) {
    PLACE(y);
    PLACE(x);
    PLACE(mean);
    PLACE(variance);
    PLACE(scale);
    PLACE(shift);
    const norm_part part = find_part(rows, channels, width, slice_rows);

    if (part.channel < channels) {
        const norm_line line = read_line(mean, variance, scale, shift, part.channel, epsilon);
        for (int r = part.row; r < part.end; r += part.step) {
            const size_t i = (size_t)r * channels + part.channel;
            const float v = on_line(line, x[i]);
            y[i] = v > 0.0f ? v : slope * v;
        }
    }
}

KERNEL normalise_backward_slices(TENSOR(slices), TENSOR(dy), TENSOR(x), TENSOR(mean),
                                 TENSOR(variance), TENSOR(scale), TENSOR(shift), int rows,
                                 int channels, int width, int slice_rows, float epsilon,
                                 float slope) {
    __local pair own[GROUP];
    PLACE(slices);
    PLACE(dy);
    PLACE(x);
    PLACE(mean);
    PLACE(variance);
    PLACE(scale);
    PLACE(shift);
    const norm_part part = find_part(rows, channels, width, slice_rows);
    pair sum = {0.0f, 0.0f}, sum_x = {0.0f, 0.0f};

    if (part.channel < channels) {
        const norm_line line = read_line(mean, variance, scale, shift, part.channel, epsilon);
        for (int r = part.row; r < part.end; r += part.step) {
            const size_t i = (size_t)r * channels + part.channel;
            const float v = x[i], dv = on_line(line, v) > 0.0f ? dy[i] : slope * dy[i];
            sum = pair_add_float(sum, dv);
            sum_x = pair_add_float(sum_x, dv * ((v - line.mean) * line.inverse));
        }
    }
    sum = sum_of_threads(own, sum, width);
    BARRIER;
    sum_x = sum_of_threads(own, sum_x, width);
    if (THREAD < width && part.channel < channels)
        write_slice(slices, sum, sum_x, channels, part.channel);
}

/* total: means over rows of dv and of dv x^. Adds to dscale and dshift where that is wanted. */
KERNEL normalise_backward_total(TENSOR(total), TENSOR(dscale), TENSOR(dshift), TENSOR(slices),
                                int slice_count, int channels, int width, float one,
                                int want_dscale, int want_dshift) {
    __local pair own[GROUP];
    PLACE(total);
    PLACE(dscale);
    PLACE(dshift);
    INPUT(slices);
    const int channel = GROUP_X * width + (THREAD & (width - 1));
    pair sum = add_slices_of(slices, 0, slice_count, channels, channel, width), sum_x;

    sum = sum_of_threads(own, sum, width);
    BARRIER;
    sum_x = add_slices_of(slices, 2, slice_count, channels, channel, width);
    sum_x = sum_of_threads(own, sum_x, width);
    if (THREAD < width && channel < channels) {
        total[channel] = sum.high * one;
        total[channels + channel] = sum_x.high * one;
        if (want_dscale)
            dscale[channel] += sum_x.high;
        if (want_dshift)
            dshift[channel] += sum.high;
    }
}

KERNEL normalise_backward(TENSOR(dx), TENSOR(dy), TENSOR(total), TENSOR(x), TENSOR(mean),
                          TENSOR(variance), TENSOR(scale), TENSOR(shift), int rows, int channels,
                          int width, int slice_rows, float epsilon, float slope) {
    PLACE(dx);
    PLACE(dy);
    PLACE(total);
    PLACE(x);
    PLACE(mean);
    PLACE(variance);
    PLACE(scale);
    PLACE(shift);
    const norm_part part = find_part(rows, channels, width, slice_rows);

    if (part.channel < channels) {
        const norm_line line = read_line(mean, variance, scale, shift, part.channel, epsilon);
        const float mean_dv = total[part.channel], mean_dvx = total[channels + part.channel],
                    factor = line.scale * line.inverse;
        for (int r = part.row; r < part.end; r += part.step) {
            const size_t i = (size_t)r * channels + part.channel;
            const float v = x[i], dv = on_line(line, v) > 0.0f ? dy[i] : slope * dy[i];
            const float normalised = (v - line.mean) * line.inverse;
            dx[i] = factor * FMA(-normalised, mean_dvx, dv - mean_dv);
        }
    }
}

/* ---- activations, in place: one number a thread ---- */

#define ELEMENT (GROUP_X * GROUP + THREAD)

KERNEL rectify(TENSOR(x), int count, float slope) {
    PLACE(x);
    const int i = ELEMENT;

    if (i < count)
        x[i] = x[i] > 0.0f ? x[i] : slope * x[i];
}

KERNEL rectify_backward(TENSOR(dy), TENSOR(y), int count, float slope) {
    PLACE(dy);
    PLACE(y);
    const int i = ELEMENT;

    if (i < count)
        dy[i] = y[i] > 0.0f ? dy[i] : slope * dy[i];
}

/* tanh within about two ulps (Moshier's Cephes, tanhf). Beyond 10 it is 1 in a float. */
INLINE float tangent(float x) {
    const float size = magnitude(x), square = x * x;
    float p = -5.70498872745e-3f;

    if (x != x)
        return x;
    if (size > 0.625f) {
        const float t = 1.0f - 2.0f / (exponential(2.0f * (size < 10.0f ? size : 10.0f)) + 1.0f);
        return x < 0.0f ? -t : t;
    }
    p = FMA(p, square, 2.06390887954e-2f);
    p = FMA(p, square, -5.37397155531e-2f);
    p = FMA(p, square, 1.33314422036e-1f);
    p = FMA(p, square, -3.33332819422e-1f);
    return FMA(p * square, x, x);
}

KERNEL hyperbolic_tangent(TENSOR(x), int count) {
    PLACE(x);
    const int i = ELEMENT;

    if (i < count)
        x[i] = tangent(x[i]);
}

KERNEL hyperbolic_tangent_backward(TENSOR(dy), TENSOR(y), int count) {
    PLACE(dy);
    PLACE(y);
    const int i = ELEMENT;

    if (i < count)
        dy[i] = dy[i] * FMA(-y[i], y[i], 1.0f);
}
