/*
 * reference.h - a summary of the real images
 */
#ifndef GANN_REFERENCE_H
#define GANN_REFERENCE_H

#include "session.h"

/* Sends one if the server wants it, between two units. */
void reference_offer(loop *l);

#endif
