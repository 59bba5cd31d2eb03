/*
 * connection.c - connecting, sending statements, reading their answers, and sorting errors into
 * temporary and final ones
 *
 * The connection is in libpq's pipeline mode from the beginning to its end, with a Sync after each
 * statement: each is a transaction of its own, and many may be under way.
 */
#define _POSIX_C_SOURCE 200809L

#include "statement.h"
#include "../../student/display.h"
#include "../../common/stop.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS_MAX 10 /* gan_join takes the most */

/* Prints the server's notices. */
static void print_notice(void *context, const PGresult *result) {
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    (void)context;
    if (text == NULL)
        text = PQresultErrorMessage(result);
    display_warn("server: %.*s", (int)strcspn(text, "\n"), text);
}

server *server_new(const char *conninfo) {
    server *made = calloc(1, sizeof *made);

    if (made != NULL && dial_open(&made->dialler, conninfo, "gan_worker") != 0) {
        free(made);
        return NULL;
    }
    return made;
}

void server_free(server *s) {
    if (s == NULL)
        return;
    PQfinish(s->link);
    dial_close(&s->dialler);
    free(s);
}

const char *server_error(const server *s) {
    return s->trouble.text;
}

const trouble *server_trouble(const server *s) {
    return &s->trouble;
}

const char *server_state(const server *s) {
    return s->trouble.state;
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

/* Closes the connection. Statements under way on it may or may not have taken effect. */
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

/* Closes a connection that is no longer usable. */
static server_status lose_for(server *s, const char *message) {
    trouble_set(&s->trouble, true, "",
                message[0] != '\0' ? message : "the connection to the server is lost",
                "Check that this computer is online");
    hang_up(s);
    return SERVER_RETRY;
}

/* Gives up a connection that libpq can no longer use. */
static server_status lose(server *s) {
    char message[300];

    snprintf(message, sizeof message, "%.*s", (int)strcspn(PQerrorMessage(s->link), "\n"),
             PQerrorMessage(s->link));
    return lose_for(s, message);
}

/* Joins a message and its detail into one sentence if both come from the class's own functions.
 * PostgreSQL's own details would not help a student. */
static void add_detail(char *message, size_t size, const char *state, const char *primary,
                       const char *detail) {
    bool ours = strncmp(state, "UG", 2) == 0 && detail != NULL;

    snprintf(message, size, "%s%s%s", primary, ours ? ": " : "", ours ? detail : "");
}

/* Keeps why a statement failed, and closes a connection that is no longer usable. Without an
 * SQLSTATE it was libpq that failed; after a failed write it may still report a good connection. */
static server_status statement_failed(server *s, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char message[800];

    if (state == NULL)
        return lose_for(s, primary != NULL ? primary : PQerrorMessage(s->link));
    add_detail(message, sizeof message, state, primary != NULL ? primary : "the server failed",
               PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    trouble_of_server(&s->trouble, state, message, PQresultErrorField(result, PG_DIAG_MESSAGE_HINT),
                      s->dialler.known);
    if (PQstatus(s->link) != CONNECTION_OK || strncmp(state, "57P", 3) == 0 ||
        strncmp(state, "08", 2) == 0) {
        hang_up(s);
        return SERVER_RETRY;
    }
    return s->trouble.passes ? SERVER_RETRY : SERVER_FATAL;
}

void server_hang_up(server *s) {
    hang_up(s);
}

/* Puts a statement that libpq has taken at the end of the queue. */
static server_status enqueue(server *s, server_reply *reply) {
    if (!PQpipelineSync(s->link))
        return lose(s);
    s->queue[(s->first + s->waiting++) % REPLIES_MAX] = reply;
    s->unsent = true;
    return SERVER_OK;
}

/* Listens on the channel. A failure does not matter: a worker that isn't woken asks again after a
 * while. */
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
    return PQsendQueryParams(s->link, sql, 0, NULL, NULL, NULL, NULL, 0) ? enqueue(s, NULL)
                                                                         : lose(s);
}

/* Makes a fresh connection ready for statements, and listens on the channel that wakes the run's
 * workers. */
static server_status begin_pipeline(server *s) {
    if (PQsetnonblocking(s->link, 1) != 0 || !PQenterPipelineMode(s->link))
        return lose(s);
    return listen_again(s);
}

server_status server_connect(server *s) {
    if (server_connected(s))
        return SERVER_OK;
    hang_up(s);
    s->link = dial(&s->dialler, &s->trouble);
    if (s->link == NULL)
        return s->trouble.passes ? SERVER_RETRY : SERVER_FATAL;
    PQsetNoticeReceiver(s->link, print_notice, NULL);
    return begin_pipeline(s);
}

server_status connection_nonsense(server *s, const char *thing) {
    char what[200];

    snprintf(what, sizeof what, "the server sent %s that this program can't use", thing);
    trouble_set(
        &s->trouble, false, "", what,
        "Tell your instructor: gan_worker and the server's gannsfriends need the same version");
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

/* Notes whether something came on the channel. The payload is ignored: anybody could have sent
 * it. */
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

void server_drop(server_reply *reply) {
    PQclear(reply->row);
    reply->row = NULL;
}

void server_listen(server *s, const char *channel) {
    snprintf(s->channel, sizeof s->channel, "%s", channel);
    if (server_connected(s))
        (void)listen_again(s);
}

void server_wait(server *s, double seconds) {
    struct pollfd fd = {.fd = server_descriptor(s), .events = server_events(s)};

    (void)poll(&fd, 1, (int)(seconds * 1000)); /* a signal or an early return does no harm */
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

server_status connection_row(server *s, const char *sql, const server_value *values, int count,
                             int columns, bool binary_result, PGresult **row) {
    server_reply reply;

    connection_send(s, sql, values, count, columns, binary_result, &reply);
    return connection_read(s, &reply, row);
}
