/*
 * half.c - float16 and back
 */
#include "half.h"

#include "bits.h"

#include <math.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#endif

/* Computes 2^exponent for -126 … 127. */
static float power_of_two(int exponent) {
    return float_of((uint32_t)(exponent + 127) << 23);
}

int half_scale(const float *x, size_t count) {
    uint32_t largest = 0; /* of non-negative floats, the larger one has the larger bits */
    int scale;

    for (size_t i = 0; i < count; i++) {
        uint32_t magnitude = bits_of(x[i]) & 0x7FFFFFFF;
        magnitude = magnitude < 0x7F800000 ? magnitude : 0;
        largest = magnitude > largest ? magnitude : largest;
    }
    if (largest == 0)
        return 0;
    /* a subnormal counts as 2^-127: the limit is above that */
    scale = (int)(largest >> 23) - 127 - 14;
    return scale < HALF_SCALE_MIN ? HALF_SCALE_MIN : scale;
}

/* Rounds one number: to nearest, ties to even. */
static uint16_t round_to_half(float x) {
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;

    if (magnitude > 0x7F800000) /* NaN, made quiet as the instruction does */
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) /* 65520: half way from 65504 to what would come next */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude <
        0x38800000) /* below 2^-14: adding 0.5 leaves the last 24 bits of the fraction, rounded by
                                   the processor */
        return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f)));
    /* Another bias, and half a unit in the last place more; at a tie only if that place is odd. */
    return (uint16_t)(sign |
                      (magnitude - ((127 - 15) << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13);
}

/* Widens one number; exact. */
static float widen_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7FFF;

    if (magnitude >= 0x7C00)
        return float_of(sign | 0x7F800000 | (magnitude & 0x3FF) << 13 |
                        (magnitude > 0x7C00 ? 0x400000u : 0));
    if (magnitude < 0x400) /* subnormal: a multiple of 2^-24 */
        return float_of(sign | bits_of((float)magnitude * 0x1p-24f));
    return float_of(sign | ((magnitude << 13) + ((127 - 15) << 23)));
}

void half_encode_portable(uint16_t *half, const float *x, size_t count, int scale) {
    float factor = power_of_two(-scale);

    for (size_t i = 0; i < count; i++)
        half[i] = round_to_half(x[i] * factor);
}

void half_decode_portable(float *x, const uint16_t *half, size_t count, int scale) {
    float factor = power_of_two(scale);

    for (size_t i = 0; i < count; i++)
        x[i] = widen_half(half[i]) * factor;
}

#ifdef __x86_64__
__attribute__((target("avx,f16c"))) static void
encode_by_instruction(uint16_t *half, const float *x, size_t count, int scale) {
    __m256 factor = _mm256_set1_ps(power_of_two(-scale));
    size_t i = 0;

    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(half + i),
                         _mm256_cvtps_ph(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    half_encode_portable(half + i, x + i, count - i, scale);
}

__attribute__((target("avx,f16c"))) static void
decode_by_instruction(float *x, const uint16_t *half, size_t count, int scale) {
    __m256 factor = _mm256_set1_ps(power_of_two(scale));
    size_t i = 0;

    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128(
                                                  (const __m128i *)(const void *)(half + i))),
                                              factor));
    half_decode_portable(x + i, half + i, count - i, scale);
}

/* Tells whether processor and operating system support the instructions. We ask once: in a virtual
 * machine the question takes longer than a thousand conversions. (Clang 14 doesn't know F16C by
 * name.) */
static int has_instruction(void) {
    enum { UNKNOWN, NO, YES };
    static atomic_int known = UNKNOWN;
    unsigned a, b, c, d;

    if (known == UNKNOWN)
        known = __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C)
                    ? YES
                    : NO;
    return known == YES;
}
#endif

void half_encode(uint16_t *half, const float *x, size_t count, int scale) {
#ifdef __x86_64__
    if (has_instruction()) {
        encode_by_instruction(half, x, count, scale);
        return;
    }
#endif
    half_encode_portable(half, x, count, scale);
}

void half_decode(float *x, const uint16_t *half, size_t count, int scale) {
#ifdef __x86_64__
    if (has_instruction()) {
        decode_by_instruction(x, half, count, scale);
        return;
    }
#endif
    half_decode_portable(x, half, count, scale);
}
