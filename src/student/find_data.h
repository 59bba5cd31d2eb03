/*
 * find_data.h - the search for the dataset, if --data was not given
 */
#ifndef GANN_FIND_DATA_H
#define GANN_FIND_DATA_H

#include "../dataset/dataset.h"
#include "options.h"

#include <stdbool.h>

/* The images that somebody trains on, if that is known. */
typedef struct wanted_images {
    bool known;     /* which images they are; otherwise only their channels are known */
    uint64_t count; /* and digest, if they are known */
    unsigned char digest[DATASET_DIGEST_SIZE];
    unsigned channels;
} wanted_images;

/*
 * Opens the dataset that --data names, or else searches $GANN_DATA and then the usual places. In
 * those places it takes only the wanted images, if it is known which; otherwise the first dataset
 * with the same number of channels. Datasets that are found but not used are shown with the reason,
 * as are broken images. wanted may be NULL: any. Returns NULL on failure.
 */
dataset *find_data(const options *o, const wanted_images *wanted);

/* Tells whether the images differ from the wanted ones, which must be known; then text is "You have
 * 60,000 images, the class has 8,000", without a full stop. */
bool find_data_differs(const dataset *data, const wanted_images *wanted, char *text,
                       size_t text_size);

#endif
