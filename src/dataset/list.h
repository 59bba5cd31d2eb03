/*
 * list.h - selects and orders the images of a source, and computes their digest (docs/format.md,
 * section 3)
 */
#ifndef GANN_DATASET_LIST_H
#define GANN_DATASET_LIST_H

#include "dataset.h"
#include "source.h"

/* Ways to read the same files. The first one is the rule; the others are for classes that began in
 * another way. */
typedef enum dataset_reading {
    READING_RULE, /* by their paths */
    /* by their own names: somebody has sorted the class's images into folders */
    READING_OWN_NAMES,
    /* names in UTF-8: somebody has unpacked an archive with names in another encoding */
    READING_DECODED,
    READING_DECODED_NAMES, /* both */
    READING_DEEP,          /* files in folders count, too, as they do in an archive of the folder */
    /* as version 0.1.0 read them: leftovers count, backslashes are letters */
    READING_0_1_0,
    READINGS
} dataset_reading;

typedef struct dataset_list {
    size_t *image; /* [count] numbers of items */
    size_t count;
    unsigned char digest[DATASET_DIGEST_SIZE];
} dataset_list;

/* Lists a source's images. Returns -1 with the error filled; an empty list is not an error. */
int dataset_list_make(dataset_list *list, const dataset_items *items, const dataset_kind *kind,
                      dataset_reading reading, char *error, size_t error_size);

/* Frees the list; the items stay. More items may be added meanwhile. */
void dataset_list_free(dataset_list *list);

#endif
