/*
 * hub.c - subscribers, and the newest event of each kind
 */
#include "hub.h"

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KNOWN_MAX 4096 /* runs that can be watched */

typedef struct newest {
    bytes *event;
    uint64_t version; /* 0: none so far */
} newest;

/* A run that somebody watches. */
typedef struct watched {
    int run;
    size_t subscribers; /* 0: the place is free */
    newest news[HUB_KINDS];
} watched;

struct subscriber {
    hub *home;
    subscriber *next, *before;
    void *connection;
    int wanted;   /* number of a run, 0: none */
    watched *run; /* NULL: none, or it isn't known */
    uint64_t told[HUB_KINDS];
    bytes *sending;
    size_t sent; /* bytes of it */
    bool asleep;
};

struct hub {
    pthread_mutex_t lock;
    hub_signal *sleep, *wake;
    int bell;
    bool closed;
    uint64_t version;
    newest news[HUB_KINDS];
    watched runs[HUB_RUNS_MAX];
    subscriber *first;
    size_t subscribers;
    int known[KNOWN_MAX];
    size_t known_count;
};

hub *hub_new(hub_signal *sleep, hub_signal *wake, int bell) {
    hub *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    h->sleep = sleep;
    h->wake = wake;
    h->bell = bell;
    return h;
}

static void forget(newest news[HUB_KINDS]) {
    for (int kind = 0; kind < HUB_KINDS; kind++) {
        bytes_release(news[kind].event);
        news[kind] = (newest){NULL, 0};
    }
}

void hub_free(hub *h) {
    if (h == NULL)
        return;
    forget(h->news);
    for (size_t i = 0; i < HUB_RUNS_MAX; i++)
        forget(h->runs[i].news);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* Finds a watched run; NULL if nobody watches it. */
static watched *find_run(hub *h, int run) {
    for (size_t i = 0; i < HUB_RUNS_MAX; i++)
        if (h->runs[i].subscribers > 0 && h->runs[i].run == run)
            return &h->runs[i];
    return NULL;
}

/* Tells whether there is a run. */
static bool is_known(const hub *h, int run) {
    for (size_t i = 0; i < h->known_count; i++)
        if (h->known[i] == run)
            return true;
    return false;
}

/* Connects a subscriber to the run that it wants, if there is such a run: an invented number takes
 * no place. Returns whether there was room. */
static bool watch(hub *h, subscriber *s) {
    if (s->wanted == 0 || !is_known(h, s->wanted))
        return true;
    s->run = find_run(h, s->wanted);
    for (size_t i = 0; i < HUB_RUNS_MAX && s->run == NULL; i++)
        if (h->runs[i].subscribers == 0)
            s->run = &h->runs[i];
    if (s->run == NULL)
        return false;
    s->run->run = s->wanted;
    s->run->subscribers++;
    return true;
}

/* Removes a subscriber from its run. */
static void unwatch(subscriber *s) {
    if (s->run != NULL && --s->run->subscribers == 0)
        forget(s->run->news);
    s->run = NULL;
}

bool hub_subscribe(hub *h, int run, void *connection, subscriber **made) {
    subscriber *s = calloc(1, sizeof *s);
    uint64_t one = 1;
    bool fits;

    if (s == NULL)
        return false;
    s->home = h;
    s->connection = connection;
    s->wanted = run;
    pthread_mutex_lock(&h->lock);
    fits = !h->closed && watch(h, s);
    if (fits) {
        s->next = h->first;
        if (s->next != NULL)
            s->next->before = s;
        h->first = s;
        h->subscribers++;
    }
    pthread_mutex_unlock(&h->lock);
    if (!fits) {
        free(s);
        return false;
    }
    *made = s;
    if (write(h->bell, &one, sizeof one) < 0)
        return true; /* the bell rings already */
    return true;
}

void hub_unsubscribe(subscriber *s) {
    hub *h = s->home;

    pthread_mutex_lock(&h->lock);
    if (s->next != NULL)
        s->next->before = s->before;
    if (s->before != NULL)
        s->before->next = s->next;
    else
        h->first = s->next;
    h->subscribers--;
    unwatch(s);
    pthread_mutex_unlock(&h->lock);
    bytes_release(s->sending);
    free(s);
}

/* Finds where the newest event of a kind is kept for a subscriber. */
static newest *news_for(subscriber *s, int kind) {
    if (kind < HUB_STATE)
        return &s->home->news[kind];
    return s->run != NULL ? &s->run->news[kind] : NULL;
}

/* Takes the next event that is new to the subscriber; returns whether there is one. */
static bool take_next(subscriber *s) {
    for (int kind = 0; kind < HUB_KINDS; kind++) {
        newest *n = news_for(s, kind);
        if (n == NULL || n->version <= s->told[kind])
            continue;
        s->told[kind] = n->version;
        s->sending = bytes_hold(n->event);
        s->sent = 0;
        return true;
    }
    return false;
}

long hub_read(subscriber *s, char *to, size_t max) {
    hub *h = s->home;
    size_t copied = 0;

    pthread_mutex_lock(&h->lock);
    while (copied < max && !h->closed && (s->sending != NULL || take_next(s))) {
        size_t left = s->sending->size - s->sent, part = left < max - copied ? left : max - copied;
        memcpy(to + copied, s->sending->data + s->sent, part);
        copied += part;
        s->sent += part;
        if (part == left) {
            bytes_release(s->sending);
            s->sending = NULL;
        }
    }
    if (copied == 0 && !h->closed) {
        s->asleep = true;
        h->sleep(s->connection);
    }
    pthread_mutex_unlock(&h->lock);
    return copied > 0 ? (long)copied : h->closed ? -1 : 0;
}

/* Wakes the subscribers of a run or, with NULL, all. */
static void wake(hub *h, const watched *run) {
    for (subscriber *s = h->first; s != NULL; s = s->next)
        if (s->asleep && (run == NULL || s->run == run)) {
            s->asleep = false;
            h->wake(s->connection);
        }
}

void hub_publish(hub *h, hub_kind kind, int run, bytes *event) {
    watched *of = NULL;
    newest *n;

    pthread_mutex_lock(&h->lock);
    if (kind >= HUB_STATE)
        of = find_run(h, run);
    n = kind < HUB_STATE ? &h->news[kind] : of != NULL ? &of->news[kind] : NULL;
    if (event == NULL || n == NULL ||
        (kind != HUB_BEAT && n->event != NULL && n->event->size == event->size &&
         memcmp(n->event->data, event->data, event->size) == 0)) {
        bytes_release(event);
    } else {
        bytes_release(n->event);
        n->event = event;
        n->version = ++h->version;
        wake(h, of);
    }
    pthread_mutex_unlock(&h->lock);
}

void hub_know_runs(hub *h, const int *runs, size_t count) {
    pthread_mutex_lock(&h->lock);
    h->known_count = count < KNOWN_MAX ? count : KNOWN_MAX;
    if (count > 0)
        memcpy(h->known, runs, h->known_count * sizeof *runs);
    for (subscriber *s = h->first; s != NULL; s = s->next)
        if (s->run == NULL)
            watch(h, s); /* without room it keeps waiting */
        else if (!is_known(h, s->wanted))
            unwatch(s);
    pthread_mutex_unlock(&h->lock);
}

size_t hub_watched(hub *h, int *runs, bool fresh, size_t *subscribers) {
    size_t count = 0;

    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < HUB_RUNS_MAX; i++)
        if (h->runs[i].subscribers > 0 && (!fresh || h->runs[i].news[HUB_CURVES].version == 0))
            runs[count++] = h->runs[i].run;
    *subscribers = h->subscribers;
    pthread_mutex_unlock(&h->lock);
    return count;
}

void hub_close(hub *h) {
    pthread_mutex_lock(&h->lock);
    h->closed = true;
    wake(h, NULL);
    pthread_mutex_unlock(&h->lock);
}
