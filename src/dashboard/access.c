/*
 * access.c - who may see the class
 */
#include "access.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Compares in constant time: does not stop at the first difference. */
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

/* Writes an address as IPv6 has it: one of IPv4 as ::ffff:a.b.c.d. */
static struct in6_addr as_mapped(const struct in_addr *address) {
    struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    memcpy(mapped.s6_addr + 12, address, 4);
    return mapped;
}

/* Reads "1.2.3.4" or "[::1]", without the zone that may follow ("[fe80::1%25eth0]": it is this
 * machine's affair). */
static bool read_numeric(const char *text, size_t length, struct in6_addr *address) {
    char copy[INET6_ADDRSTRLEN + 1];
    bool bracket = text[0] == '[';
    size_t size = bracket ? strcspn(text + 1, "%]") : length;
    struct in_addr four;

    if (size >= sizeof copy)
        return false;
    memcpy(copy, text + bracket, size);
    copy[size] = '\0';
    if (bracket)
        return inet_pton(AF_INET6, copy, address) == 1;
    if (inet_pton(AF_INET, copy, &four) != 1)
        return false;
    *address = as_mapped(&four);
    return true;
}

/* Tells whether a numeric host is the address on which the connection arrived. */
static bool is_local(const char *host, size_t length, const struct sockaddr *local) {
    struct in6_addr asked, here;

    if (local == NULL || !read_numeric(host, length, &asked))
        return false;
    if (local->sa_family == AF_INET)
        here = as_mapped(&((const struct sockaddr_in *)local)->sin_addr);
    else if (local->sa_family == AF_INET6)
        here = ((const struct sockaddr_in6 *)local)->sin6_addr;
    else
        return false;
    return IN6_ARE_ADDR_EQUAL(&asked, &here);
}

/* Tells whether a host is one of the names. */
static bool is_among(const char *host, size_t length, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == length && strncasecmp(host, names[i], length) == 0)
            return true;
    return false;
}

bool access_host_fine(const char *host, const struct sockaddr *local, const char *const *names,
                      size_t count) {
    static const char *const own[] = {"127.0.0.1", "localhost", "[::1]"};
    size_t length = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    const char *port = length <= strlen(host) ? host + length : "";
    size_t digits = port[0] == ':' ? strspn(port + 1, "0123456789") : 0;

    if (length == 0 || length > strlen(host) ||
        (port[0] != '\0' && (port[0] != ':' || port[digits + 1] != '\0')))
        return false;
    return is_among(host, length, own, sizeof own / sizeof *own) ||
           is_among(host, length, names, count) || is_local(host, length, local);
}

bool access_token_fine(const char *token) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t length = strlen(token);

    return length >= ACCESS_TOKEN_MIN && length <= ACCESS_TOKEN_MAX &&
           strspn(token, plain) == length;
}
