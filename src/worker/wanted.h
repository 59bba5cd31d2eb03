/*
 * wanted.h - what a run trains on, for the search for its images
 */
#ifndef GANN_WANTED_H
#define GANN_WANTED_H

#include "../student/find_data.h"
#include "net/protocol.h"

wanted_images wanted_by(const server_run *run);

#endif
