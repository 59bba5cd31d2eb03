/*
 * bystander.c - a session that has nothing to do with the training asks SELECT 1, 50 times a second
 *
 *   bystander SECONDS        the connection comes from PGHOST and so on
 *
 * Prints "p50 MS p99 MS max MS count N".
 */
#include "client.h"
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

#define PERIOD 0.02

int main(int argc, char **argv) {
    double seconds = argc == 2 ? atof(argv[1]) : 0;
    PGconn *link;
    samples taken = {0};
    double start;

    if (!(seconds > 0))
        client_fail("usage: bystander SECONDS");
    link = client_connect("");
    start = samples_clock();
    for (long i = 0; samples_clock() - start < seconds; i++) {
        double asked = samples_clock();
        client_number(link, "SELECT 1");
        samples_add(&taken, 1e3 * (samples_clock() - asked));
        samples_sleep_until(asked + PERIOD);
    }
    printf("p50 %.3f p99 %.3f max %.3f count %zu\n", samples_quantile(&taken, 0.5),
           samples_quantile(&taken, 0.99), samples_quantile(&taken, 1), taken.count);
    samples_free(&taken);
    PQfinish(link);
    return 0;
}
