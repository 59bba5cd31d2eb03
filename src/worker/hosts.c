/*
 * hosts.c - turning libpq's lists of hosts
 */
#define _POSIX_C_SOURCE 200809L

#include "hosts.h"

#include <libpq-fe.h>

#include <stdlib.h>
#include <string.h>

/* Turns "a,b,c" by one place to "b,c,a"; a list of one stays. */
static void turn_once(char *list) {
    char *comma = strchr(list, ',');
    size_t head, tail;
    char *copy;

    if (comma == NULL || (copy = strdup(list)) == NULL)
        return;
    head = (size_t)(comma - list);
    tail = strlen(comma + 1);
    memcpy(list, copy + head + 1, tail);
    list[tail] = ',';
    memcpy(list + tail + 1, copy, head);
    free(copy);
}

/* Returns a turned copy of a list; NULL if there is none. */
static char *turned(const char *list, size_t places) {
    char *copy = list != NULL ? strdup(list) : NULL;

    for (; copy != NULL && places > 0; places--)
        turn_once(copy);
    return copy;
}

/* Counts the entries of a list, which may be NULL. */
static size_t count_entries(const char *list) {
    size_t count = 1;

    for (; list != NULL && (list = strchr(list, ',')) != NULL; list++)
        count++;
    return count;
}

/* Finds the value of an option; NULL if the connection string doesn't say. */
static const char *find(const PQconninfoOption *options, const char *keyword) {
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    return NULL;
}

hosts hosts_turned(const char *conninfo, size_t places) {
    PQconninfoOption *options = conninfo != NULL ? PQconninfoParse(conninfo, NULL) : NULL;
    hosts h = {NULL, NULL, NULL};
    size_t count;

    if (options == NULL)
        return h;
    count =
        count_entries(find(options, "hostaddr") != NULL ? find(options, "hostaddr") : find(options, "host"));
    if (places % count != 0) {
        h.host = turned(find(options, "host"), places % count);
        h.hostaddr = turned(find(options, "hostaddr"), places % count);
        h.port = turned(find(options, "port"), places % count);
    }
    PQconninfoFree(options);
    return h;
}

void hosts_free(hosts *h) {
    free(h->host);
    free(h->hostaddr);
    free(h->port);
    *h = (hosts){NULL, NULL, NULL};
}
