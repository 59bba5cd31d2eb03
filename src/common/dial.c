/*
 * dial.c - connecting, address by address
 */
#define _GNU_SOURCE

#include "dial.h"
#include "clock.h"
#include "stop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CONNECT_SECONDS 10.0
#define FIRST_SECONDS 3.0 /* for each address in the first round, where there are several */
#define LEAST_SECONDS 2.0 /* as libpq has it */

/* The outcome of an attempt. */
typedef enum attempt { CONNECTED, NEXT_ADDRESS, GIVE_UP } attempt;

int dial_open(dialler *d, const char *conninfo, const char *program) {
    *d = (dialler){.program = program, .hosts = hosts_new(conninfo)};
    if (conninfo != NULL)
        d->conninfo = strdup(conninfo);
    if (d->hosts != NULL && (conninfo == NULL || d->conninfo != NULL))
        return 0;
    dial_close(d);
    return -1;
}

void dial_close(dialler *d) {
    hosts_free(d->hosts);
    free(d->conninfo);
    d->hosts = NULL;
    d->conninfo = NULL;
}

/* Names a target for a person. */
static void name_target(const hosts_target *t, char *text, size_t size) {
    if (t->address[0] == '\0')
        snprintf(text, size, "this computer%s%s", t->host != NULL ? ", socket in " : "",
                 t->host != NULL ? t->host : "");
    else if (t->host != NULL && strcmp(t->host, t->address) != 0)
        snprintf(text, size, "%s (%s)", t->host, t->address);
    else
        snprintf(text, size, "%s", t->address);
}

/* A later value overrides an earlier one: the connection string overrides the settings before it,
 * and the target, after it, overrides the connection string. */
static PGconn *start(const dialler *d, const hosts_target *t, const char *attributes) {
    static const char *const names[] = {"keepalives_idle",
                                        "keepalives_interval",
                                        "keepalives_count",
                                        "tcp_user_timeout",
                                        "dbname",
                                        "fallback_application_name",
                                        "client_encoding",
                                        "host",
                                        "hostaddr",
                                        "port",
                                        "target_session_attrs",
                                        NULL};
    const char *values[] = {"10",    "5",         "3",
                            "25000", d->conninfo, d->program,
                            "UTF8",  t->host,     t->address[0] != '\0' ? t->address : NULL,
                            t->port, attributes,  NULL};

    return PQconnectStartParams(names, values, 1);
}

/* Fails for good, without libpq's message, which may quote a piece of a password with ":" or "@" in
 * it. */
static attempt bad_value(trouble *t) {
    trouble_set(t, false, "",
                "the connection string has a port, sslmode or other option that can't be",
                "In a password, write @ as %40, : as %3A and / as %2F; port and the rest are as "
                "your instructor gave "
                "them");
    return GIVE_UP;
}

/* Finds the SQLSTATE and the message of the server in libpq's verbose "…FATAL:  28P01: password
 * …\nLOCATION: …". */
static bool find_state(const char *text, char state[6], char *message, size_t size) {
    const char *colon = strstr(text, ":  ");

    if (colon == NULL || strspn(colon + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 ||
        colon[8] != ':')
        return false;
    memcpy(state, colon + 3, 5);
    state[5] = '\0';
    colon += 9 + strspn(colon + 9, " ");
    snprintf(message, size, "%.*s", (int)strcspn(colon, "\n"), colon);
    return true;
}

/* Finds what libpq says behind 'connection to server at "…", port … failed: '. */
static const char *find_reason(const char *text) {
    const char *failed = strstr(text, " failed: ");

    return failed != NULL && strncmp(text, "connection to server", 20) == 0 ? failed + 9 : text;
}

#define REFUSED "Connection refused"

/* Failures for which libpq has no SQLSTATE, and what to do; final: only a person can help. */
static const struct {
    const char *part;
    bool final;
    const char *what, *remedy; /* NULL: libpq's */
} reasons[] = {
    {"no password supplied", true, "the connection string has no password",
     "Put the password into the connection string, or into PGPASSWORD"},
    {"certificate verify failed", true, NULL,
     "Ask your instructor for the class's certificate; sslrootcert in the connection string names "
     "its file"},
    {"root certificate file", true, NULL,
     "Put the class's certificate there, or name its file with sslrootcert in the connection "
     "string"},
    {"does not match host name", true, NULL,
     "Use the host name that is in the certificate; ask your instructor for it"},
    {"does not support SSL", true, "the server has no TLS, which your connection string asks for",
     "Tell your instructor, or leave sslmode out of the connection string"},
    {"invalid response to SSL negotiation", true, "that address is not a PostgreSQL server's",
     "Check the host and the port in your connection string"},
    {"expected authentication request", true, "that address is not a PostgreSQL server's",
     "Check the host and the port in your connection string"},
    {REFUSED, false, NULL, "Check the host and the port in your connection string"},
    {"No such file or directory", false, NULL, "Check the host in your connection string"},
    {"unreachable", false, NULL, "Check that this computer is online"},
    {"No route to host", false, NULL, "Check that this computer is online"},
    {"session is read-only", false,
     "the server accepts no changes at the moment: maintenance, or a failover", NULL},
};

/* Describes what happened, more plainly than libpq where possible. */
static void describe(const hosts_target *target, const PGconn *link, const char *reason, char *text,
                     size_t size) {
    char name[320];

    name_target(target, name, sizeof name);
    if (strncmp(reason, REFUSED, strlen(REFUSED)) == 0)
        snprintf(text, size, "%s refuses connections on port %s: no server runs there", name,
                 PQport(link));
    else
        snprintf(text, size, "connecting to %s, port %s, failed: %.*s", name, PQport(link),
                 (int)strcspn(reason, "\n"), reason);
}

/* Finds out from libpq's message why an attempt failed; tells whether other targets may work. */
static attempt explain(const dialler *d, const hosts_target *target, const PGconn *link,
                       trouble *t) {
    const char *text = PQerrorMessage(link), *reason = find_reason(text);
    char state[6], message[600];

    if (strncmp(text, "invalid ", 8) == 0)
        return bad_value(t);
    if (find_state(text, state, message, sizeof message)) {
        trouble_of_server(t, state, message, NULL, d->known);
        return t->passes ? NEXT_ADDRESS : GIVE_UP;
    }
    describe(target, link, reason, message, sizeof message);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strstr(text, reasons[i].part) != NULL || (i == 0 && PQconnectionNeedsPassword(link))) {
            trouble_set(t, !reasons[i].final, "",
                        reasons[i].what != NULL ? reasons[i].what : message, reasons[i].remedy);
            return t->passes ? NEXT_ADDRESS : GIVE_UP;
        }
    if (reason == text && PQsocket(link) < 0) { /* before anything was sent */
        if (strstr(text, "service") == NULL)
            return bad_value(t);
        trouble_set(t, false, "", text,
                    "Check the service in your connection string, or PGSERVICE");
        return GIVE_UP;
    }
    trouble_set(t, true, "", message, NULL);
    return NEXT_ADDRESS;
}

/* Continues a connection until it is made, fails, or is silent for too long. */
static attempt finish(const dialler *d, const hosts_target *target, PGconn *link, double seconds,
                      trouble *t) {
    PostgresPollingStatusType polled = PGRES_POLLING_WRITING;
    double until = clock_now() + seconds;
    char name[320], text[500];

    PQsetErrorVerbosity(link, PQERRORS_VERBOSE);
    while (polled != PGRES_POLLING_OK && polled != PGRES_POLLING_FAILED) {
        short events = polled == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        stop_event event = stop_wait(PQsocket(link), events, until - clock_now());

        if (event != STOP_READY) {
            name_target(target, name, sizeof name);
            snprintf(text, sizeof text, "%s, port %s, does not answer (silent for %.0f s)", name,
                     PQport(link), seconds);
            trouble_set(
                t, true, "", text,
                "Check that this computer is online, and the host in your connection string");
            return event == STOP_ASKED ? GIVE_UP : NEXT_ADDRESS;
        }
        polled = PQconnectPoll(link);
    }
    if (polled == PGRES_POLLING_FAILED)
        return explain(d, target, link, t);
    PQsetErrorVerbosity(link, PQERRORS_DEFAULT);
    return CONNECTED;
}

/* Tries one address. */
static attempt try_target(const dialler *d, const hosts_target *target, const char *attributes,
                          double seconds, PGconn **link, trouble *t) {
    attempt a = GIVE_UP;

    *link = start(d, target, attributes);
    if (*link == NULL)
        trouble_set(t, false, "", "there is not enough memory for a connection",
                    "Close other programs");
    else if (PQstatus(*link) == CONNECTION_BAD)
        a = explain(d, target, *link, t);
    else
        a = finish(d, target, *link, seconds, t);
    if (a != CONNECTED) {
        PQfinish(*link);
        *link = NULL;
    }
    return a;
}

/* Says that a name was not found. */
static void explain_name(const dialler *d, hosts_found found, const char *name, trouble *t) {
    char what[400];

    if (found == HOSTS_WRONG) {
        bad_value(t);
        return;
    }
    snprintf(what, sizeof what,
             found == HOSTS_UNKNOWN ? "there is no computer named \"%.300s\""
                                    : "the name \"%.300s\" can't be looked up",
             name != NULL ? name : "");
    trouble_set(t, found == HOSTS_LATER || d->answered, "", what,
                found == HOSTS_LATER || d->answered ? "Check that this computer is online"
                                                    : "Check the host in your connection string");
}

/* Chooses the first target: the one that answered last, or any. */
static size_t choose_first(const dialler *d, const hosts_target *targets, size_t count) {
    unsigned char random = 0;

    if (hosts_at_random(d->hosts) && getrandom(&random, 1, GRND_NONBLOCK) == 1)
        return random % count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(targets[i].address, d->last) == 0)
            return i;
    return 0;
}

/* Returns how long an address may be silent. */
static double patience(const dialler *d, size_t count) {
    double given = hosts_timeout(d->hosts);

    if (given > 0)
        return given < LEAST_SECONDS ? LEAST_SECONDS : given;
    return count > 1 && !d->patient ? FIRST_SECONDS : CONNECT_SECONDS;
}

/* Tells whether one trouble says more than another: an answer of a server says more than none, and
 * a temporary failure more than a mistake in one of several addresses. */
static bool tells_more(const trouble *t, const trouble *other) {
    if ((t->state[0] != '\0') != (other->state[0] != '\0'))
        return t->state[0] != '\0';
    return t->passes && !other->passes;
}

/* Tries all targets in turn, up to the first one whose server lets this program in or turns it away
 * for good. */
static PGconn *try_all(dialler *d, const hosts_target *targets, size_t count,
                       const char *attributes, trouble *t) {
    size_t first = choose_first(d, targets, count);
    PGconn *link = NULL;
    trouble own;

    for (size_t i = 0; i < count; i++) {
        const hosts_target *target = &targets[(first + i) % count];
        attempt a = try_target(d, target, attributes, patience(d, count), &link, &own);

        if (a == CONNECTED) {
            snprintf(d->last, sizeof d->last, "%s", target->address);
            d->answered = true;
            return link;
        }
        d->answered = d->answered || own.state[0] != '\0';
        if (i == 0 || tells_more(&own, t))
            *t = own;
        if (stop_asked() || (a == GIVE_UP && own.state[0] != '\0'))
            return NULL;
    }
    return NULL;
}

PGconn *dial(dialler *d, trouble *t) {
    hosts_target targets[HOSTS_TARGETS_MAX];
    bool standby_first = hosts_standby_first(d->hosts);
    size_t count;
    const char *name;
    PGconn *link;
    hosts_found found = hosts_look_up(d->hosts, targets, &count, &name);

    if (found != HOSTS_FOUND) {
        explain_name(d, found, name, t);
        return NULL;
    }
    link = try_all(d, targets, count, standby_first ? "standby" : NULL, t);
    if (link == NULL && t->passes && standby_first && !stop_asked())
        link = try_all(d, targets, count, "any", t);
    d->patient = link == NULL;
    return link;
}
