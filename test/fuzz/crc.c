/*
 * crc.c - fuzzing of the checksum: every path, alignment and division against the definition, bit
 * by bit
 */
#include "fuzz.h"

#include "../../src/formats/wire/blob.h"

/* CRC-32C as RFC 3720 defines it. */
static uint32_t by_definition(const uint8_t *p, size_t size) {
    uint32_t crc = ~0u;

    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
    size_t first;
    uint32_t crc;

    if (length < 1)
        return 0;
    first = (length - 1) * input[0] / 255;
    crc = blob_crc32c(input + 1, length - 1);
    FUZZ_REQUIRE(crc == by_definition(input + 1, length - 1));
    FUZZ_REQUIRE(crc == blob_crc32c_extend(blob_crc32c(input + 1, first), input + 1 + first,
                                           length - 1 - first));
    return 0;
}
