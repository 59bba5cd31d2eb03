/*
 * listen.h - the socket that browsers come to
 */
#ifndef GANN_LISTEN_H
#define GANN_LISTEN_H

#include <stdbool.h>
#include <stdio.h>

typedef struct listener {
    int fd;        /* does not block */
    unsigned port; /* the real one, where "0" was asked for */
    bool loopback; /* this machine's programs alone reach it */
    bool any;      /* at all addresses of this machine */
} listener;

/*
 * Listens at the first of the host's addresses that this machine has; an IPv6 wildcard takes IPv4,
 * too. Returns false, and says on standard error why and what to do, where it can't.
 */
bool listen_open(listener *l, const char *host, const char *port);

/*
 * Prints the addresses to open in a browser, a line each: the host as it was given, and where that
 * means all addresses those of this machine. query: "" or what belongs behind them.
 */
void listen_print(const listener *l, const char *host, const char *query, FILE *out);

#endif
