/*
 * access.h - who may see the class: checks the token, and the name in the browser's address
 */
#ifndef GANN_ACCESS_H
#define GANN_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define ACCESS_TOKEN_MIN 8
#define ACCESS_TOKEN_MAX 200

/*
 * Tells whether a request may see the class: no token is asked for (NULL), or the query's token is
 * the right one, or the Authorization header is "Bearer TOKEN" (RFC 6750, 2.1). The time of a
 * comparison depends only on the length of the given token, not on how much of it is right.
 */
bool access_granted(const char *token, const char *given, const char *authorization);

/*
 * Tells whether a Host header ("name", "name:port", "address:port", "[address]:port") is one that a
 * browser of this machine's user may send: localhost and its addresses, the address on which the
 * connection arrived (local; may be NULL), or one of the names. A browser sends the name in its
 * address bar. Another site can make its own name point here (DNS rebinding); then its scripts
 * could read data that only this machine's user may see. A numeric address is not looked up, so
 * nobody can redirect it.
 */
bool access_host_fine(const char *host, const struct sockaddr *local, const char *const *names,
                      size_t count);

/* Tells whether a token is of 8 to 200 letters, digits or -._~, which need no escaping in an
 * address. */
bool access_token_fine(const char *token);

#endif
