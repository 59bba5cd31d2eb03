/*
 * unit.cl - what a unit makes of the networks' outputs, and moving numbers
 *
 *     kernel                                   groups          what
 *     samples, zero, difference, adam          count / GROUP   one number a thread
 *     add_statistics                           channels / GROUP
 *     judge                                    1               a minibatch of logits
 *     finite_groups                            up to GROUP     1 where a group's part is not finite
 *     finite_total                             1               spoils the sum then
 */

/* log(1 + e^-size), size >= 0: the difference between softplus and the rectifier. With e = e^-size,
 * log(1 + e) = 2 artanh(e / (2 + e)), whose series of terms above zero loses nothing. */
INLINE float log_rest(float size) {
    const float e = exponential(-size), s = e / (2.0f + e), square = s * s;
    float p = 1.0f / 17.0f;

    p = FMA(p, square, 1.0f / 15.0f);
    p = FMA(p, square, 1.0f / 13.0f);
    p = FMA(p, square, 1.0f / 11.0f);
    p = FMA(p, square, 1.0f / 9.0f);
    p = FMA(p, square, 1.0f / 7.0f);
    p = FMA(p, square, 1.0f / 5.0f);
    p = FMA(p, square, 1.0f / 3.0f);
    return 2.0f * FMA(p * square, s, s);
}

/* 1 / (1 + e^-x), without loss on either side. */
INLINE float sigmoid(float x) {
    const float e = exponential(-magnitude(x));
    return x < 0.0f ? e / (1.0f + e) : 1.0f / (1.0f + e);
}

/* target 1: loss softplus(-l), derivative sigmoid(l) - 1 = -sigmoid(-l); target 0: softplus(l) and
 * sigmoid(l). */
KERNEL judge(TENSOR(dlogits), TENSOR(loss), TENSOR(hits), TENSOR(logits), int count, int target,
             float weight, int want_dlogits) {
    __local pair own[GROUP];
    PLACE(dlogits);
    PLACE(loss);
    PLACE(hits);
    PLACE(logits);
    pair losses = {0.0f, 0.0f}, right = {0.0f, 0.0f};

    for (int i = THREAD; i < count; i += GROUP) {
        /* how wrong it is: above zero on the wrong side */
        const float logit = logits[i], wrong = target ? -logit : logit;
        const float derivative = weight * sigmoid(wrong);
        losses = pair_add_float(losses, wrong > 0.0f ? wrong : wrong != wrong ? wrong : 0.0f);
        losses = pair_add_float(losses, log_rest(magnitude(wrong)));
        right.high += wrong < 0.0f ? 1.0f : 0.0f;
        if (want_dlogits)
            dlogits[i] = target ? -derivative : derivative;
    }
    losses = sum_of_threads(own, losses, 1);
    BARRIER;
    right = sum_of_threads(own, right, 1);
    if (THREAD == 0) {
        add_to_sum(loss, losses);
        add_to_sum(hits, right);
    }
}

/* The weight is a pair. */
KERNEL add_statistics(TENSOR(sums), TENSOR(mean), TENSOR(variance), int channels, float weight_high,
                      float weight_low) {
    PLACE(sums);
    PLACE(mean);
    PLACE(variance);
    const int c = GROUP_X * GROUP + THREAD;

    if (c < channels) {
        const pair weight = {weight_high, weight_low}, first = {mean[c], 0.0f};
        const pair second = pair_add_float(two_product(mean[c], mean[c]), variance[c]);
        add_to_sum(sums + 2 * c, pair_multiply(weight, first));
        add_to_sum(sums + 2 * (channels + c), pair_multiply(weight, second));
    }
}

/* The formula of optimise/adam.c, operation by operation. */
KERNEL adam(TENSOR(weights), TENSOR(moment1), TENSOR(moment2), TENSOR(gradient), int count,
            float beta1, float beta2, float rest1, float rest2, float rate, float root,
            float epsilon) {
    PLACE(weights);
    PLACE(moment1);
    PLACE(moment2);
    PLACE(gradient);
    const int i = GROUP_X * GROUP + THREAD;

    if (i < count) {
        const float g = gradient[i], m = beta1 * moment1[i] + rest1 * g,
                    v = beta2 * moment2[i] + rest2 * g * g;
        moment1[i] = m;
        moment2[i] = v;
        weights[i] -= rate * m / (SQRT(v) / root + epsilon);
        gradient[i] = 0.0f;
    }
}

KERNEL difference(TENSOR(d), TENSOR(a), TENSOR(b), int count) {
    PLACE(d);
    PLACE(a);
    PLACE(b);
    const int i = GROUP_X * GROUP + THREAD;

    if (i < count)
        d[i] = a[i] - b[i];
}

KERNEL zero(TENSOR(x), int count) {
    PLACE(x);
    const int i = GROUP_X * GROUP + THREAD;

    if (i < count)
        x[i] = 0.0f;
}

/* 8-bit samples to [-1, 1] */
KERNEL samples(TENSOR(x), __global const uchar *bytes, int count) {
    PLACE(x);
    const int i = GROUP_X * GROUP + THREAD;

    if (i < count)
        x[i] = (float)bytes[i] / 127.5f - 1.0f;
}

/* Tells whether any thread of a group found something: all of its threads must ask. */
INLINE int any_of_threads(__local int *own, int found) {
    const int thread = THREAD;

    own[thread] = found;
    for (int reach = GROUP / 2; reach >= 1; reach /= 2) {
        BARRIER;
        if (thread < reach)
            own[thread] |= own[thread + reach];
    }
    BARRIER;
    return own[0];
}

KERNEL finite_groups(TENSOR(groups), TENSOR(x), int count) {
    __local int own[GROUP];
    PLACE(groups);
    INPUT(x);
    int found = 0;

    for (uint i = GROUP_X * GROUP + THREAD; i < (uint)count; i += GROUPS_X * GROUP)
        found |= !is_finite(x[i]);
    found = any_of_threads(own, found);
    if (THREAD == 0)
        groups[GROUP_X] = found ? 1.0f : 0.0f;
}

KERNEL finite_total(TENSOR(sum), TENSOR(groups), int group_count) {
    __local int own[GROUP];
    PLACE(sum);
    INPUT(groups);
    const int found = any_of_threads(own, THREAD < group_count ? groups[THREAD] > 0.0f : 0);

    if (THREAD == 0 && found)
        sum[0] = not_a_number();
}
