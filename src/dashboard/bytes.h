/*
 * bytes.h - strings of bytes that several connections send at once, and the text of events
 */
#ifndef GANN_BYTES_H
#define GANN_BYTES_H

#include <stdatomic.h>
#include <stddef.h>

/* Bytes that don't change any more, shared by several holders. */
typedef struct bytes {
    atomic_int holders;
    size_t size;
    char data[];
} bytes;

/* Copies bytes; the caller holds the result. NULL if out of memory. */
bytes *bytes_new(const char *data, size_t size);

/* Adds a holder; returns its argument. NULL is fine. */
bytes *bytes_hold(bytes *b);

/* Removes a holder; the last one frees the bytes. NULL is fine. */
void bytes_release(bytes *b);

/*
 * Makes the text of one server-sent event (WHATWG HTML, 9.2.5): "event: NAME\ndata: DATA\n\n". Line
 * breaks in the data would end the field, so each begins another data field. NULL if out of memory.
 */
bytes *bytes_event(const char *name, const char *data);

/* Writes text as a JSON string (RFC 8259, 7) with its quotes. Returns what malloc gave, or NULL. */
char *bytes_json_string(const char *text);

#endif
