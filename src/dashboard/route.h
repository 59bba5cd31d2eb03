/*
 * route.h - reads the path of a request
 */
#ifndef GANN_ROUTE_H
#define GANN_ROUTE_H

#include <stdbool.h>

typedef enum route_kind {
    ROUTE_NONE,
    ROUTE_PAGE,
    ROUTE_ASSET,
    ROUTE_EVENTS,
    ROUTE_SHEET
} route_kind;

typedef struct route {
    route_kind kind;
    const char *asset; /* name of a file of the page */
    int run;           /* of a sheet */
    int iteration;
} route;

/*
 * Reads a path, as the client wrote it without its query: "/", "/events",
 * "/sheet/RUN/ITERATION.png", "/docs" (the list of the documentation's pages) or "/NAME". Numbers are decimal, without a sign or leading zeros, so
 * that each sheet has one address.
 */
route route_read(const char *path);

/* Reads a whole number from 0 to 2147483647 that is all of the text; returns whether it was one. */
bool route_number(const char *text, int *number);

#endif
