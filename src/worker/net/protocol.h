/*
 * protocol.h - the protocol: one C function for each SQL function of docs/protocol.md
 *
 * Everything from the server is checked before it is returned. Where a function is split into
 * …_send and …_read, many statements may be under way; each is a transaction of its own.
 */
#ifndef GANN_PROTOCOL_H
#define GANN_PROTOCOL_H

#include "../../dcgan/dcgan.h"
#include "../../formats/wire/blob.h"
#include "connection.h"

#define SERVER_DIGEST_SIZE 32
#define SERVER_NONCES 3 /* versions of the weights that a claim names */

typedef struct server_run {
    int32_t run;
    char name[64], state[16];
    bool over;
    uint64_t seed;
    dcgan_config network; /* checked */
    size_t batch, parameters, shards;
    bool dataset_known;
    uint64_t dataset_images;
    unsigned char dataset_digest[SERVER_DIGEST_SIZE];
    int32_t target, iteration;
    char channel[64];      /* of the notifications that wake the run's workers */
    blob_element upload;   /* type in which results travel */
    blob_element download; /* the same for changes of the weights; float32: there are none */
    size_t local_steps;    /* 0: units give gradients */
    bool alternating;      /* iterations step D and G in turn */
    dcgan_local_options local;
    dcgan_schedule schedule; /* of its learning rates */
    bool batch_fixed;        /* everybody's minibatches have the run's size */
} server_run;

typedef struct server_member {
    int32_t run;
    const char *name, *cpu, *version, *gpu; /* gpu "": it computes on the CPU */
    uint64_t dataset_images;
    const unsigned char *dataset_digest;
    int cores, memory_mb, gpu_memory_mb;
} server_member;

typedef enum server_reason { SERVER_WORK, SERVER_WAIT, SERVER_OVER } server_reason;

typedef struct server_claim {
    server_reason reason;
    char why[16], message[256]; /* the reason as the server calls it, and in words */
    double retry_seconds;
    int64_t unit; /* from here on: for SERVER_WORK only */
    char token[37];
    uint32_t iteration;
    uint64_t position;
    size_t images;
    double lease_seconds;
    int64_t nonces[SERVER_NONCES]; /* of the weights of this iteration, of the one before, … */
    size_t nonce_count;
} server_claim;

typedef enum server_answer {
    SERVER_ACCEPTED,
    SERVER_ALREADY,
    SERVER_STALE,
    SERVER_REFUSED
} server_answer;

typedef struct server_verdict {
    server_answer answer;
    char code[32], message[256];
} server_verdict;

/* Describes the connection: "PostgreSQL 15.4 at host, TLS yes". */
void server_describe(const server *s, char *text, size_t size);

/* The answer of gan_hello: the login, whether it is a student's, and the server's clock in seconds
 * since 1970. The clock was read after server_hello() was called and before it returned. */
typedef struct server_greeting {
    char login[64];
    bool student;
    double clock;
} server_greeting;

server_status server_hello(server *s, server_greeting *greeting);

server_status server_run_config(server *s, const char *name, server_run *run);
server_status server_join(server *s, const server_member *member, int32_t *worker);

/* gan_claim */
void server_take_send(server *s, int32_t worker, server_reply *reply);
server_status server_take_read(server *s, server_reply *reply, server_claim *claim);

/* Downloads a shard into values[count]; held is false if the server no longer has the iteration. */
void server_weights_send(server *s, int32_t run, uint32_t iteration, size_t shard,
                         server_reply *reply);
server_status server_weights_read(server *s, server_reply *reply, float *values, size_t count,
                                  bool *held);

/*
 * Downloads the change of one shard of the weights from the previous iteration to this one, and
 * applies it to values[count]. held is false if there is no such change, or if it was made for
 * other values; then values are undefined.
 */
void server_change_send(server *s, int32_t run, uint32_t iteration, size_t shard,
                        server_reply *reply);
server_status server_change_read(server *s, server_reply *reply, float *values, size_t count,
                                 blob_element element, bool *held);

/* Extends the lease; held is false if it is lost. */
server_status server_renew(server *s, const server_claim *claim, bool *held);

/* Uploads a shard's blob, which is copied. */
void server_upload_send(server *s, const server_claim *claim, size_t shard,
                        const unsigned char *blob, size_t size, server_reply *reply);
server_status server_upload_read(server *s, server_reply *reply, server_answer *answer);

/* nonce: of the weights that the result was computed at */
void server_submit_send(server *s, const server_claim *claim, int64_t nonce, size_t batch,
                        const dcgan_unit_result *result, server_reply *reply);
server_status server_submit_read(server *s, server_reply *reply, server_verdict *verdict);

server_status server_release(server *s, const server_claim *claim, bool *released);

/* What the worker has contributed: units and images averaged so far, and units that wait for the
 * next step. */
typedef struct server_credit_row {
    uint64_t units, images, waiting;
} server_credit_row;

server_status server_credit(server *s, int32_t worker, server_credit_row *credit);

/* Asks how many images should be summarised (0: none), and sends the summary's blob; answer:
 * "kept", "agrees", … */
server_status server_reference_wanted(server *s, int32_t worker, size_t *images);
server_status server_reference(server *s, int32_t worker, size_t images, const unsigned char *blob,
                               size_t size, char answer[16]);

/* The answer of gan_standing. */
typedef struct server_standing_row {
    int32_t rank, of;    /* place of this login among `of` logins; 0: nothing was averaged yet */
    double share;        /* of the images that were averaged, 0 to 1 */
    double seconds_left; /* estimate for the run; 0: unknown */
    int64_t message;     /* number of the last message */
    char messages[8100]; /* those after the number in the question, one per line */
} server_standing_row;

void server_standing_send(server *s, int32_t worker, int64_t after, server_reply *reply);
server_status server_standing_read(server *s, server_reply *reply, server_standing_row *row);

/* Describes the encryption; fine is false where others on the network could read the traffic. */
void server_tls(const server *s, char *text, size_t size, bool *fine);

#endif
