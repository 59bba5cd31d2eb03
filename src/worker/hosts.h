/*
 * hosts.h - the hosts of a connection string that names several, beginning with another than the first
 *
 * libpq asks them in turn, but goes on to the next only when one refuses. One that is silent (the machine is
 * off, or hangs) takes all the time there is, and the next try would begin with it again.
 */
#ifndef GANN_HOSTS_H
#define GANN_HOSTS_H

#include <stddef.h>

/* libpq's lists, or NULL where the connection string is to be taken as it is. */
typedef struct hosts {
    char *host, *hostaddr, *port;
} hosts;

/* Turns the lists of a connection string by so many places; it may be NULL. */
hosts hosts_turned(const char *conninfo, size_t places);
void hosts_free(hosts *h);

#endif
