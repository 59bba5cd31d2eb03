/*
 * find_data.h - the dataset, where nobody has said where it is
 */
#ifndef GANN_FIND_DATA_H
#define GANN_FIND_DATA_H

#include "../dataset/dataset.h"
#include "options.h"

#include <stdbool.h>

/* What somebody trains on, as far as that is known. */
typedef struct wanted_images {
    bool known;     /* which images they are; else nothing but their colours */
    uint64_t count; /* and digest, if they are known */
    unsigned char digest[DATASET_DIGEST_SIZE];
    unsigned channels;
} wanted_images;

/*
 * Opens the dataset that --data names, or else finds it: $GANN_DATA, and then the usual places. Of
 * what is found in these, only the images will do that are wanted, if it is known which; else the
 * first that have as many channels. What is found and not taken is shown with the reason, as are
 * broken images. wanted may be NULL: any. Returns NULL on failure.
 */
dataset *find_data(const options *o, const wanted_images *wanted);

/* Tells whether the images are not those that are wanted, which are known; then text is "You have
 * 60,000 images, the class has 8,000", without a full stop. */
bool find_data_differs(const dataset *data, const wanted_images *wanted, char *text,
                       size_t text_size);

#endif
