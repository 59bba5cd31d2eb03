/*
 * connection.h - the connection to the server: made when it is needed, and made again
 *
 * What is sent and read on it is in protocol.h. Every function there connects first if there is no
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
    SERVER_RETRY, /* no connection, or the server is short of something: later it may go */
    SERVER_FATAL  /* trying again can't mend it */
} server_status;

typedef struct server server;

/*
 * A statement under way. Whoever sends it keeps the reply where it is until awaited is false; then
 * the function that reads the answer says what it was. A reply that nobody reads any more is given
 * to server_drop().
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

/* Returns what is wrong and what to do after the last failure: as two lines, and taken apart; its
 * SQLSTATE or "". */
const char *server_error(const server *s);
const trouble *server_trouble(const server *s);
const char *server_state(const server *s);

/* Closes the connection; the next statement connects again. */
void server_hang_up(server *s);

/* Connects unless connected. */
server_status server_connect(server *s);

/* Tells whether there is a connection, as far as is known without trying it. */
bool server_connected(const server *s);

/* ---- waiting: the functions of protocol.h that have no reply wait by themselves ---- */

/* Writes and reads as much as goes without waiting; answers come to their replies, in the order of
 * sending. */
void server_receive(server *s);

/* Returns what to wait for before the next server_receive(): poll's descriptor, -1 without a
 * connection, and its events. */
int server_descriptor(const server *s);
short server_events(const server *s);

/* Waits for one answer, or for all that were sent. */
void server_await(server *s, const server_reply *reply);
void server_settle(server *s);

/* Waits so long for the server to say or take something, and heeds it; not ended by Ctrl-C. */
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
