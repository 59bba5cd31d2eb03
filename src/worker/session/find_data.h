/*
 * find_data.h - the dataset, where nobody has said where it is
 */
#ifndef GANN_FIND_DATA_H
#define GANN_FIND_DATA_H

#include "../../dataset/dataset.h"
#include "../term/options.h"
#include "../net/protocol.h"

#include <stdbool.h>

/*
 * Opens the dataset that --data names, or else finds it: $GANN_DATA, and then the usual places. Of
 * what is found in these, only the images will do that the run is trained on, if it says which;
 * else the first that have as many channels as the run. What is found and not taken is shown with
 * the reason, as are broken images. run may be NULL. Returns NULL on failure.
 */
dataset *find_data(const options *o, const server_run *run);

/* Tells whether the images are not those of the run, which says which; then text is "You have
 * 60,000 images, the class has 8,000", without a full stop. */
bool find_data_differs(const dataset *data, const server_run *run, char *text, size_t text_size);

#endif
