/*
 * lease.c - keeping the lease on a unit, and giving units back
 */
#include "lease.h"
#include "../../common/clock.h"
#include "../../common/stop.h"

#define RENEWAL_SECONDS_MAX 20.0

double lease_renewal_interval(const server_claim *claim) {
    double third = claim->lease_seconds / 3;

    return third < RENEWAL_SECONDS_MAX ? third : RENEWAL_SECONDS_MAX;
}

void lease_say_lost(const server_claim *claim) {
    display_warn("The lease on unit %lld is lost: the unit took too long, or somebody else was "
                 "first.\n"
                 "There is nothing to do: this program continues with another unit.",
                 (long long)claim->unit);
}

bool lease_keep(loop *l, const server_claim *claim) {
    bool held = true;

    if (clock_now() < l->next_renewal)
        return true;
    if (server_renew(l->server, claim, &held) == SERVER_OK)
        l->next_renewal = clock_now() + lease_renewal_interval(claim);
    else
        l->next_renewal = clock_now() + claim->lease_seconds / 20;
    if (!held)
        lease_say_lost(claim);
    return held;
}

void lease_give_back_ahead(loop *l) {
    bool released;

    if (l->claimed_ahead && l->ahead_status == SERVER_OK && l->ahead.reason == SERVER_WORK &&
        server_connected(l->server))
        (void)server_release(l->server, &l->ahead, &released);
    l->claimed_ahead = false;
}
