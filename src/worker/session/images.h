/*
 * images.h - the images of a claim
 */
#ifndef GANN_IMAGES_H
#define GANN_IMAGES_H

#include "session.h"

/* Makes room for the images of a claim. */
outcome images_begin(loop *l, const server_claim *claim);

/* Tells whether some are not prepared yet. */
bool images_missing(const loop *l, const server_claim *claim);

/* Prepares the next one, or the rest. */
outcome images_prepare_one(loop *l, const server_claim *claim);
outcome images_prepare_rest(loop *l, const server_claim *claim);

#endif
