/*
 * numbers.c - the number types of tensors, and their conversion to float32
 */
#include "safetensors.h"

#include <stdbool.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {[SAFETENSORS_F32] = {"F32", 4},
             [SAFETENSORS_I64] = {"I64", 8},
             [SAFETENSORS_F16] = {"F16", 2},
             [SAFETENSORS_BF16] = {"BF16", 2},
             [SAFETENSORS_F64] = {"F64", 8}};

size_t safetensors_element_size(safetensors_type type) {
    return types[type].size;
}

const char *safetensors_type_name(safetensors_type type) {
    return types[type].name;
}

int safetensors_type_of(const char *name, safetensors_type *type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = (safetensors_type)i;
            return 0;
        }
    return -1;
}

static float from_bits(uint32_t bits) {
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Widens a float16, which is exact. */
static float from_half(uint32_t half) {
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;

    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) /* fraction * 2^-24, which a float32 holds as a normal number */
        return (sign != 0 ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

float safetensors_number(safetensors_type type, const unsigned char *at) {
    double wide;

    if (type == SAFETENSORS_F16)
        return from_half((uint32_t)at[0] | (uint32_t)at[1] << 8);
    if (type == SAFETENSORS_BF16)
        return from_bits((uint32_t)at[0] << 16 | (uint32_t)at[1] << 24);
    if (type == SAFETENSORS_F64) {
        memcpy(&wide, at, sizeof wide);
        return (float)wide;
    }
    return from_bits((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                     (uint32_t)at[3] << 24);
}
