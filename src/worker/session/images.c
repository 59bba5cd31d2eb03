/*
 * images.c - the images of a unit, by their positions in the run's order
 *
 * One at a time, so that they can be prepared while the weights are on their way.
 */
#include "images.h"
#include "lease.h"
#include "../../common/clock.h"
#include "../../common/stop.h"

#include <stdlib.h>

outcome images_begin(loop *l, const server_claim *claim) {
    l->images_ready = 0;
    if (claim->images > l->images_room) {
        uint8_t *larger = realloc(l->images, claim->images * l->model.image_count);
        if (!larger) {
            display_warn("out of memory for %zu images of a unit", claim->images);
            return FAIL;
        }
        l->images = larger;
        l->images_room = claim->images;
    }
    return GO_ON;
}

bool images_missing(const loop *l, const server_claim *claim) {
    return l->images_ready < claim->images;
}

outcome images_prepare_one(loop *l, const server_claim *claim) {
    uint64_t n = dataset_count(l->data), p = claim->position + l->images_ready;
    double start = clock_now();

    if (dataset_image(l->data, dcgan_permute(l->run->seed, p / n, n, p % n),
                      l->images + l->images_ready * l->model.image_count) != 0) {
        return FAIL;
    }
    l->images_ready++;
    l->times.images += clock_now() - start;
    if (stop_asked())
        return END;
    return lease_keep(l, claim) ? GO_ON : DROP;
}

outcome images_prepare_rest(loop *l, const server_claim *claim) {
    outcome o = GO_ON;

    while (o == GO_ON && images_missing(l, claim))
        o = images_prepare_one(l, claim);
    return o;
}
