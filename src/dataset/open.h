/*
 * open.h - finds out what is at a path, and says what is wrong with it
 */
#ifndef GANN_DATASET_OPEN_H
#define GANN_DATASET_OPEN_H

#include "source.h"

/* Finds the kind of dataset at path. Returns NULL with the error filled: what is there instead, and
 * what to do. */
const dataset_kind *dataset_kind_of(const char *path, char *error, size_t error_size);

/* Describes a source without images, and says what to do. */
void dataset_explain_empty(const dataset_kind *kind, const char *path, char *error,
                           size_t error_size);

#endif
