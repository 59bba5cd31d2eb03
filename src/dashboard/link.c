/*
 * link.c - the connection to the database
 */
#include "link.h"
#include "../common/clock.h"
#include "../common/stop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_SECONDS 20.0 /* beyond the server's own limit: then the network is at fault */

static void link_close(db_link *l) {
    PQfinish(l->to);
    l->to = NULL;
}

int link_open(db_link *l, const char *conninfo) {
    l->to = NULL;
    return dial_open(&l->dialler, conninfo, "gan_dashboard");
}

void link_free(db_link *l) {
    link_close(l);
    dial_close(&l->dialler);
}

/* Keeps libpq's message about a lost connection, and closes it. */
static void lose(db_link *l) {
    const char *text = PQerrorMessage(l->to);

    trouble_set(&l->trouble, true, "", text[0] != '\0' ? text : "the database does not answer",
                "Check the network between here and the database");
    link_close(l);
}

/* Keeps why a statement failed; closes a connection that is no longer usable. */
static void keep_failure(db_link *l, const PGresult *answer) {
    const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(answer, PG_DIAG_MESSAGE_PRIMARY);

    if (answer == NULL || state == NULL) {
        lose(l);
        return;
    }
    trouble_of_server(&l->trouble, state, message != NULL ? message : "the database failed",
                      strcmp(state, "42501") == 0
                          ? "Make the login a member of the role gan_viewer"
                          : PQresultErrorField(answer, PG_DIAG_MESSAGE_HINT),
                      l->dialler.known);
    if (PQstatus(l->to) != CONNECTION_OK)
        link_close(l);
}

/* Notices are for people with a terminal. */
static void ignore_notice(void *context, const PGresult *result) {
    (void)context;
    (void)result;
}

/* Sets search_path to the extension's schema, so that names mean its functions. Does nothing
 * without the extension. */
static bool find_functions(db_link *l) {
    PGresult *row =
        link_ask(l,
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

/* Limits every statement of this program to reading, for ten seconds. The other settings undo what
 * a database may have set. SET is used because set_config() may be forbidden: gan_revoke_risky()
 * takes the right to it from everybody. */
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
    if (l->to != NULL && PQstatus(l->to) == CONNECTION_OK)
        return true;
    link_close(l);
    l->to = dial(&l->dialler, &l->trouble);
    if (l->to == NULL)
        return false;
    if (PQsetnonblocking(l->to, 1) != 0) {
        lose(l);
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
        event = stop_wait(PQsocket(l->to), (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)),
                          until - clock_now());
        if (event != STOP_READY || !PQconsumeInput(l->to))
            return false;
    }
}

/* Takes the answer to a statement: the last result, or the one that failed. */
static PGresult *take_answer(db_link *l) {
    double until = clock_now() + ANSWER_SECONDS;
    PGresult *answer = NULL;

    for (;;) {
        PGresult *next;
        if (!wait_answer(l, until)) {
            PQclear(answer);
            lose(l);
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
    keep_failure(l, answer);
    PQclear(answer);
    return NULL;
}

PGresult *link_ask(db_link *l, const char *sql, int count, const char *const *values) {
    if (l->to == NULL) {
        trouble_set(&l->trouble, true, "", "there is no connection to the database", NULL);
        return NULL;
    }
    if (!PQsendQueryParams(l->to, sql, count, NULL, values, NULL, NULL, 0)) {
        lose(l);
        return NULL;
    }
    return take_answer(l);
}

/* Appends "LISTEN channel;" to a statement of the given length; returns its new length. */
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
        lose(l);
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
        lose(l);
        return false;
    }
    while ((notification = PQnotifies(l->to)) != NULL) {
        PQfreemem(notification);
        any = true;
    }
    return any;
}
