/*
 * standing.c - how the run and this student are doing, and the instructor's messages
 *
 * The question is sent between other statements, which don't wait for it, so it costs no round
 * trip. It is asked every 10 seconds. A notification may mean a message; then it is asked as soon
 * as 5 seconds have passed since the last question.
 */
#include "standing.h"
#include "../../common/clock.h"
#include "../../common/stop.h"

#include <stdio.h>
#include <string.h>

#define EVERY_SECONDS 10.0
#define WOKEN_SECONDS 5.0

void standing_begin(standing *st, int32_t worker) {
    *st = (standing){.worker = worker, .last = clock_now() - EVERY_SECONDS, .message = -1};
}

/* Shows the messages that came, one a line. */
static void show_messages(char *messages) {
    for (char *line = messages, *next; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        display_say("instructor: %s", line);
    }
}

/* Reads an answer. */
static void take(standing *st, server *s, display_state *display) {
    server_standing_row row;
    server_status status = server_standing_read(s, &st->reply, &row);

    st->asked = false;
    if (status == SERVER_FATAL)
        st->unknown = true; /* a server of another version; the answer is optional */
    if (status != SERVER_OK)
        return;
    display->rank = row.rank;
    display->of = row.of;
    display->share = row.share;
    display->seconds_left = row.seconds_left;
    st->message = row.message;
    show_messages(row.messages);
}

void standing_poll(standing *st, server *s, display_state *display) {
    double since = clock_now() - st->last;

    if (st->asked && !st->reply.awaited)
        take(st, s, display);
    if (st->asked || st->unknown || !server_connected(s) ||
        since < (server_noted(s) ? WOKEN_SECONDS : EVERY_SECONDS))
        return;
    st->last = clock_now();
    st->asked = true;
    server_standing_send(s, st->worker, st->message, &st->reply);
}

void standing_end(standing *st, server *s) {
    if (st->asked) {
        server_await(s, &st->reply);
        server_drop(&st->reply);
    }
    st->asked = false;
}
