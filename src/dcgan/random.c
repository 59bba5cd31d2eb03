/*
 * random.c - counter-based random numbers and the order of the images
 *
 * Nothing here has state: anybody can compute any number of any unit. docs/format.md sections 1 and
 * 2 describe it in words, with test vectors.
 */
#include "dcgan.h"

#include <math.h>

/* Computes one Philox4x32-10 block (Salmon et al. 2011). */
void dcgan_philox(const uint32_t counter[4], uint64_t seed, uint32_t result[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    result[0] = c0, result[1] = c1, result[2] = c2, result[3] = c3;
}

/* Turns one block into four standard normal deviates (Box and Muller 1958). */
void dcgan_normal(const uint32_t block[4], double deviates[4]) {
    const double two_pi = 6.283185307179586476925;

    for (int pair = 0; pair < 4; pair += 2) {
        double u = ((double)block[pair] + 1.0) * 0x1p-32; /* in (0, 1]: the logarithm is finite */
        double v = (double)block[pair + 1] * 0x1p-32;
        double radius = sqrt(-2.0 * log(u));
        deviates[pair] = radius * cos(two_pi * v);
        deviates[pair + 1] = radius * sin(two_pi * v);
    }
}

/* Fills z[count] with deviates 0 … count - 1 of the stream whose other counter words are c1, c2. */
void dcgan_noise(uint64_t seed, uint32_t c1, uint32_t c2, uint32_t stream, size_t count, real *z) {
    for (size_t j = 0; j < count; j += 4) {
        uint32_t block[4];
        double deviates[4];
        dcgan_philox((const uint32_t[4]){(uint32_t)(j / 4), c1, c2, stream}, seed, block);
        dcgan_normal(block, deviates);
        for (size_t k = 0; k < 4 && j + k < count; k++)
            z[j + k] = (real)(float)deviates[k];
    }
}

/* Computes standard normal deviate j of the stream that weights are drawn from. */
static double weight_deviate(uint64_t seed, uint64_t j) {
    uint32_t block[4];
    double deviates[4];
    dcgan_philox(
        (const uint32_t[4]){(uint32_t)(j / 4), (uint32_t)(j / 4 >> 32), 0, DCGAN_STREAM_WEIGHTS},
        seed, block);
    dcgan_normal(block, deviates);
    return deviates[j % 4];
}

/* Draws initial values of parameters first … first + count - 1 (docs/format.md section 5). */
void dcgan_initialise(const dcgan_model *model, uint64_t seed, size_t first, size_t count,
                      real *weights) {
    for (size_t t = 0; t < model->tensor_count; t++) {
        const dcgan_tensor *tensor = &model->tensors[t];
        size_t begin = tensor->offset > first ? tensor->offset : first;
        size_t end = tensor->offset + tensor->count;
        end = end < first + count ? end : first + count;
        for (size_t j = begin; j < end; j++)
            weights[j - first] =
                (real)(float)(tensor->mean + (tensor->deviation > 0
                                                  ? tensor->deviation * weight_deviate(seed, j)
                                                  : 0.0));
    }
}

/* Maps (left, right) halves through one Feistel network of six rounds. */
static uint64_t feistel(uint64_t x, int half_bits, uint32_t epoch, uint64_t seed) {
    uint32_t mask = (uint32_t)(((uint64_t)1 << half_bits) - 1);
    uint32_t left = (uint32_t)(x >> half_bits), right = (uint32_t)x & mask;

    for (uint32_t round = 0; round < 6; round++) {
        uint32_t block[4], swapped = right;
        dcgan_philox((const uint32_t[4]){right, round, epoch, DCGAN_STREAM_ORDER}, seed, block);
        right = left ^ (block[0] & mask);
        left = swapped;
    }
    return ((uint64_t)left << half_bits) + right;
}

/*
 * Maps a place in an epoch to an image number. The network permutes 0 … 4^h - 1; walking along its
 * cycle until we are back below images makes it a permutation of 0 … images - 1 (Black and Rogaway
 * 2002). 4^h < 4 images: under four walks on average.
 */
uint64_t dcgan_permute(uint64_t seed, uint64_t epoch, uint64_t images, uint64_t place) {
    int half_bits = 1;
    uint64_t x = place;

    while (((uint64_t)1 << 2 * half_bits) < images)
        half_bits++;
    do
        x = feistel(x, half_bits, (uint32_t)epoch, seed);
    while (x >= images);
    return x;
}
