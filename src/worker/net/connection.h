/*
 * connection.h - the connection to the server: made when it is needed, and made again
 *
 * protocol.h has the functions that send and read on it. Each of them connects first if there is no
 * connection, and may be called again after SERVER_RETRY. One thread at a time.
 */
#ifndef GANN_CONNECTION_H
#define GANN_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../common/trouble.h"

typedef enum server_status {
    SERVER_OK,
    SERVER_RETRY, /* no connection, or the server is short of something: may work later */
    SERVER_FATAL  /* trying again won't help */
} server_status;

typedef struct server server;

/*
 * A statement under way. The caller must not move the reply until awaited is false; then the
 * function that reads the answer returns it. A reply that will not be read is given to
 * server_drop().
 */
typedef struct server_reply {
    bool awaited;
    server_status status; /* from here on: private */
    int columns;
    void *row;
} server_reply;

/* Prepares connections with a connection string, which may be NULL. Returns NULL when memory is
 * short. */
server *server_new(const char *conninfo);
void server_free(server *s);

/* Returns what went wrong in the last failure and what to do: as two lines, and in parts; its
 * SQLSTATE or "". */
const char *server_error(const server *s);
const trouble *server_trouble(const server *s);
const char *server_state(const server *s);

/* Closes the connection; the next statement connects again. */
void server_hang_up(server *s);

/* Connects unless connected. */
server_status server_connect(server *s);

/* Tells whether there is a connection, without testing it. */
bool server_connected(const server *s);

/* ---- waiting: the functions of protocol.h that have no reply wait by themselves ---- */

/* Writes and reads as much as possible without waiting. Answers arrive in their replies, in the
 * order of sending. */
void server_receive(server *s);

/* Returns what to wait for before the next server_receive(): poll's descriptor, -1 without a
 * connection, and its events. */
int server_descriptor(const server *s);
short server_events(const server *s);

/* Waits for one answer, or for all that were sent. */
void server_await(server *s, const server_reply *reply);
void server_settle(server *s);

/* Waits at most this long until the server sends or accepts something, and processes it. Ctrl-C
 * does not end the wait. */
void server_wait(server *s, double seconds);

/* Gives up an answer that has come. */
void server_drop(server_reply *reply);

/* Listens on a channel, on this and all later connections. */
void server_listen(server *s, const char *channel);

/* Tells whether something came on it since the last call or the last gan_claim. */
bool server_woken(server *s);

/* Tells whether something came on it since the last gan_standing was sent. */
bool server_noted(const server *s);

#endif
