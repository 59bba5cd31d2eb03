/*
 * read.c - the reader: a strict parser of the small part of JSON that safetensors headers use
 *
 * It knows objects, strings and arrays of whole numbers, where the format has them. Everything else
 * in JSON is refused, and so are duplicate names.
 */
#include "safetensors.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The place in the header, and where the error goes. After a failure every function returns
 * false. */
typedef struct parser {
    const unsigned char *bytes;
    size_t at, end;
    char *error;
    size_t error_size;
} parser;

static bool fail(parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what is wrong. */
static bool fail(parser *p, const char *format, ...) {
    va_list values;

    va_start(values, format);
    vsnprintf(p->error, p->error_size, format, values);
    va_end(values);
    return false;
}

static bool unexpected(parser *p, const char *wanted) {
    return fail(p,
                "the header is not the JSON of a safetensors file: at byte %zu there should be %s",
                p->at, wanted);
}

static void skip_space(parser *p) {
    while (p->at < p->end && memchr(" \t\r\n", p->bytes[p->at], 4) != NULL)
        p->at++;
}

/* Takes a character if it is the next one. */
static bool accept(parser *p, char c) {
    skip_space(p);
    if (p->at == p->end || p->bytes[p->at] != (unsigned char)c)
        return false;
    p->at++;
    return true;
}

static bool expect(parser *p, char c) {
    return accept(p, c) || unexpected(p, (const char[]){'"', c, '"', '\0'});
}

/* ---- strings ---- */

/* Reads the four digits of a \u escape. */
static bool read_hex(const unsigned char *bytes, size_t left, unsigned *code) {
    *code = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned char c = i < left ? bytes[i] : '\0';
        unsigned digit = c >= '0' && c <= '9'   ? c - '0' + 0u
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16u;
        if (digit == 16)
            return false;
        *code = *code * 16 + digit;
    }
    return true;
}

/* Writes a character as UTF-8; returns how many bytes. */
static size_t encode(unsigned code, char utf8[4]) {
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = length; i-- > 1; code >>= 6)
        utf8[i] = (char)(0x80 | (code & 0x3f));
    utf8[0] = (char)(length == 1 ? code : (0xf00u >> length & 0xff) | code);
    return length;
}

/* Decodes an escape, beginning after its backslash. Returns the bytes it takes, 0 if it is not an
 * escape. */
static size_t read_escape(const unsigned char *bytes, size_t left, char utf8[4], size_t *length) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter = left > 0 && bytes[0] != '\0' ? strchr(letters, bytes[0]) : NULL;
    unsigned code, low;

    if (letter != NULL) {
        utf8[0] = meanings[letter - letters];
        *length = 1;
        return 1;
    }
    if (left < 5 || bytes[0] != 'u' || !read_hex(bytes + 1, left - 1, &code) ||
        (code >= 0xdc00 && code < 0xe000))
        return 0;
    if (code < 0xd800 || code >= 0xe000) {
        *length = encode(code, utf8);
        return 5;
    }
    if (left < 11 || bytes[5] != '\\' || bytes[6] != 'u' || !read_hex(bytes + 7, left - 7, &low) ||
        low < 0xdc00 || low >= 0xe000)
        return 0;
    *length = encode(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), utf8);
    return 11;
}

/* Decodes a string's inside. Returns false if it doesn't fit with its terminating 0, or holds a 0
 * or something else that isn't allowed. */
static bool decode(const unsigned char *bytes, size_t count, char *text, size_t size) {
    size_t used = 0;

    for (size_t i = 0; i < count;) {
        char utf8[4] = {(char)bytes[i]};
        size_t length = 1, taken = 1;

        if (bytes[i] == '\\' &&
            (taken = read_escape(bytes + i + 1, count - i - 1, utf8, &length)) == 0)
            return false;
        i += bytes[i] == '\\' ? taken + 1 : 1;
        if (utf8[0] == '\0' || used + length >= size)
            return false;
        memcpy(text + used, utf8, length);
        used += length;
    }
    if (size > 0)
        text[used] = '\0';
    return size > 0;
}

int safetensors_value(const unsigned char *bytes, const safetensors_pair *pair, char *text,
                      size_t size) {
    return decode(bytes + pair->value, pair->length, text, size) ? 0 : -1;
}

/* Finds a string's inside. */
static bool find_string(parser *p, size_t *begin, size_t *length) {
    if (!accept(p, '"'))
        return unexpected(p, "a string");
    *begin = p->at;
    while (p->at < p->end && p->bytes[p->at] != '"') {
        char utf8[4];
        size_t taken, decoded;

        if (p->bytes[p->at] < ' ')
            return fail(p,
                        "the header is not the JSON of a safetensors file: there is a control "
                        "character in the "
                        "string at byte %zu",
                        *begin);
        if (p->bytes[p->at++] != '\\')
            continue;
        if ((taken = read_escape(p->bytes + p->at, p->end - p->at, utf8, &decoded)) == 0)
            return unexpected(p, "an escape of JSON");
        p->at += taken;
    }
    *length = p->at - *begin;
    return expect(p, '"');
}

/* Reads a string of printable ASCII: a name. */
static bool read_name(parser *p, char *name, size_t size) {
    size_t begin, length;

    if (!find_string(p, &begin, &length))
        return false;
    if (!decode(p->bytes + begin, length, name, size))
        return fail(p, "the name at byte %zu of the header is longer than %zu bytes, or holds a 0",
                    begin, size - 1);
    for (const char *c = name; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            return fail(
                p, "the name at byte %zu of the header has characters that are not plain ASCII",
                begin);
    return true;
}

/* ---- numbers ---- */

/* Reads a whole number as JSON writes it. */
static bool read_number(parser *p, size_t *number) {
    size_t first;

    skip_space(p);
    first = p->at;
    *number = 0;
    for (; p->at < p->end && p->bytes[p->at] >= '0' && p->bytes[p->at] <= '9'; p->at++) {
        size_t digit = p->bytes[p->at] - (size_t)'0';

        if (*number > (SIZE_MAX - digit) / 10)
            return fail(p, "the number at byte %zu of the header is too large", first);
        *number = *number * 10 + digit;
    }
    if (p->at == first || (p->bytes[first] == '0' && p->at > first + 1))
        return p->at = first, unexpected(p, "a whole number");
    return true;
}

/* Reads an array of numbers, up to a maximum. */
static bool read_numbers(parser *p, const char *tensor, size_t *numbers, size_t room,
                         size_t *count) {
    *count = 0;
    if (!expect(p, '['))
        return false;
    if (accept(p, ']'))
        return true;
    do {
        if (*count == room)
            return fail(p, "tensor \"%s\" has more than %zu numbers in its shape or offsets",
                        tensor, room);
        if (!read_number(p, &numbers[(*count)++]))
            return false;
    } while (accept(p, ','));
    return expect(p, ']');
}

/* ---- tensors ---- */

static bool read_type(parser *p, safetensors_tensor *tensor) {
    char type[16];

    if (!read_name(p, type, sizeof type))
        return false;
    return safetensors_type_of(type, &tensor->type) == 0 ||
           fail(p,
                "tensor \"%s\" has the type %s, but must be F32, F16, BF16 or F64 (in PyTorch: "
                "tensor.float())",
                tensor->name, type);
}

/* Compares a tensor's shape with the size of its data. */
static bool check_size(parser *p, const safetensors_tensor *tensor, size_t end) {
    size_t bytes = safetensors_element_size(tensor->type);
    bool empty = false, too_large = false;

    for (size_t d = 0; d < tensor->dimensions; d++) {
        empty = empty || tensor->shape[d] == 0;
        too_large = too_large || (tensor->shape[d] > 0 && bytes > SIZE_MAX / tensor->shape[d]);
        bytes *= tensor->shape[d];
    }
    if (empty || too_large || end < tensor->offset || end - tensor->offset != bytes)
        return fail(
            p, "tensor \"%s\" is empty, or its shape does not fit its data_offsets %zu and %zu",
            tensor->name, tensor->offset, end);
    return true;
}

/* Reads {"dtype": ..., "shape": ..., "data_offsets": ...}, in any order. */
static bool read_tensor(parser *p, safetensors_tensor *tensor) {
    size_t offsets[2], count = 0;
    bool type = false, shape = false, range = false;

    if (!expect(p, '{'))
        return false;
    do {
        char key[16];
        bool good = false;

        if (!read_name(p, key, sizeof key) || !expect(p, ':'))
            return false;
        if (strcmp(key, "dtype") == 0 && !type)
            good = type = read_type(p, tensor);
        else if (strcmp(key, "shape") == 0 && !shape)
            good = shape = read_numbers(p, tensor->name, tensor->shape, SAFETENSORS_MAX_DIMENSIONS,
                                        &tensor->dimensions);
        else if (strcmp(key, "data_offsets") == 0 && !range)
            good = range = read_numbers(p, tensor->name, offsets, 2, &count);
        else
            return fail(p, "tensor \"%s\" has \"%s\" twice, or must not have it", tensor->name,
                        key);
        if (!good)
            return false;
    } while (accept(p, ','));
    if (!expect(p, '}'))
        return false;
    if (!type || !shape || !range || count != 2)
        return fail(p, "tensor \"%s\" lacks its dtype, shape or data_offsets", tensor->name);
    tensor->offset = offsets[0];
    if (!check_size(p, tensor, offsets[1]))
        return false;
    tensor->size = offsets[1] - offsets[0];
    return true;
}

/* Reads the object of the metadata: strings. */
static bool read_metadata(parser *p, safetensors_file *file) {
    if (!expect(p, '{'))
        return false;
    if (accept(p, '}'))
        return true;
    do {
        safetensors_pair *pair = &file->pairs[file->pair_count];

        if (file->pair_count == SAFETENSORS_MAX_PAIRS)
            return fail(p, "the metadata have more than %d entries", SAFETENSORS_MAX_PAIRS);
        if (!read_name(p, pair->key, sizeof pair->key) || !expect(p, ':') ||
            !find_string(p, &pair->value, &pair->length))
            return false;
        if (safetensors_find_pair(file, pair->key) != NULL)
            return fail(p, "the metadata have \"%s\" twice", pair->key);
        file->pair_count++;
    } while (accept(p, ','));
    return expect(p, '}');
}

static bool read_entry(parser *p, safetensors_file *file, bool *metadata) {
    safetensors_tensor *tensor = &file->tensors[file->tensor_count];
    char name[SAFETENSORS_NAME_SIZE];

    if (!read_name(p, name, sizeof name) || !expect(p, ':'))
        return false;
    if (strcmp(name, "__metadata__") == 0) {
        if (*metadata)
            return fail(p, "the header has the metadata twice");
        *metadata = true;
        return read_metadata(p, file);
    }
    if (file->tensor_count == SAFETENSORS_MAX_TENSORS)
        return fail(p, "there are more than %d tensors", SAFETENSORS_MAX_TENSORS);
    if (safetensors_find(file, name) != NULL)
        return fail(p, "the header has tensor \"%s\" twice", name);
    memcpy(tensor->name, name, sizeof name);
    if (!read_tensor(p, tensor))
        return false;
    file->tensor_count++;
    return true;
}

static bool read_header(parser *p, safetensors_file *file) {
    bool metadata = false;

    if (!expect(p, '{'))
        return false;
    if (!accept(p, '}')) {
        do {
            if (!read_entry(p, file, &metadata))
                return false;
        } while (accept(p, ','));
        if (!expect(p, '}'))
            return false;
    }
    skip_space(p);
    return p->at == p->end || unexpected(p, "the end");
}

/* Makes sure that the tensors cover the data exactly: each place belongs to one of them. None is
 * empty, so where they follow each other there is one beginning for every end. */
static bool check_cover(parser *p, const safetensors_file *file, size_t data_size) {
    size_t covered = 0;

    for (size_t step = 0; step < file->tensor_count; step++) {
        const safetensors_tensor *next = NULL;

        for (size_t i = 0; i < file->tensor_count && next == NULL; i++)
            if (file->tensors[i].offset == covered)
                next = &file->tensors[i];
        if (next == NULL || next->size > data_size - covered)
            return fail(p,
                        "the tensors overlap, leave a gap, or go beyond the end of the file at "
                        "byte %zu of the data",
                        covered);
        covered += next->size;
    }
    return covered == data_size ||
           fail(p, "the data are %zu bytes long, the tensors take %zu", data_size, covered);
}

int safetensors_read(safetensors_file *file, const unsigned char *bytes, size_t size, char *error,
                     size_t error_size) {
    parser p = {.bytes = bytes, .at = 8, .error = error, .error_size = error_size};
    uint64_t length = 0;

    memset(file, 0, sizeof *file);
    for (size_t i = 8; i-- > 0 && size >= 8;)
        length = length << 8 | bytes[i];
    if (size >= 4 && (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "\x80\2", 2) == 0)) {
        fail(&p,
             "it is a file of torch.save, not a safetensors file. In Python: "
             "safetensors.torch.save_file(state, \"checkpoint.safetensors\") writes one, with the "
             "state_dicts of both "
             "networks in state, their names beginning with \"generator.\" and \"discriminator.\"");
        return -1;
    }
    if (size < 8 || length > size - 8) {
        fail(&p,
             "the file is %zu bytes long, too short for a safetensors file with the header it "
             "announces",
             size);
        return -1;
    }
    if (length > SAFETENSORS_MAX_HEADER) {
        fail(&p, "the header is longer than %zu bytes", SAFETENSORS_MAX_HEADER);
        return -1;
    }
    p.end = 8 + (size_t)length;
    file->data = p.end;
    return read_header(&p, file) && check_cover(&p, file, size - file->data) ? 0 : -1;
}
