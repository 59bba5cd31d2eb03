/*
 * listen.h - the socket to which browsers connect
 */
#ifndef GANN_LISTEN_H
#define GANN_LISTEN_H

#include <stdbool.h>
#include <stdio.h>

typedef struct listener {
    int fd;        /* does not block */
    unsigned port; /* the real one, even if "0" was given */
    bool loopback; /* only programs of this machine can reach it */
    bool any;      /* at all addresses of this machine */
} listener;

/*
 * Listens at the first of the host's addresses that this machine has; an IPv6 wildcard includes
 * IPv4. On failure returns false, and prints on standard error why and what to do.
 */
bool listen_open(listener *l, const char *host, const char *port);

/*
 * Prints the addresses to open in a browser, one per line: the host as it was given or, if that
 * stands for all addresses, those of this machine. query: "" or the query to append.
 */
void listen_print(const listener *l, const char *host, const char *query, FILE *out);

#endif
