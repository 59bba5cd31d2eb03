/*
 * lease.h - keeping the lease on a unit, and giving units back
 */
#ifndef GANN_LEASE_H
#define GANN_LEASE_H

#include "session.h"

/*
 * Renews the lease when a third of it is over; returns false if the lease is lost. A renewal that
 * fails is soon tried again, and the work continues: the connection may be back before the lease
 * ends.
 */
bool lease_keep(loop *l, const server_claim *claim);

/* Returns the seconds between renewals: a third of the lease, and always short enough for a server
 * that ends sessions which are silent for a minute. */
double lease_renewal_interval(const server_claim *claim);

/* Says that a lease is lost. */
void lease_say_lost(const server_claim *claim);

/* Gives back a unit that was claimed ahead and will not be done. */
void lease_give_back_ahead(loop *l);

#endif
