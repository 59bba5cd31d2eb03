/*
 * sheets.c - a bounded cache of sheets, and the requests that wait for them
 */
#include "sheets.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define KEPT_MAX 4096

typedef struct kept {
    sheet_name name;
    bytes *png;
    uint64_t used; /* time of the last use, by the cache's own clock */
} kept;

/* A connection that waits, or waited, for a sheet. */
typedef struct request {
    struct request *next, *before;
    sheet_name name;
    void *connection;
    bool asleep;
    sheets_answer answer; /* SHEETS_WAIT until it is known */
    bytes *png;
} request;

struct sheets {
    pthread_mutex_t lock;
    sheets_signal *sleep, *wake;
    int bell;
    bool closed;
    size_t limit, size;
    uint64_t clock;
    kept all[KEPT_MAX];
    size_t count;
    request *first, *last;
};

sheets *sheets_new(size_t limit, sheets_signal *sleep, sheets_signal *wake, int bell) {
    sheets *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    c->limit = limit;
    c->sleep = sleep;
    c->wake = wake;
    c->bell = bell;
    return c;
}

void sheets_free(sheets *c) {
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        bytes_release(c->all[i].png);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static bool same(sheet_name a, sheet_name b) {
    return a.run == b.run && a.iteration == b.iteration;
}

static kept *find(sheets *c, sheet_name name) {
    for (size_t i = 0; i < c->count; i++)
        if (same(c->all[i].name, name))
            return &c->all[i];
    return NULL;
}

/* Drops the least recently used until there is room. */
static void make_room(sheets *c, size_t size) {
    while (c->count > 0 && (c->count == KEPT_MAX || c->size + size > c->limit)) {
        size_t oldest = 0;
        for (size_t i = 1; i < c->count; i++)
            if (c->all[i].used < c->all[oldest].used)
                oldest = i;
        c->size -= c->all[oldest].png->size;
        bytes_release(c->all[oldest].png);
        c->all[oldest] = c->all[--c->count];
    }
}

/* Lists the requested sheets, each once; returns how many, at most max. */
static size_t list_wanted(const sheets *c, sheet_name *names, size_t max) {
    size_t count = 0;

    for (const request *r = c->first; r != NULL && count < max; r = r->next) {
        bool listed = r->answer != SHEETS_WAIT;
        for (size_t i = 0; i < count && !listed; i++)
            listed = same(names[i], r->name);
        if (!listed)
            names[count++] = r->name;
    }
    return count;
}

/* Adds a request at the end of the queue; NULL if too many sheets are requested. */
static request *add_request(sheets *c, sheet_name name, void *connection) {
    sheet_name names[SHEETS_WANTED_MAX];
    size_t count = list_wanted(c, names, SHEETS_WANTED_MAX);
    bool listed = false;
    request *r;

    for (size_t i = 0; i < count && !listed; i++)
        listed = same(names[i], name);
    if ((!listed && count == SHEETS_WANTED_MAX) || (r = calloc(1, sizeof *r)) == NULL)
        return NULL;
    r->name = name;
    r->connection = connection;
    r->answer = SHEETS_WAIT;
    r->before = c->last;
    if (r->before != NULL)
        r->before->next = r;
    else
        c->first = r;
    c->last = r;
    return r;
}

/* Answers from the cache, or begins to wait. */
static sheets_answer ask_first(sheets *c, sheet_name name, void *connection, void **mine,
                               bytes **png) {
    kept *k = find(c, name);
    request *r;
    uint64_t one = 1;

    if (k != NULL) {
        k->used = ++c->clock;
        *png = bytes_hold(k->png);
        return SHEETS_HERE;
    }
    if (c->closed)
        return SHEETS_FAILED;
    r = add_request(c, name, connection);
    if (r == NULL)
        return SHEETS_FULL;
    *mine = r;
    r->asleep = true;
    c->sleep(connection);
    if (write(c->bell, &one, sizeof one) < 0)
        return SHEETS_WAIT; /* the bell rings already */
    return SHEETS_WAIT;
}

sheets_answer sheets_ask(sheets *c, sheet_name name, void *connection, void **mine, bytes **png) {
    request *r = *mine;
    sheets_answer answer;

    pthread_mutex_lock(&c->lock);
    if (r == NULL)
        answer = ask_first(c, name, connection, mine, png);
    else {
        answer = r->answer;
        *png = bytes_hold(r->png);
    }
    pthread_mutex_unlock(&c->lock);
    return answer;
}

void sheets_forget(sheets *c, void *mine) {
    request *r = mine;

    if (r == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    if (r->next != NULL)
        r->next->before = r->before;
    else
        c->last = r->before;
    if (r->before != NULL)
        r->before->next = r->next;
    else
        c->first = r->next;
    pthread_mutex_unlock(&c->lock);
    bytes_release(r->png);
    free(r);
}

size_t sheets_wanted(sheets *c, sheet_name *names) {
    size_t count;

    pthread_mutex_lock(&c->lock);
    count = list_wanted(c, names, SHEETS_AT_ONCE);
    pthread_mutex_unlock(&c->lock);
    return count;
}

/* Gives a request its answer, and wakes its connection. */
static void settle(sheets *c, request *r, sheets_answer answer, bytes *png) {
    r->answer = answer;
    r->png = bytes_hold(png);
    if (r->asleep) {
        r->asleep = false;
        c->wake(r->connection);
    }
}

void sheets_put(sheets *c, sheet_name name, bytes *png) {
    pthread_mutex_lock(&c->lock);
    for (request *r = c->first; r != NULL; r = r->next)
        if (r->answer == SHEETS_WAIT && same(r->name, name))
            settle(c, r, png != NULL ? SHEETS_HERE : SHEETS_NONE, png);
    if (png != NULL && png->size <= c->limit && find(c, name) == NULL) {
        make_room(c, png->size);
        c->all[c->count++] = (kept){name, png, ++c->clock};
        c->size += png->size;
    } else
        bytes_release(png);
    pthread_mutex_unlock(&c->lock);
}

void sheets_clear(sheets *c) {
    pthread_mutex_lock(&c->lock);
    while (c->count > 0)
        bytes_release(c->all[--c->count].png);
    c->size = 0;
    pthread_mutex_unlock(&c->lock);
}

void sheets_fail(sheets *c, int closed) {
    pthread_mutex_lock(&c->lock);
    for (request *r = c->first; r != NULL; r = r->next)
        if (r->answer == SHEETS_WAIT)
            settle(c, r, SHEETS_FAILED, NULL);
    c->closed = c->closed || closed;
    pthread_mutex_unlock(&c->lock);
}
