/*
 * download.h - the weights of a claim's iteration
 */
#ifndef GANN_DOWNLOAD_H
#define GANN_DOWNLOAD_H

#include "session.h"

/* Downloads them unless we hold them already. DROP: that iteration is over. */
outcome download_weights(loop *l, const server_claim *claim);

#endif
