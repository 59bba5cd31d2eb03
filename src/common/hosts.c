/*
 * hosts.c - the addresses behind a connection string
 */
#define _GNU_SOURCE

#include "hosts.h"

#include <libpq-fe.h>

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* libpq's lists, cut at their commas. */
typedef struct list {
    char *text;
    char *items[HOSTS_TARGETS_MAX];
    size_t count;
} list;

struct hosts {
    list host, hostaddr, port;
    double timeout;
    bool standby_first, at_random, wrong;
};

/* Cuts a list; one that is NULL or empty has no items. */
static bool cut_list(list *l, const char *text) {
    if (text == NULL || text[0] == '\0')
        return true;
    if ((l->text = strdup(text)) == NULL)
        return false;
    for (char *at = l->text; at != NULL && l->count < HOSTS_TARGETS_MAX;)
        l->items[l->count++] = strsep(&at, ",");
    return true;
}

/* Finds the value of an option; NULL if there is none. */
static const char *find(const PQconninfoOption *options, const char *keyword) {
    for (; options != NULL && options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    return NULL;
}

/* Finds the value that libpq would take: the connection string's, or else the service file's, the
 * environment's or the default. */
static const char *value(const PQconninfoOption *given, const PQconninfoOption *defaults,
                         const char *keyword) {
    const char *own = find(given, keyword);

    return own != NULL ? own : find(defaults, keyword);
}

/* Reads libpq's defaults, including those of a service that the connection string names. */
static PQconninfoOption *read_defaults(const PQconninfoOption *given) {
    const char *service = find(given, "service"), *before = getenv("PGSERVICE");
    char *kept = before != NULL ? strdup(before) : NULL;
    PQconninfoOption *defaults;

    if (service != NULL)
        setenv("PGSERVICE", service, 1);
    defaults = PQconndefaults();
    if (service != NULL && kept != NULL)
        setenv("PGSERVICE", kept, 1);
    else if (service != NULL)
        unsetenv("PGSERVICE");
    free(kept);
    return defaults;
}

/* Tells whether the lists fit together, and no host looks like a piece of a password that had an
 * "@" in it. */
static bool lists_fit(const hosts *h) {
    size_t count = h->hostaddr.count > 0 ? h->hostaddr.count : h->host.count;

    for (size_t i = 0; i < h->host.count; i++)
        if (h->host.items[i][0] != '/' && strchr(h->host.items[i], '@') != NULL &&
            h->host.items[i][0] != '@')
            return false;
    return (h->hostaddr.count == 0 || h->host.count == 0 || h->host.count == h->hostaddr.count) &&
           (h->port.count <= 1 || h->port.count == (count > 0 ? count : 1));
}

hosts *hosts_new(const char *conninfo) {
    hosts *h = calloc(1, sizeof *h);
    PQconninfoOption *given = conninfo != NULL ? PQconninfoParse(conninfo, NULL) : NULL;
    PQconninfoOption *defaults = read_defaults(given);
    const char *timeout = value(given, defaults, "connect_timeout"),
               *attributes = value(given, defaults, "target_session_attrs"),
               *balance = value(given, defaults, "load_balance_hosts");
    bool fine = h != NULL && cut_list(&h->host, value(given, defaults, "host")) &&
                cut_list(&h->hostaddr, value(given, defaults, "hostaddr")) &&
                cut_list(&h->port, value(given, defaults, "port"));

    if (fine) {
        h->wrong = !lists_fit(h);
        h->timeout = timeout != NULL ? atof(timeout) : 0;
        h->standby_first = attributes != NULL && strcmp(attributes, "prefer-standby") == 0;
        h->at_random = balance != NULL && strcmp(balance, "random") == 0;
    }
    PQconninfoFree(given);
    PQconninfoFree(defaults);
    if (fine)
        return h;
    hosts_free(h);
    return NULL;
}

void hosts_free(hosts *h) {
    if (h == NULL)
        return;
    free(h->host.text);
    free(h->hostaddr.text);
    free(h->port.text);
    free(h);
}

/* Tells whether a host is the folder of a socket, or an abstract socket. */
static bool is_socket(const char *host) {
    return host[0] == '/' || host[0] == '@';
}

/* Tells whether no computer can have this name: it has invalid characters, or is reserved
 * (RFC 6761). */
static bool is_nobody(const char *name) {
    size_t length = strlen(name);

    return strpbrk(name, " \t\"'\\/<>") != NULL || length > 253 ||
           (length >= 8 && strcasecmp(name + length - 8, ".invalid") == 0);
}

/* Appends the addresses of a name to the targets; returns getaddrinfo's answer. */
static int add_addresses(const char *host, const char *port, const char *name, int flags,
                         hosts_target *targets, size_t *count) {
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    int answer = is_nobody(name) ? EAI_NONAME : getaddrinfo(name, NULL, &hints, &found);

    if (answer != 0)
        return answer;
    for (const struct addrinfo *a = found; a != NULL && *count < HOSTS_TARGETS_MAX;
         a = a->ai_next) {
        hosts_target *t = &targets[*count];
        *t = (hosts_target){.host = host, .port = port};
        if (getnameinfo(a->ai_addr, a->ai_addrlen, t->address, sizeof t->address, NULL, 0,
                        NI_NUMERICHOST) == 0)
            ++*count;
    }
    freeaddrinfo(found);
    return 0;
}

/* Appends the targets of one entry of the lists. */
static int add_entry(hosts *h, size_t entry, hosts_target *targets, size_t *count) {
    const char *host =
        entry < h->host.count && h->host.items[entry][0] != '\0' ? h->host.items[entry] : NULL;
    const char *address = entry < h->hostaddr.count && h->hostaddr.items[entry][0] != '\0'
                              ? h->hostaddr.items[entry]
                              : NULL;
    const char *port = h->port.count == 1  ? h->port.items[0]
                       : h->port.count > 1 ? h->port.items[entry]
                                           : NULL;

    if (port != NULL && port[0] == '\0')
        port = NULL;
    if (address != NULL)
        return add_addresses(host, port, address, AI_NUMERICHOST, targets, count);
    if (host != NULL && !is_socket(host))
        return add_addresses(host, port, host, 0, targets, count);
    if (*count < HOSTS_TARGETS_MAX)
        targets[(*count)++] = (hosts_target){.host = host, .port = port};
    return 0;
}

/* Tells whether an answer means that there is no such name. */
static bool is_unknown(int answer) {
    return answer == EAI_NONAME
#ifdef EAI_NODATA
           || answer == EAI_NODATA
#endif
#ifdef EAI_ADDRFAMILY
           || answer == EAI_ADDRFAMILY
#endif
        ;
}

hosts_found hosts_look_up(hosts *h, hosts_target targets[HOSTS_TARGETS_MAX], size_t *count,
                          const char **name) {
    size_t entries = h->hostaddr.count > h->host.count ? h->hostaddr.count : h->host.count;
    hosts_found found = HOSTS_UNKNOWN;

    *count = 0;
    *name = NULL;
    if (h->wrong)
        return HOSTS_WRONG;
    for (size_t i = 0; i < (entries > 0 ? entries : 1); i++) {
        int answer = add_entry(h, i, targets, count);
        if (answer == 0)
            continue;
        if (!is_unknown(answer))
            found = HOSTS_LATER;
        *name = i < h->hostaddr.count && h->hostaddr.items[i][0] != '\0' ? h->hostaddr.items[i]
                                                                         : h->host.items[i];
    }
    return *count > 0 ? HOSTS_FOUND : found;
}

double hosts_timeout(const hosts *h) {
    return h->timeout > 0 ? h->timeout : 0;
}

bool hosts_standby_first(const hosts *h) {
    return h->standby_first;
}

bool hosts_at_random(const hosts *h) {
    return h->at_random;
}
