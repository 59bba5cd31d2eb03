/*
 * plain.c - text of any origin, made fit for a terminal
 */
#include "plain.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Reads a character of UTF-8 (RFC 3629: the shortest form, no surrogates); returns its bytes, 0 if
 * it is none. */
static int read_character(const unsigned char *p, uint32_t *character) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int size = p[0] < 0x80             ? 1
               : (p[0] & 0xE0) == 0xC0 ? 2
               : (p[0] & 0xF0) == 0xE0 ? 3
               : (p[0] & 0xF8) == 0xF0 ? 4
                                       : 0;

    if (size < 2) {
        *character = p[0];
        return size;
    }
    *character = p[0] & (0x7Fu >> size);
    for (int i = 1; i < size; i++) {
        if ((p[i] & 0xC0) != 0x80) /* the end of the text, too */
            return 0;
        *character = *character << 6 | (p[i] & 0x3Fu);
    }
    return *character < least[size] || *character > 0x10FFFF ||
                   (*character >= 0xD800 && *character < 0xE000)
               ? 0
               : size;
}

/* Tells whether a character does anything on a screen but show itself. */
static bool is_treacherous(uint32_t c) {
    return (c < 0x20 && c != '\n') || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C ||
           (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
           c >= 0xE0000;
}

void plain_text(char *text) {
    unsigned char *from = (unsigned char *)text, *to = from;

    while (*from) {
        uint32_t character;
        int size = read_character(from, &character);

        if (size == 0 || is_treacherous(character)) {
            *to++ = *from == '\t' ? ' ' : '?';
            from += size ? size : 1;
        } else {
            memmove(to, from, (size_t)size);
            to += size;
            from += size;
        }
    }
    *to = '\0';
}
