/*
 * blob.c - the bytes in which weights, moments, gradients and statistics are stored and sent
 */
#include "blob.h"
#include "half.h"
#include "int8.h"

#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "blobs are little-endian, and so must the machine be for now"
#endif

static const unsigned char magic[4] = {'G', 'A', 'N', 'F'};

/* Says what is wrong, to follow "the blob": "is shorter than its header". */
const char *blob_status_text(blob_status status) {
    switch (status) {
    case BLOB_OK:
        return "is fine";
    case BLOB_SHORT:
        return "is shorter than its header of 24 bytes";
    case BLOB_MAGIC:
        return "does not begin with \"GANF\"";
    case BLOB_VERSION_NEW:
        return "is of a format version that is not known here";
    case BLOB_ELEMENT:
        return "is of another element type than is wanted here";
    case BLOB_RESERVED:
        return "has something in the reserved bytes of its header";
    case BLOB_COUNT:
        return "holds another number of elements than this shard has";
    case BLOB_LENGTH:
        return "has another length than its header says";
    case BLOB_CRC:
        return "was damaged on the way: its checksum does not fit its data";
    case BLOB_NUMBERS:
        return "holds scales or numbers that its element type does not have";
    }
    return "has an unknown status";
}

/* Names an element type as SQL and people do. */
const char *blob_element_name(blob_element element) {
    return element == BLOB_FLOAT16 ? "float16" : element == BLOB_INT8 ? "int8" : "float32";
}

/* Reads such a name; returns 0 if it is none. */
int blob_element_read(blob_element *element, const char *name) {
    for (*element = BLOB_FLOAT32; *element <= BLOB_INT8; (*element)++)
        if (strcmp(name, blob_element_name(*element)) == 0)
            return 1;
    return 0;
}

size_t blob_size_of(size_t count, blob_element element) {
    if (element == BLOB_INT8)
        return BLOB_HEADER_SIZE + int8_size(count);
    return BLOB_HEADER_SIZE + count * (element == BLOB_FLOAT16 ? sizeof(uint16_t) : sizeof(float));
}

size_t blob_size(size_t count) {
    return blob_size_of(count, BLOB_FLOAT32);
}

/* Fills the tables of the slicing-by-eight method: table[k][b] is the CRC of byte b followed by k
 * zero bytes. */
static void fill_tables(uint32_t table[8][256]) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0); /* the polynomial, bits reversed */
        table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

/* Computes a CRC-32C from tables, eight bytes at a time (Kounavis and Berry 2005): for machines
 * without the instruction. */
static uint32_t crc_by_table(uint32_t crc, const unsigned char *p, size_t size) {
    uint32_t table[8][256];

    fill_tables(table);
    for (; size >= 8; p += 8, size -= 8) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
              table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    for (; size; size--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return crc;
}

#ifdef __x86_64__
/* Computes a CRC-32C with the SSE 4.2 instruction. */
__attribute__((target("sse4.2"))) static uint32_t
crc_by_instruction(uint32_t crc, const unsigned char *p, size_t size) {
    uint64_t wide = crc;

    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size; size--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}

#define LANE                                                                                       \
    672 /* bytes of one of three streams; three of them are a quarter of a row of the server's */

/* x^(8 LANE - 33) and x^(16 LANE - 33) modulo the polynomial, bits reversed: times them, and
 * through the CRC instruction (which multiplies by x^33 with the product's shift), a CRC moves on
 * over one or two lanes. */
static const uint64_t over_one_lane = 0xCEC3662E, over_two_lanes = 0xC9C8B782;

/* Multiplies without carries; the low half of the product, which holds all of it for 32-bit
 * factors. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t multiply(uint32_t a, uint64_t b) {
    return (uint64_t)_mm_cvtsi128_si64(
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi64_si128((long long)b), 0));
}

/* The same in three streams: the instruction takes three cycles but one can begin in each. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t
crc_by_streams(uint32_t crc, const unsigned char *p, size_t size) {
    for (; size >= 3 * LANE; p += 3 * LANE, size -= 3 * LANE) {
        uint64_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            uint64_t word[3];
            memcpy(&word[0], p + i, 8);
            memcpy(&word[1], p + LANE + i, 8);
            memcpy(&word[2], p + 2 * LANE + i, 8);
            a = __builtin_ia32_crc32di(a, word[0]);
            b = __builtin_ia32_crc32di(b, word[1]);
            c = __builtin_ia32_crc32di(c, word[2]);
        }
        crc = (uint32_t)c ^
              (uint32_t)__builtin_ia32_crc32di(0, multiply((uint32_t)a, over_two_lanes) ^
                                                      multiply((uint32_t)b, over_one_lane));
    }
    return crc_by_instruction(crc, p, size);
}
#endif

/* Continues a CRC-32C over the data that follow; the CRC of no data is 0. */
uint32_t blob_crc32c_extend(uint32_t crc, const void *data, size_t size) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~(__builtin_cpu_supports("pclmul") ? crc_by_streams : crc_by_instruction)(~crc, data,
                                                                                         size);
#endif
    return ~crc_by_table(~crc, data, size);
}

/* Computes the CRC-32C (Castagnoli) of data. */
uint32_t blob_crc32c(const void *data, size_t size) {
    return blob_crc32c_extend(0, data, size);
}

/* Writes the header of data that are in place. */
static void write_header(unsigned char *blob, uint64_t count, uint16_t element, int16_t scale) {
    uint16_t version = BLOB_VERSION;
    uint32_t crc =
        blob_crc32c(blob + BLOB_HEADER_SIZE, blob_size_of(count, element) - BLOB_HEADER_SIZE);

    memcpy(blob, magic, 4);
    memcpy(blob + 4, &version, 2);
    memcpy(blob + 6, &element, 2);
    memcpy(blob + 8, &count, 8);
    memcpy(blob + 16, &crc, 4);
    memcpy(blob + 20, &scale, 2);
    memset(blob + 22, 0, 2);
}

/* Writes header and data; values may already lie behind the header. */
void blob_write(unsigned char *blob, const float *values, size_t count) {
    if ((const unsigned char *)values != blob + BLOB_HEADER_SIZE)
        memmove(blob + BLOB_HEADER_SIZE, values, count * sizeof(float));
    write_header(blob, count, BLOB_FLOAT32, 0);
}

/* Writes header and data as an element type; returns 0 if int8 is wanted and there is NaN or
 * infinity. */
int blob_encode(unsigned char *blob, const float *values, size_t count, blob_element element) {
    unsigned char *data = blob + BLOB_HEADER_SIZE;
    int scale = 0;

    if (element == BLOB_FLOAT32) {
        blob_write(blob, values, count);
        return 1;
    }
    if (element == BLOB_FLOAT16) {
        scale = half_scale(values, count);
        half_encode((uint16_t *)(void *)data, values, count, scale);
    } else if (!int8_encode(data, values, count))
        return 0;
    write_header(blob, count, (uint16_t)element, (int16_t)scale);
    return 1;
}

/* Reads the scale from the header of a float16 blob. */
static int stored_scale(const unsigned char *blob) {
    int16_t scale;
    memcpy(&scale, blob + 20, 2);
    return scale;
}

/* Reads the numbers of a checked blob. */
void blob_decode(float *values, const unsigned char *blob, size_t count, blob_element element) {
    const unsigned char *data = blob + BLOB_HEADER_SIZE;

    if (element == BLOB_FLOAT16)
        half_decode(values, (const uint16_t *)(const void *)data, count, stored_scale(blob));
    else if (element == BLOB_INT8)
        int8_decode(values, data, count);
    else
        memcpy(values, data, count * sizeof *values);
}

/* Adds float16 to numbers, a few at a time. */
static void add_half(float *values, const uint16_t *half, size_t count, int scale) {
    float wide[1024];
    const size_t many = sizeof wide / sizeof *wide;

    for (; count > 0; values += many, half += many) {
        size_t part = count < many ? count : many;
        half_decode(wide, half, part, scale);
        for (size_t i = 0; i < part; i++)
            values[i] += wide[i];
        count -= part;
    }
}

/* Adds the numbers of a checked blob of few bytes. */
void blob_add(float *values, const unsigned char *blob, size_t count, blob_element element) {
    const unsigned char *data = blob + BLOB_HEADER_SIZE;

    if (element == BLOB_INT8)
        int8_add(values, data, count);
    else
        add_half(values, (const uint16_t *)(const void *)data, count, stored_scale(blob));
}

/* Reads the checksum from the header of a checked blob. */
uint32_t blob_stored_crc(const unsigned char *blob) {
    uint32_t crc;
    memcpy(&crc, blob + 16, 4);
    return crc;
}

/* Tells whether the last four bytes of a header are valid. */
static int reserved_is_fine(const unsigned char *blob, blob_element element) {
    int scale = stored_scale(blob);

    return blob[22] == 0 && blob[23] == 0 &&
           (element == BLOB_FLOAT16 ? scale >= HALF_SCALE_MIN && scale <= HALF_SCALE_MAX
                                    : scale == 0);
}

/* Checks all but the checksum of a blob of some type, the cheap tests first; only the header is
 * read. */
static blob_status check_header(const unsigned char *blob, size_t size, size_t count,
                                blob_element wanted) {
    uint16_t version, element;
    uint64_t elements;

    if (size < BLOB_HEADER_SIZE)
        return BLOB_SHORT;
    memcpy(&version, blob + 4, 2);
    memcpy(&element, blob + 6, 2);
    memcpy(&elements, blob + 8, 8);
    if (memcmp(blob, magic, 4) != 0)
        return BLOB_MAGIC;
    if (version != BLOB_VERSION)
        return BLOB_VERSION_NEW;
    if (element != wanted)
        return BLOB_ELEMENT;
    if (!reserved_is_fine(blob, wanted))
        return BLOB_RESERVED;
    if (elements != count)
        return BLOB_COUNT;
    if (size != blob_size_of(count, wanted))
        return BLOB_LENGTH;
    return BLOB_OK;
}

/* Checks all of a blob of some type. */
blob_status blob_check_element(const unsigned char *blob, size_t size, size_t count,
                               blob_element element) {
    blob_status status = check_header(blob, size, count, element);

    if (status != BLOB_OK)
        return status;
    if (blob_crc32c(blob + BLOB_HEADER_SIZE, size - BLOB_HEADER_SIZE) != blob_stored_crc(blob))
        return BLOB_CRC;
    if (element == BLOB_INT8 && !int8_check(blob + BLOB_HEADER_SIZE, count))
        return BLOB_NUMBERS;
    return BLOB_OK;
}

blob_status blob_check_header(const unsigned char *blob, size_t size, size_t count) {
    return check_header(blob, size, count, BLOB_FLOAT32);
}

blob_status blob_check(const unsigned char *blob, size_t size, size_t count) {
    return blob_check_element(blob, size, count, BLOB_FLOAT32);
}

size_t shard_total(size_t count) {
    return (count + SHARD_COUNT - 1) / SHARD_COUNT;
}

size_t shard_length(size_t count, size_t shard) {
    size_t first = shard * SHARD_COUNT;
    if (first >= count)
        return 0;
    return count - first < SHARD_COUNT ? count - first : SHARD_COUNT;
}
