/*
 * safetensors.c - the common part of reading and writing, and the writer
 */
#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const safetensors_tensor *safetensors_find(const safetensors_file *file, const char *name) {
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const safetensors_pair *safetensors_find_pair(const safetensors_file *file, const char *key) {
    for (size_t i = 0; i < file->pair_count; i++)
        if (strcmp(file->pairs[i].key, key) == 0)
            return &file->pairs[i];
    return NULL;
}

size_t safetensors_layout(safetensors_tensor *tensors, size_t count) {
    size_t offset = 0;

    for (size_t i = 0; i < count; i++) {
        tensors[i].size = safetensors_element_size(tensors[i].type);
        for (size_t d = 0; d < tensors[i].dimensions; d++)
            tensors[i].size *= tensors[i].shape[d];
        tensors[i].offset = offset;
        offset += tensors[i].size;
    }
    return offset;
}

/* A text that grows; only the part that fits is kept. */
typedef struct sink {
    unsigned char *bytes;
    size_t size, room;
} sink;

static void put(sink *to, const char *text, size_t length) {
    if (to->size < to->room)
        memcpy(to->bytes + to->size, text,
               length < to->room - to->size ? length : to->room - to->size);
    to->size += length;
}

static void put_text(sink *to, const char *text) {
    put(to, text, strlen(text));
}

static void put_number(sink *to, size_t number) {
    char digits[24];

    put(to, digits, (size_t)snprintf(digits, sizeof digits, "%zu", number));
}

/* Writes a string with its quotes. */
static void put_string(sink *to, const char *text) {
    put_text(to, "\"");
    for (; *text != '\0'; text++) {
        char escaped[8];

        if (*text == '"' || *text == '\\')
            put(to, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\%c", *text));
        else if ((unsigned char)*text < ' ' || *text == 127)
            put(to, escaped,
                (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned char)*text));
        else
            put(to, text, 1);
    }
    put_text(to, "\"");
}

static void put_tensor(sink *to, const safetensors_tensor *tensor) {
    put_string(to, tensor->name);
    put_text(to, ":{\"dtype\":\"");
    put_text(to, safetensors_type_name(tensor->type));
    put_text(to, "\",\"shape\":[");
    for (size_t d = 0; d < tensor->dimensions; d++) {
        put_text(to, d > 0 ? "," : "");
        put_number(to, tensor->shape[d]);
    }
    put_text(to, "],\"data_offsets\":[");
    put_number(to, tensor->offset);
    put_text(to, ",");
    put_number(to, tensor->offset + tensor->size);
    put_text(to, "]}");
}

size_t safetensors_header(unsigned char *bytes, size_t room, const safetensors_tensor *tensors,
                          size_t count, const safetensors_text *pairs, size_t pair_count) {
    sink to = {bytes, 8, room};

    put_text(&to, "{");
    if (pair_count > 0) {
        put_text(&to, "\"__metadata__\":{");
        for (size_t i = 0; i < pair_count; i++) {
            put_text(&to, i > 0 ? "," : "");
            put_string(&to, pairs[i].key);
            put_text(&to, ":");
            put_string(&to, pairs[i].value);
        }
        put_text(&to, count > 0 ? "}," : "}");
    }
    for (size_t i = 0; i < count; i++) {
        put_text(&to, i > 0 ? "," : "");
        put_tensor(&to, &tensors[i]);
    }
    put_text(&to, "}");
    while (to.size % 8 != 0)
        put_text(&to, " ");
    for (size_t i = 0; i < 8 && i < room; i++)
        bytes[i] = (unsigned char)((uint64_t)(to.size - 8) >> (8 * i));
    return to.size;
}
