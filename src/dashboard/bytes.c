/*
 * bytes.c - shared bytes, and the text of events
 */
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reserves shared bytes that the caller fills. */
static bytes *reserve(size_t size) {
    bytes *made = malloc(sizeof *made + size);

    if (made == NULL)
        return NULL;
    atomic_init(&made->holders, 1);
    made->size = size;
    return made;
}

bytes *bytes_new(const char *data, size_t size) {
    bytes *made = reserve(size);

    if (made != NULL && size > 0)
        memcpy(made->data, data, size);
    return made;
}

bytes *bytes_hold(bytes *b) {
    if (b != NULL)
        atomic_fetch_add(&b->holders, 1);
    return b;
}

void bytes_release(bytes *b) {
    if (b != NULL && atomic_fetch_sub(&b->holders, 1) == 1)
        free(b);
}

bytes *bytes_event(const char *name, const char *data) {
    static const char field[] = "data: ";
    size_t lines = 1, used;
    bytes *made;

    for (const char *c = data; *c != '\0'; c++)
        lines += *c == '\n' || *c == '\r';
    made = reserve(strlen("event: \n") + strlen(name) + lines * sizeof field + strlen(data) + 2);
    if (made == NULL)
        return NULL;
    used = (size_t)sprintf(made->data, "event: %s\n%s", name, field);
    for (const char *c = data; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r')
            used += (size_t)sprintf(made->data + used, "\n%s", field);
        else
            made->data[used++] = *c;
    }
    made->data[used++] = '\n';
    made->data[used++] = '\n';
    made->size = used;
    return made;
}

char *bytes_json_string(const char *text) {
    char *made = malloc(6 * strlen(text) + 3); /* "\u001f" is the longest that one byte becomes */
    size_t used = 0;

    if (made == NULL)
        return NULL;
    made[used++] = '"';
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20)
            used += (size_t)sprintf(made + used, "\\u%04x", *c);
        else {
            if (*c == '"' || *c == '\\')
                made[used++] = '\\';
            made[used++] = (char)*c;
        }
    }
    made[used++] = '"';
    made[used] = '\0';
    return made;
}
