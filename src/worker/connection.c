/*
 * connection.c - connecting, running one statement, sorting errors into those that pass and those that don't
 */
#define _POSIX_C_SOURCE 200809L

#include "connection.h"
#include "display.h"
#include "stop.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_SECONDS 10.0
#define PARAMETERS_MAX 8

/* Prints what the server has to say besides results. */
static void print_notice(void *context, const PGresult *result) {
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    (void)context;
    if (text == NULL)
        text = PQresultErrorMessage(result);
    display_warn("server: %.*s", (int)strcspn(text, "\n"), text);
}

server *server_new(const char *conninfo) {
    server *made = calloc(1, sizeof *made);

    if (made != NULL && conninfo != NULL && (made->conninfo = strdup(conninfo)) == NULL) {
        free(made);
        return NULL;
    }
    return made;
}

void server_free(server *s) {
    if (s == NULL)
        return;
    PQfinish(s->link);
    free(s->conninfo);
    free(s);
}

const char *server_error(const server *s) {
    return s->error;
}

const char *server_state(const server *s) {
    return s->state;
}

bool server_connected(const server *s) {
    return s->link != NULL && PQstatus(s->link) == CONNECTION_OK;
}

/* Closes the connection. */
static void hang_up(server *s) {
    PQfinish(s->link);
    s->link = NULL;
}

/* Sorts an SQLSTATE: is it worth another try? */
static server_status sort_state(const char *state) {
    static const char *const passing[] = {"08",    "53",    "40",    "57P01", "57P02",
                                          "57P03", "57P05", "57014", "55P03", "25P03"};

    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (strncmp(state, passing[i], strlen(passing[i])) == 0)
            return SERVER_RETRY;
    return SERVER_FATAL;
}

/* Adds a line to the error. */
static void add_line(server *s, const char *line) {
    size_t length = strlen(s->error);

    if (line != NULL && line[0] != '\0')
        snprintf(s->error + length, sizeof s->error - length, "%s%s", length > 0 ? "\n  " : "", line);
}

/* Says what may help where the server itself gives no hint. */
static const char *hint_for(const char *state) {
    if (strncmp(state, "28", 2) == 0)
        return "Check the login and the password of your connection string; your instructor can make a new "
               "one.";
    if (strcmp(state, "3D000") == 0)
        return "Check the database's name at the end of your connection string.";
    if (strcmp(state, "42883") == 0)
        return "Is this the right database? The extension gannsfriends is not in it, or in another version.";
    if (strcmp(state, "42501") == 0)
        return "Only logins made by gan_enroll (members of gan_student) may do this; ask your instructor.";
    return NULL;
}

/*
 * Keeps why connecting failed. libpq has no SQLSTATE for that but in the verbose message "FATAL:  28P01:
 * password …\nLOCATION: …".
 */
static server_status connect_failed(server *s) {
    const char *text = PQerrorMessage(s->link);
    const char *colon = strstr(text, ":  ");
    size_t length = strlen(text);
    const char *location = strstr(text, "\nLOCATION:");
    server_status status = SERVER_RETRY;

    s->state[0] = '\0';
    if (colon != NULL && strspn(colon + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && colon[8] == ':') {
        memcpy(s->state, colon + 3, 5);
        s->state[5] = '\0';
        status = sort_state(s->state);
    } else if (PQconnectionNeedsPassword(s->link))
        status = SERVER_FATAL;
    if (location != NULL)
        length = (size_t)(location - text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    snprintf(s->error, sizeof s->error, "%.*s", (int)(length < INT_MAX ? length : 0), text);
    add_line(s, PQconnectionNeedsPassword(s->link)
                    ? "Put the password into the connection string, or into PGPASSWORD."
                    : hint_for(s->state));
    hang_up(s);
    return status;
}

/* Tells whether libpq refused a value of the connection string: it says so before it goes near the network. */
static bool is_bad_value(const server *s) {
    return strncmp(PQerrorMessage(s->link), "invalid ", 8) == 0;
}

/* Fails for good, without libpq's message: what it quotes may be a piece of a password with ":" or "@" in it.
 */
static server_status bad_value(server *s) {
    s->state[0] = '\0';
    snprintf(
        s->error, sizeof s->error,
        "the connection string has a port, sslmode or other option that can't be\n  In a password, write @ as "
        "%%40, : as %%3A and / as %%2F; port and the rest are as your instructor gave them.");
    hang_up(s);
    return SERVER_FATAL;
}

/* Starts connecting. What the connection string says goes before what stands ahead of it here. */
static PGconn *start_connecting(const char *conninfo) {
    static const char *const names[] = {"keepalives_idle",           "keepalives_interval", "keepalives_count",
                                        "tcp_user_timeout",          "connect_timeout",     "dbname",
                                        "fallback_application_name", "client_encoding",     NULL};
    const char *values[] = {"10", "5", "3", "25000", "10", conninfo, "gan_worker", "UTF8", NULL};

    return PQconnectStartParams(names, values, 1);
}

server_status server_connect(server *s) {
    double until = stop_clock() + CONNECT_SECONDS;
    PostgresPollingStatusType polled = PGRES_POLLING_WRITING;

    if (server_connected(s))
        return SERVER_OK;
    hang_up(s);
    s->link = start_connecting(s->conninfo);
    if (s->link == NULL) {
        snprintf(s->error, sizeof s->error, "not enough memory for a connection");
        return SERVER_FATAL;
    }
    if (PQstatus(s->link) == CONNECTION_BAD)
        return is_bad_value(s) ? bad_value(s) : connect_failed(s);
    PQsetErrorVerbosity(s->link, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(s->link, print_notice, NULL);
    while (polled != PGRES_POLLING_OK && polled != PGRES_POLLING_FAILED) {
        short events = polled == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        stop_event event = stop_wait(PQsocket(s->link), events, until - stop_clock());

        if (event != STOP_READY) {
            snprintf(s->error, sizeof s->error, "the server does not answer (no connection within %.0f s)",
                     CONNECT_SECONDS);
            s->state[0] = '\0';
            hang_up(s);
            return SERVER_RETRY;
        }
        polled = PQconnectPoll(s->link);
    }
    if (polled == PGRES_POLLING_FAILED)
        return connect_failed(s);
    PQsetErrorVerbosity(s->link, PQERRORS_DEFAULT);
    return SERVER_OK;
}

/* Keeps why a statement failed, and closes a connection that is of no more use. */
static server_status statement_failed(server *s, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    /* Without an SQLSTATE it was libpq that failed. After a failed write it may still call the connection fine.
     */
    bool lost = state == NULL || PQstatus(s->link) != CONNECTION_OK;

    snprintf(s->state, sizeof s->state, "%s", state != NULL ? state : "");
    s->error[0] = '\0';
    add_line(s, primary != NULL ? primary : PQerrorMessage(s->link));
    s->error[strcspn(s->error, "\n")] = '\0';
    add_line(s, PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    add_line(s, hint != NULL ? hint : hint_for(s->state));
    if (lost || strncmp(s->state, "57P", 3) == 0 || strncmp(s->state, "08", 2) == 0) {
        hang_up(s);
        lost = true;
    }
    return lost ? SERVER_RETRY : sort_state(s->state);
}

server_status connection_nonsense(server *s, const char *thing) {
    s->state[0] = '\0';
    snprintf(
        s->error, sizeof s->error,
        "the server sent %s that this program can't use\n  Do gan_worker and the server's extension have the "
        "same version?",
        thing);
    return SERVER_FATAL;
}

server_status connection_row(server *s, const char *sql, const server_value *values, int count, int columns,
                             bool binary_result, PGresult **result) {
    const char *data[PARAMETERS_MAX];
    int sizes[PARAMETERS_MAX], formats[PARAMETERS_MAX];
    server_status status = server_connect(s);

    *result = NULL;
    if (status != SERVER_OK)
        return status;
    if (count > PARAMETERS_MAX)
        return connection_nonsense(s, "a statement");
    for (int i = 0; i < count; i++) {
        if (values[i].size > INT_MAX)
            return connection_nonsense(s, "a size");
        data[i] = values[i].data;
        sizes[i] = (int)values[i].size;
        formats[i] = values[i].size > 0;
    }
    *result = PQexecParams(s->link, sql, count, NULL, data, sizes, formats, binary_result);
    if (PQresultStatus(*result) != PGRES_TUPLES_OK)
        status = statement_failed(s, *result);
    else if (PQntuples(*result) != 1 || PQnfields(*result) != columns)
        status = connection_nonsense(s, "a result");
    if (status != SERVER_OK) {
        PQclear(*result);
        *result = NULL;
    }
    return status;
}
