/*
 * connection.c - connecting, sending statements and taking their answers, sorting errors into those that pass
 * and those that don't
 *
 * The connection is in libpq's pipeline mode from the beginning to its end, with a Sync after each statement:
 * each is a transaction of its own, and many may be under way.
 */
#define _POSIX_C_SOURCE 200809L

#include "connection.h"
#include "display.h"
#include "hosts.h"
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

/* Takes the oldest reply off the queue; NULL if nobody waits for it. */
static server_reply *take_first(server *s) {
    server_reply *reply = s->queue[s->first];

    s->first = (s->first + 1) % REPLIES_MAX;
    s->waiting--;
    s->gap = false;
    if (reply != NULL)
        reply->awaited = false;
    return reply;
}

/* Closes the connection. What was under way on it may have happened or not. */
static void hang_up(server *s) {
    PQfinish(s->link);
    s->link = NULL;
    s->unsent = false;
    while (s->waiting > 0) {
        server_reply *reply = take_first(s);
        if (reply == NULL)
            continue;
        server_drop(reply); /* a row that came before the end of its transaction is worth nothing */
        reply->status = SERVER_RETRY;
    }
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

/* Starts connecting. What the connection string says goes before what stands ahead of it here, and after the
 * hosts behind it, where those that were silent are not the first to be asked. */
static PGconn *start_connecting(const server *s) {
    static const char *const names[] = {"keepalives_idle",
                                        "keepalives_interval",
                                        "keepalives_count",
                                        "tcp_user_timeout",
                                        "connect_timeout",
                                        "dbname",
                                        "fallback_application_name",
                                        "client_encoding",
                                        "host",
                                        "hostaddr",
                                        "port",
                                        NULL};
    hosts h = hosts_turned(s->conninfo, s->silent);
    const char *values[] = {"10",         "5",    "3",    "25000",    "10",   s->conninfo,
                            "gan_worker", "UTF8", h.host, h.hostaddr, h.port, NULL};
    PGconn *link = PQconnectStartParams(names, values, 1);

    hosts_free(&h);
    return link;
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

/* Gives up a connection that libpq can't use any more. */
static server_status lose(server *s) {
    s->state[0] = '\0';
    s->error[0] = '\0';
    add_line(s, PQerrorMessage(s->link));
    s->error[strcspn(s->error, "\n")] = '\0';
    hang_up(s);
    return SERVER_RETRY;
}

/* Puts a statement that libpq has taken at the end of the queue. */
static server_status enqueue(server *s, server_reply *reply) {
    if (!PQpipelineSync(s->link))
        return lose(s);
    s->queue[(s->first + s->waiting++) % REPLIES_MAX] = reply;
    s->unsent = true;
    return SERVER_OK;
}

/* Asks to be told of what comes on the channel. Whether that works is of no matter: who isn't woken asks again
 * after a while. */
static server_status listen_again(server *s) {
    char sql[160];
    char *name;

    if (s->channel[0] == '\0')
        return SERVER_OK;
    name = PQescapeIdentifier(s->link, s->channel, strlen(s->channel));
    if (name == NULL)
        return lose(s);
    snprintf(sql, sizeof sql, "LISTEN %s", name);
    PQfreemem(name);
    return PQsendQueryParams(s->link, sql, 0, NULL, NULL, NULL, NULL, 0) ? enqueue(s, NULL) : lose(s);
}

/* Makes a fresh connection ready for statements, and listens where the workers of the run are woken. */
static server_status begin_pipeline(server *s) {
    if (PQsetnonblocking(s->link, 1) != 0 || !PQenterPipelineMode(s->link))
        return lose(s);
    return listen_again(s);
}

server_status server_connect(server *s) {
    double until = stop_clock() + CONNECT_SECONDS;
    PostgresPollingStatusType polled = PGRES_POLLING_WRITING;

    if (server_connected(s))
        return SERVER_OK;
    hang_up(s);
    s->link = start_connecting(s);
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
            s->silent++;
            hang_up(s);
            return SERVER_RETRY;
        }
        polled = PQconnectPoll(s->link);
    }
    if (polled == PGRES_POLLING_FAILED)
        return connect_failed(s);
    PQsetErrorVerbosity(s->link, PQERRORS_DEFAULT);
    return begin_pipeline(s);
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

/* Notes an answer in its reply. */
static void note_answer(server *s, server_reply *reply, PGresult *result) {
    server_status status = SERVER_OK;

    if (reply == NULL) {
        PQclear(result);
        return;
    }
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        status = statement_failed(s, result);
    else if (PQntuples(result) != 1 || PQnfields(result) != reply->columns)
        status = connection_nonsense(s, "a result");
    if (status != SERVER_OK) {
        PQclear(result);
        result = NULL;
    }
    reply->status = status;
    reply->row = result;
}

/* Takes one result: a statement's, the end of its results (NULL), or the end of its transaction. */
static void take_result(server *s, PGresult *result) {
    if (result == NULL)
        return;
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        (void)take_first(s);
    } else if (!s->gap || PQresultStatus(result) == PGRES_FATAL_ERROR) {
        /* An error may follow the row: the transaction's end failed. */
        server_reply *reply = s->queue[s->first];
        if (s->gap && reply != NULL)
            server_drop(reply);
        s->gap = true;
        note_answer(s, reply, result);
    } else
        PQclear(result);
}

/* Notes whether something came on the channel. What it says is of no matter: anybody could have sent it. */
static void take_notifications(server *s) {
    PGnotify *note;

    while (s->link != NULL && (note = PQnotifies(s->link)) != NULL) {
        if (strcmp(note->relname, s->channel) == 0)
            s->woken = s->noted = true;
        PQfreemem(note);
    }
}

void server_receive(server *s) {
    int left, idle = 0;

    if (s->link == NULL)
        return;
    if ((left = PQflush(s->link)) < 0 || !PQconsumeInput(s->link)) {
        (void)lose(s);
        return;
    }
    s->unsent = left > 0;
    while (s->link != NULL && s->waiting > 0 && !PQisBusy(s->link)) {
        PGresult *result = PQgetResult(s->link);
        idle = result == NULL ? idle + 1 : 0;
        if (idle > 2) { /* libpq has nothing more to say, but owes answers */
            (void)lose(s);
            return;
        }
        take_result(s, result);
    }
    take_notifications(s);
    if (s->link != NULL && PQstatus(s->link) != CONNECTION_OK)
        (void)lose(s);
}

int server_descriptor(const server *s) {
    return s->link != NULL ? PQsocket(s->link) : -1;
}

short server_events(const server *s) {
    return s->unsent ? POLLIN | POLLOUT : POLLIN;
}

bool server_woken(server *s) {
    bool woken = s->woken;

    s->woken = false;
    return woken;
}

bool server_noted(const server *s) {
    return s->noted;
}

void server_listen(server *s, const char *channel) {
    snprintf(s->channel, sizeof s->channel, "%s", channel);
    if (server_connected(s))
        (void)listen_again(s);
}

void server_wait(server *s, double seconds) {
    struct pollfd fd = {.fd = server_descriptor(s), .events = server_events(s)};

    (void)poll(&fd, 1, (int)(seconds * 1000)); /* a signal or too early a return do no harm */
    server_receive(s);
}

void server_await(server *s, const server_reply *reply) {
    server_receive(s);
    while (reply->awaited)
        server_wait(s, 1);
}

void server_settle(server *s) {
    server_receive(s);
    while (s->waiting > 0)
        server_wait(s, 1);
}

void connection_send(server *s, const char *sql, const server_value *values, int count, int columns,
                     bool binary_result, server_reply *reply) {
    const char *data[PARAMETERS_MAX];
    int sizes[PARAMETERS_MAX], formats[PARAMETERS_MAX];
    server_status status = server_connect(s);

    *reply = (server_reply){.status = status, .columns = columns};
    if (status != SERVER_OK)
        return;
    if (count > PARAMETERS_MAX) {
        reply->status = connection_nonsense(s, "a statement");
        return;
    }
    for (int i = 0; i < count; i++) {
        if (values[i].size > INT_MAX) {
            reply->status = connection_nonsense(s, "a size");
            return;
        }
        data[i] = values[i].data;
        sizes[i] = (int)values[i].size;
        formats[i] = values[i].size > 0;
    }
    while (s->waiting == REPLIES_MAX)
        server_wait(s, 1);
    if (s->link == NULL)
        reply->status = SERVER_RETRY;
    else if (!PQsendQueryParams(s->link, sql, count, NULL, data, sizes, formats, binary_result))
        reply->status = lose(s);
    else if ((reply->status = enqueue(s, reply)) == SERVER_OK) {
        reply->awaited = true;
        server_receive(s);
    }
}

server_status connection_read(server *s, server_reply *reply, PGresult **row) {
    server_await(s, reply);
    *row = reply->row;
    reply->row = NULL;
    return reply->status;
}

server_status connection_row(server *s, const char *sql, const server_value *values, int count, int columns,
                             bool binary_result, PGresult **row) {
    server_reply reply;

    connection_send(s, sql, values, count, columns, binary_result, &reply);
    return connection_read(s, &reply, row);
}
