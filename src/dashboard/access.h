/*
 * access.h - who may see the class: by a token, by the name that a browser came by
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
 * the right one, or the Authorization header is "Bearer TOKEN" (RFC 6750, 2.1). The time that a
 * comparison takes depends on the length of what was given alone, not on how much of it is right.
 */
bool access_granted(const char *token, const char *given, const char *authorization);

/*
 * Tells whether a Host header ("name", "name:port", "address:port", "[address]:port") is one that a
 * browser of this machine's user may send: localhost and its addresses, the address that the
 * connection came in at (local; may be NULL), or one of the names. A browser sends what stands in
 * its address bar: another site can make its own name lead here (DNS rebinding), and then its
 * scripts could read what this machine's user alone may see. A numeric address is looked up
 * nowhere, so that nobody can make it lead elsewhere.
 */
bool access_host_fine(const char *host, const struct sockaddr *local, const char *const *names,
                      size_t count);

/* Tells whether a token is of 8 to 200 letters, digits or -._~, which need no escaping in an
 * address. */
bool access_token_fine(const char *token);

#endif
