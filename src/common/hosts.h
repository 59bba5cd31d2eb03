/*
 * hosts.h - the addresses behind a connection string: all addresses of every host that it names
 *
 * libpq tries the addresses of a name one after the other, but continues with the next only when
 * one refuses. A silent one (the machine is off, or a firewall drops packets) would use up the
 * whole time limit. So here each address is an attempt of its own, with its own time limit.
 */
#ifndef GANN_HOSTS_H
#define GANN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#define HOSTS_TARGETS_MAX 64

typedef struct hosts hosts;

/* Where to connect to: libpq's host, hostaddr and port, of one value each; NULL: libpq's
 * default. */
typedef struct hosts_target {
    const char *host, *port;
    char address[64]; /* "": host is a socket's folder, or libpq's default */
} hosts_target;

typedef enum hosts_found {
    HOSTS_FOUND,   /* at least one target */
    HOSTS_UNKNOWN, /* no such name: mistyped, unless it was found before */
    HOSTS_LATER,   /* no name server could be asked */
    HOSTS_WRONG    /* the lists don't fit together, or a part of a password was taken for a host */
} hosts_found;

/* Reads a connection string, which may be NULL, and libpq's environment variables. NULL: out of
 * memory. */
hosts *hosts_new(const char *conninfo);
void hosts_free(hosts *h);

/* Looks up all names; name: one that was not found. The targets point into h. */
hosts_found hosts_look_up(hosts *h, hosts_target targets[HOSTS_TARGETS_MAX], size_t *count,
                          const char **name);

/* Returns connect_timeout in seconds; 0 if there is none. */
double hosts_timeout(const hosts *h);

/* Tells whether standbys are tried first (target_session_attrs=prefer-standby), and whether the
 * targets are tried in random order (load_balance_hosts=random). */
bool hosts_standby_first(const hosts *h);
bool hosts_at_random(const hosts *h);

#endif
