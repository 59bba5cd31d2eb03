/*
 * access.c - the access token
 */
#include "access.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Compares without stopping at the first difference. */
static bool same(const char *token, const char *given) {
    size_t length = strlen(token), given_length = strlen(given);
    volatile unsigned char different = length != given_length;

    for (size_t i = 0; i < given_length; i++)
        different |= (unsigned char)(given[i] ^ token[i % length]);
    return different == 0;
}

bool access_granted(const char *token, const char *given, const char *authorization) {
    static const char bearer[] = "Bearer ";

    if (token == NULL)
        return true;
    if (authorization != NULL && strncasecmp(authorization, bearer, strlen(bearer)) == 0 &&
        same(token, authorization + strlen(bearer)))
        return true;
    return given != NULL && same(token, given);
}

bool access_host_fine(const char *host, const char *const *names, size_t count) {
    static const char *const own[] = {"127.0.0.1", "localhost", "[::1]"};
    size_t length = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    const char *port = length <= strlen(host) ? host + length : "";
    size_t digits = port[0] == ':' ? strspn(port + 1, "0123456789") : 0;

    if (length == 0 || length > strlen(host) ||
        (port[0] != '\0' && (port[0] != ':' || port[digits + 1] != '\0')))
        return false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strlen(own[i]) == length && strncasecmp(host, own[i], length) == 0)
            return true;
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == length && strncasecmp(host, names[i], length) == 0)
            return true;
    return false;
}

bool access_token_fine(const char *token) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t length = strlen(token);

    return length >= ACCESS_TOKEN_MIN && length <= ACCESS_TOKEN_MAX && strspn(token, plain) == length;
}
