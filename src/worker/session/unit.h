/*
 * unit.h - one unit
 */
#ifndef GANN_UNIT_H
#define GANN_UNIT_H

#include "session.h"

/* Works on a claimed unit, from the weights to the submission. */
outcome unit_do(loop *l, server_claim *claim);

#endif
