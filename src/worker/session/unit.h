/*
 * unit.h - one unit
 */
#ifndef GANN_UNIT_H
#define GANN_UNIT_H

#include "session.h"

/* Does a claimed unit from weights to submission. */
outcome unit_do(loop *l, server_claim *claim);

#endif
