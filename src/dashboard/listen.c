/*
 * listen.c - the socket to which browsers connect
 *
 * It is made here, because libmicrohttpd doesn't say why it can't listen.
 */
#define _GNU_SOURCE

#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define PRINTED_MAX 4 /* addresses of this machine */

static const struct in6_addr *address6(const struct sockaddr *address) {
    return &((const struct sockaddr_in6 *)address)->sin6_addr;
}

static in_addr_t address4(const struct sockaddr *address) {
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
}

/* Tells whether only this machine can reach an address: 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104. */
static bool is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET)
        return address4(address) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(address6(address)) ||
           (IN6_IS_ADDR_V4MAPPED(address6(address)) && address6(address)->s6_addr[12] == 127);
}

/* Tells whether an address stands for all addresses of this machine. */
static bool is_any(const struct sockaddr *address) {
    if (address->sa_family == AF_INET)
        return address4(address) == INADDR_ANY;
    return IN6_IS_ADDR_UNSPECIFIED(address6(address)) ||
           (IN6_IS_ADDR_V4MAPPED(address6(address)) && address6(address)->s6_addr32[3] == 0);
}

/* Makes a socket that listens at an address; -1 and errno where that fails. */
static int listen_at(const struct addrinfo *at) {
    int on = 1, off = 0, fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        error;

    if (fd < 0)
        return -1;
    /* lets a new dashboard listen right after the last one ended */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Returns the port that a socket got. */
static unsigned port_of(int fd) {
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;

    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
        return 0;
    return ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                            : ((struct sockaddr_in6 *)&bound)->sin6_port);
}

/* Says what is wrong, and what to do about it. */
static void complain(const char *host, const char *port, const char *why, const char *remedy) {
    fprintf(stderr, "gan_dashboard: can't listen at %s, port %s: %s\n%s\n", host, port, why,
            remedy);
}

static void complain_errno(const char *host, const char *port, int error) {
    switch (error) {
    case EADDRINUSE:
        complain(host, port, "the port is taken by another program",
                 "Choose another port with --listen HOST:PORT, or port 0 for a free one.");
        break;
    case EACCES:
        complain(host, port, "only root may use a port below 1024 here",
                 "Choose a port from 1024 on with --listen HOST:PORT.");
        break;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        complain(host, port, "this machine doesn't have that address",
                 "Use --listen 127.0.0.1:8765 for this machine alone, or --listen 0.0.0.0:8765 for "
                 "everybody.");
        break;
    default:
        complain(host, port, strerror(error), "Choose another address with --listen HOST:PORT.");
    }
}

bool listen_open(listener *l, const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int code = getaddrinfo(host, port, &hints, &found), error = EADDRNOTAVAIL;

    if (code != 0) {
        complain(
            host, port, gai_strerror(code),
            "Give --listen an address of this machine, such as 127.0.0.1:8765 or 0.0.0.0:8765.");
        return false;
    }
    l->fd = -1;
    /* A name may have addresses that this machine lacks ("localhost" without IPv6). But if the port
     * is taken at one address, the next one is not tried: two programs would answer at one name. */
    for (struct addrinfo *at = found; at != NULL && l->fd < 0; at = at->ai_next) {
        l->fd = listen_at(at);
        l->loopback = is_loopback(at->ai_addr);
        l->any = is_any(at->ai_addr);
        error = errno;
        if (l->fd < 0 && error != EADDRNOTAVAIL && error != EAFNOSUPPORT)
            break;
    }
    freeaddrinfo(found);
    if (l->fd < 0) {
        complain_errno(host, port, error);
        return false;
    }
    l->port = port_of(l->fd);
    return true;
}

static void print_one(const char *before, const char *host, unsigned port, const char *query,
                      FILE *out) {
    bool bracket = strchr(host, ':') != NULL;
    const char *zone = bracket ? strchr(host, '%') : NULL;

    if (zone != NULL) /* in an address "%" is written "%25" (RFC 6874) */
        fprintf(out, "gan_dashboard: %shttp://[%.*s%%25%s]:%u/%s\n", before, (int)(zone - host),
                host, zone + 1, port, query);
    else
        fprintf(out, "gan_dashboard: %shttp://%s%s%s:%u/%s\n", before, bracket ? "[" : "", host,
                bracket ? "]" : "", port, query);
}

/* Prints the addresses by which other machines may reach this one. */
static void print_own(const listener *l, const char *query, FILE *out) {
    struct ifaddrs *all;
    int printed = 0;

    if (getifaddrs(&all) != 0)
        return;
    for (struct ifaddrs *i = all; i != NULL && printed < PRINTED_MAX; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];

        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET ||
            (i->ifa_flags & IFF_UP) == 0 || is_loopback(i->ifa_addr))
            continue;
        inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text);
        print_one("from other machines ", text, l->port, query, out);
        printed++;
    }
    freeifaddrs(all);
}

void listen_print(const listener *l, const char *host, const char *query, FILE *out) {
    /* not every browser opens 0.0.0.0 */
    print_one("", l->any ? "127.0.0.1" : host, l->port, query, out);
    if (l->any)
        print_own(l, query, out);
    fflush(out);
}
