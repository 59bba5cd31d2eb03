/*
 * open.h - finding out what a path is, and saying what is wrong with it
 */
#ifndef GANN_DATASET_OPEN_H
#define GANN_DATASET_OPEN_H

#include "source.h"

/* Finds the kind of what lies at path. Returns NULL with the error filled: what it is instead, what
 * to do. */
const dataset_kind *dataset_kind_of(const char *path, char *error, size_t error_size);

/* Says what a source without images is, and what to do. */
void dataset_explain_empty(const dataset_kind *kind, const char *path, char *error,
                           size_t error_size);

#endif
