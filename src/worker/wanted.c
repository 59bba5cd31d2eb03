/*
 * wanted.c - what a run trains on, for the search for its images
 */
#include "wanted.h"

#include <string.h>

wanted_images wanted_by(const server_run *run) {
    wanted_images wanted = {.known = run->dataset_known,
                            .count = run->dataset_images,
                            .channels = run->network.channels};

    memcpy(wanted.digest, run->dataset_digest, sizeof wanted.digest);
    return wanted;
}
