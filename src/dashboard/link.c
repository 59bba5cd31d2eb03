/*
 * link.c - the connection to the database
 */
#include "link.h"
#include "../worker/stop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_SECONDS 10.0
#define ANSWER_SECONDS 20.0 /* beyond the server's own limit: then the network is at fault */

void link_close(db_link *l) {
    PQfinish(l->to);
    l->to = NULL;
}

/* Keeps the first line of a message. */
static void keep_error(db_link *l, const char *text) {
    snprintf(l->error, sizeof l->error, "%.*s", (int)strcspn(text, "\n"), text);
}

/* What a connection string says goes before what stands ahead of it here. */
static PGconn *start_connecting(const char *conninfo) {
    static const char *const names[] = {"keepalives_idle",           "keepalives_interval", "keepalives_count",
                                        "tcp_user_timeout",          "connect_timeout",     "dbname",
                                        "fallback_application_name", "client_encoding",     NULL};
    const char *values[] = {"10", "5", "3", "25000", "10", conninfo, "gan_dashboard", "UTF8", NULL};

    return PQconnectStartParams(names, values, 1);
}

/* Notices are for people with a terminal. */
static void ignore_notice(void *context, const PGresult *result) {
    (void)context;
    (void)result;
}

/* Has names mean the extension's functions, in whatever schema it is. Without the extension all stays as it is.
 */
static bool find_functions(db_link *l) {
    PGresult *row = link_ask(l,
                             "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e"
                             " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
                             " WHERE e.extname = 'gannsfriends'",
                             0, NULL);
    PGresult *set = NULL;
    char sql[200];

    if (row != NULL && PQntuples(row) == 1) {
        snprintf(sql, sizeof sql, "SET search_path = %s", PQgetvalue(row, 0, 0));
        set = link_ask(l, sql, 0, NULL);
    }
    PQclear(set);
    PQclear(row);
    return row != NULL && l->to != NULL;
}

/* What a statement of this program may do, whatever it is: read, for ten seconds. Some of the rest may be set
 * otherwise for a whole database. By SET, which needs no right
 * to a function: gan_revoke_risky() takes set_config from everybody. */
static bool forbid_harm(db_link *l) {
    static const char *const settings[] = {"SET default_transaction_read_only = on",
                                           "SET statement_timeout = '10s'",
                                           "SET lock_timeout = 0",
                                           "SET idle_session_timeout = 0",
                                           "SET exit_on_error = off",
                                           "SET default_transaction_isolation = 'read committed'"};

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        PGresult *set = link_ask(l, settings[i], 0, NULL);
        PQclear(set);
        if (set == NULL) {
            link_close(l);
            return false;
        }
    }
    return find_functions(l);
}

bool link_connect(db_link *l) {
    double until = stop_clock() + CONNECT_SECONDS;
    PostgresPollingStatusType polled = PGRES_POLLING_WRITING;

    if (l->to != NULL && PQstatus(l->to) == CONNECTION_OK)
        return true;
    link_close(l);
    l->to = start_connecting(l->conninfo);
    if (l->to == NULL) {
        keep_error(l, "not enough memory for a connection");
        return false;
    }
    while (PQstatus(l->to) != CONNECTION_BAD && polled != PGRES_POLLING_OK && polled != PGRES_POLLING_FAILED) {
        short events = polled == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (stop_wait(PQsocket(l->to), events, until - stop_clock()) != STOP_READY)
            break;
        polled = PQconnectPoll(l->to);
    }
    if (polled != PGRES_POLLING_OK || PQsetnonblocking(l->to, 1) != 0) {
        keep_error(l,
                   PQerrorMessage(l->to)[0] != '\0' ? PQerrorMessage(l->to) : "the database does not answer");
        link_close(l);
        return false;
    }
    PQsetNoticeReceiver(l->to, ignore_notice, NULL);
    return forbid_harm(l);
}

/* Waits until an answer can be read without waiting. */
static bool wait_answer(db_link *l, double until) {
    for (;;) {
        int unsent = PQflush(l->to);
        stop_event event;

        if (unsent < 0)
            return false;
        if (unsent == 0 && !PQisBusy(l->to))
            return true;
        event = stop_wait(PQsocket(l->to), (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)), until - stop_clock());
        if (event != STOP_READY || !PQconsumeInput(l->to))
            return false;
    }
}

/* Takes the answer to what was sent: the last result, or the one that failed. */
static PGresult *take_answer(db_link *l) {
    double until = stop_clock() + ANSWER_SECONDS;
    PGresult *answer = NULL;

    for (;;) {
        PGresult *next;
        if (!wait_answer(l, until)) {
            PQclear(answer);
            keep_error(l, PQerrorMessage(l->to)[0] != '\0' ? PQerrorMessage(l->to)
                                                           : "the database does not answer");
            link_close(l);
            return NULL;
        }
        next = PQgetResult(l->to);
        if (next == NULL)
            break;
        if (answer != NULL && PQresultStatus(answer) == PGRES_FATAL_ERROR)
            PQclear(next);
        else {
            PQclear(answer);
            answer = next;
        }
    }
    if (answer != NULL &&
        (PQresultStatus(answer) == PGRES_TUPLES_OK || PQresultStatus(answer) == PGRES_COMMAND_OK))
        return answer;
    keep_error(l, answer != NULL ? PQresultErrorMessage(answer) : PQerrorMessage(l->to));
    PQclear(answer);
    if (PQstatus(l->to) != CONNECTION_OK)
        link_close(l);
    return NULL;
}

PGresult *link_ask(db_link *l, const char *sql, int count, const char *const *values) {
    if (l->to == NULL) {
        keep_error(l, "there is no connection to the database");
        return NULL;
    }
    if (!PQsendQueryParams(l->to, sql, count, NULL, values, NULL, NULL, 0)) {
        keep_error(l, PQerrorMessage(l->to));
        link_close(l);
        return NULL;
    }
    return take_answer(l);
}

/* Appends "LISTEN channel;" to a statement of so many bytes; returns its new length. */
static size_t add_listen(db_link *l, char *sql, size_t length, size_t size, const char *channel) {
    char *name = PQescapeIdentifier(l->to, channel, strlen(channel));

    if (name != NULL && length + strlen(name) + sizeof "LISTEN ;" <= size)
        length += (size_t)sprintf(sql + length, "LISTEN %s;", name);
    PQfreemem(name);
    return length;
}

bool link_listen(db_link *l, const char *const *channels, size_t count) {
    char sql[8192] = "UNLISTEN *;";
    size_t length = strlen(sql);
    PGresult *done;

    if (l->to == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        length = add_listen(l, sql, length, sizeof sql, channels[i]);
    if (!PQsendQuery(l->to, sql)) {
        keep_error(l, PQerrorMessage(l->to));
        link_close(l);
        return false;
    }
    done = take_answer(l);
    PQclear(done);
    return done != NULL;
}

bool link_notified(db_link *l) {
    bool any = false;
    PGnotify *notification;

    if (l->to == NULL)
        return false;
    if (!PQconsumeInput(l->to)) {
        keep_error(l, PQerrorMessage(l->to));
        link_close(l);
        return false;
    }
    while ((notification = PQnotifies(l->to)) != NULL) {
        PQfreemem(notification);
        any = true;
    }
    return any;
}
