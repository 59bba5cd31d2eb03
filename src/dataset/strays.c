/*
 * strays.c - names of files in datasets: which are images, which are leftovers of programs
 */
#define _POSIX_C_SOURCE 200809L

#include "source.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SEPARATORS "/\\"

/* Folders in which macOS, Windows and the servers of Synology and QNAP keep files that only look
 * like images. */
static const char *const stray_folders[] = {"__MACOSX", "@eaDir",       "@__thumb",
                                            "@Recycle", "$RECYCLE.BIN", "#recycle"};

int dataset_items_add(dataset_items *items, const dataset_item *item) {
    dataset_item copy = *item;

    if (items->count == items->room) {
        size_t room = items->room == 0 ? 256 : items->room;
        size_t size;
        dataset_item *moved;

        if (!size_multiply(room, 2 * sizeof *moved, &size) ||
            (moved = realloc(items->item, size)) == NULL)
            return -1;
        items->item = moved;
        items->room = room * 2;
    }
    copy.name = strdup(item->name);
    copy.decoded = item->decoded != NULL ? strdup(item->decoded) : NULL;
    if (copy.name == NULL || (copy.decoded == NULL && item->decoded != NULL)) {
        free(copy.name);
        free(copy.decoded);
        return -1;
    }
    items->item[items->count++] = copy;
    return 0;
}

void dataset_items_free(dataset_items *items) {
    for (size_t i = 0; i < items->count; i++) {
        free(items->item[i].name);
        free(items->item[i].decoded);
    }
    free(items->item);
    *items = (dataset_items){0};
}

bool dataset_is_image_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t ending = strlen(endings[i]);

        if (length >= ending && strcasecmp(name + length - ending, endings[i]) == 0)
            return true;
    }
    return false;
}

/* Tells whether a part of a path is hidden: it begins with a dot and is not "." or "..". */
static bool is_hidden(const char *part, size_t length) {
    return length > 0 && part[0] == '.' && length != 1 && !(length == 2 && part[1] == '.');
}

static bool is_stray_folder(const char *part, size_t length) {
    for (size_t i = 0; i < sizeof stray_folders / sizeof *stray_folders; i++)
        if (strlen(stray_folders[i]) == length && strncasecmp(part, stray_folders[i], length) == 0)
            return true;
    return false;
}

bool dataset_is_stray(const char *name, bool hidden_folders) {
    for (;;) {
        size_t length = strcspn(name, SEPARATORS);
        bool folder = name[length] != '\0';

        if ((is_hidden(name, length) && !(folder && hidden_folders)) ||
            (folder && is_stray_folder(name, length)))
            return true;
        if (!folder)
            return false;
        name += length + 1;
    }
}

const char *dataset_own_name(const char *name) {
    for (size_t length; name[length = strcspn(name, SEPARATORS)] != '\0';)
        name += length + 1;
    return name;
}

void dataset_printable(const char *name, char *text, size_t text_size) {
    size_t length = 0;

    while (length + 1 < text_size && name[length] != '\0') {
        unsigned char byte = (unsigned char)name[length];

        text[length++] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    text[length] = '\0';
}

int dataset_decode_file(void *source, const unsigned char *bytes, size_t size, image *decoded,
                        char *error, size_t error_size) {
    (void)source;
    return image_decode(bytes, size, decoded, error, error_size);
}
