/*
 * inflate64.c - Deflate64: RFC 1951 with a window of 64 kB, two more distance codes, and a last
 * length code of 16 extra bits. Everything is in memory, so the output is the window.
 */
#include "inflate64.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define CODE_BITS 15
#define LENGTHS 286
#define DISTANCES 32

/* The bits that are left, and the output so far. */
typedef struct stream {
    const unsigned char *from;
    size_t from_size, at;
    uint32_t held;
    unsigned held_bits;
    unsigned char *to;
    size_t size, done;
    bool failed; /* the input ended early */
} stream;

/* A canonical Huffman code: how many codes have each length, and the symbols in their order. */
typedef struct huffman {
    uint16_t count[CODE_BITS + 1];
    uint16_t symbol[288];
} huffman;

/* Takes up to 16 bits, the lowest first. */
static unsigned take(stream *s, unsigned bits) {
    unsigned value;

    while (s->held_bits < bits) {
        if (s->at == s->from_size) {
            s->failed = true;
            return 0;
        }
        s->held |= (uint32_t)s->from[s->at++] << s->held_bits;
        s->held_bits += 8;
    }
    value = s->held & ((1u << bits) - 1);
    s->held >>= bits;
    s->held_bits -= bits;
    return value;
}

/* Makes a code from its symbols' lengths. Returns false if no code has these lengths. */
static bool build(huffman *code, const uint8_t *lengths, size_t symbols) {
    uint16_t next[CODE_BITS + 1];
    int left = 1;

    memset(code->count, 0, sizeof code->count);
    for (size_t i = 0; i < symbols; i++)
        code->count[lengths[i]]++;
    for (size_t length = 1; length <= CODE_BITS; length++)
        if ((left = 2 * left - code->count[length]) < 0)
            return false;
    next[1] = 0;
    for (size_t length = 1; length < CODE_BITS; length++)
        next[length + 1] = (uint16_t)(next[length] + code->count[length]);
    for (size_t i = 0; i < symbols; i++)
        if (lengths[i] != 0)
            code->symbol[next[lengths[i]]++] = (uint16_t)i;
    return left == 0 || symbols - code->count[0] <= 1; /* a code of one symbol may be incomplete */
}

/* Reads a symbol; -1 if the bits are not a symbol. */
static int decode(stream *s, const huffman *code) {
    int value = 0, first = 0, index = 0;

    for (size_t length = 1; length <= CODE_BITS; length++) {
        value |= (int)take(s, 1);
        if (s->failed)
            return -1;
        if (value - code->count[length] < first)
            return code->symbol[index + (value - first)];
        index += code->count[length];
        first = (first + code->count[length]) << 1;
        value <<= 1;
    }
    return -1;
}

/* Copies a stored block. */
static bool stored(stream *s) {
    unsigned length, inverse;

    s->held = 0;
    s->held_bits = 0;
    length = take(s, 16);
    inverse = take(s, 16);
    if (s->failed || length != (inverse ^ 0xffff) || length > s->from_size - s->at ||
        length > s->size - s->done)
        return false;
    memcpy(s->to + s->done, s->from + s->at, length);
    s->at += length;
    s->done += length;
    return true;
}

/* Reads the length of a match by its symbol; 0 if there is no such symbol. */
static size_t match_length(stream *s, int symbol) {
    static const uint16_t base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 3};
    static const uint8_t extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                    2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 16};

    return symbol < 257 || symbol > 285 ? 0 : base[symbol - 257] + take(s, extra[symbol - 257]);
}

/* Copies a match from the earlier output. */
static bool match(stream *s, int symbol, const huffman *distances) {
    size_t length = match_length(s, symbol), distance;
    int code = decode(s, distances);

    if (code < 0 || code >= DISTANCES || length == 0)
        return false;
    distance = code < 4 ? (size_t)code + 1
                        : (((size_t)2 + (size_t)(code & 1)) << (code / 2 - 1)) + 1 +
                              take(s, (unsigned)code / 2 - 1);
    if (s->failed || distance > s->done || length > s->size - s->done)
        return false;
    for (; length > 0; length--, s->done++)
        s->to[s->done] = s->to[s->done - distance];
    return true;
}

/* Decompresses a block to its end. */
static bool block(stream *s, const huffman *lengths, const huffman *distances) {
    for (;;) {
        int symbol = decode(s, lengths);

        if (symbol == 256)
            return true;
        if (symbol < 0 || (symbol < 256 && s->done == s->size) ||
            (symbol > 256 && !match(s, symbol, distances)))
            return false;
        if (symbol < 256)
            s->to[s->done++] = (unsigned char)symbol;
    }
}

/* A block with the codes that the format fixes. */
static bool fixed_block(stream *s) {
    huffman lengths, distances;
    uint8_t bits[288];

    for (int i = 0; i < 288; i++)
        bits[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    build(&lengths, bits, 288);
    memset(bits, 5, DISTANCES);
    build(&distances, bits, DISTANCES);
    return block(s, &lengths, &distances);
}

/* Reads the lengths of both codes of a block, which are coded themselves. */
static bool read_lengths(stream *s, const huffman *code, uint8_t *bits, size_t count) {
    for (size_t i = 0; i < count;) {
        int symbol = decode(s, code);
        size_t again = 1;
        uint8_t value = (uint8_t)symbol;

        if (symbol < 0 || (symbol == 16 && i == 0))
            return false;
        if (symbol >= 16) {
            value = symbol == 16 ? bits[i - 1] : 0;
            again = symbol == 16 ? 3 + take(s, 2) : symbol == 17 ? 3 + take(s, 3) : 11 + take(s, 7);
        }
        if (s->failed || again > count - i)
            return false;
        memset(bits + i, value, again);
        i += again;
    }
    return true;
}

/* A block that brings its codes. */
static bool dynamic_block(stream *s) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                      11, 4,  12, 3, 13, 2, 14, 1, 15};
    size_t lengths = 257 + take(s, 5), distances = 1 + take(s, 5), codes = 4 + take(s, 4);
    uint8_t bits[LENGTHS + 2 + DISTANCES] = {0};
    huffman first, second;

    if (s->failed || lengths > LENGTHS)
        return false;
    for (size_t i = 0; i < codes; i++)
        bits[order[i]] = (uint8_t)take(s, 3);
    if (s->failed || !build(&first, bits, 19))
        return false;
    memset(bits, 0, sizeof bits);
    if (!read_lengths(s, &first, bits, lengths + distances) || bits[256] == 0 ||
        !build(&first, bits, lengths) || !build(&second, bits + lengths, distances))
        return false;
    return block(s, &first, &second);
}

int inflate64(const unsigned char *from, size_t from_size, unsigned char *to, size_t size) {
    stream s = {.from = from, .from_size = from_size, .to = to, .size = size};
    bool last, good;

    do {
        last = take(&s, 1) == 1;
        switch (take(&s, 2)) {
        case 0:
            good = !s.failed && stored(&s);
            break;
        case 1:
            good = fixed_block(&s);
            break;
        case 2:
            good = dynamic_block(&s);
            break;
        default:
            good = false;
        }
    } while (good && !last);
    return good && s.done == size ? 0 : -1;
}
