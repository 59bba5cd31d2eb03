/*
 * upload.c - the shards of a unit's result on their way to the server
 */
#include "upload.h"
#include "../wire/blob.h"

#include <stdlib.h>

#define WINDOW                                                                                                 \
    2 /* shards under way: the server checks one while the next one comes in; a renewal has to wait for both   \
       */

typedef enum part_state { PART_HERE, PART_SENT, PART_STORED } part_state;

/* A shard, or the statistics, which are the last part. */
typedef struct part {
    part_state state;
    server_reply reply;
} part;

struct upload {
    const dcgan_model *model;
    bool half; /* float16 for the gradient */
    server *server;
    const server_claim *claim;
    const compute *compute;
    const dcgan_unit_result *result; /* NULL until it is whole */
    size_t shards, under_way;
    part *parts; /* [shards + 1] */
    unsigned char *blob;
    server_status status;
    bool stale;
};

upload *upload_new(const dcgan_model *model, bool half) {
    size_t statistics = model->statistics_count, largest = statistics > SHARD_COUNT ? statistics : SHARD_COUNT;
    upload *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->model = model;
    u->half = half;
    u->shards = shard_total(model->parameter_count);
    u->parts = calloc(u->shards + 1, sizeof *u->parts);
    u->blob = malloc(blob_size(largest));
    if (u->parts && u->blob)
        return u;
    upload_free(u);
    return NULL;
}

void upload_free(upload *u) {
    if (!u)
        return;
    free(u->parts);
    free(u->blob);
    free(u);
}

void upload_begin(upload *u, server *s, const server_claim *claim, const compute *c) {
    u->server = s;
    u->claim = claim;
    u->compute = c;
    u->result = NULL;
    u->stale = false;
    upload_again(u, true);
}

void upload_complete(upload *u, const dcgan_unit_result *result) {
    u->result = result;
}

/* Takes the answer to one part. */
static void take_answer(upload *u, part *p) {
    server_answer answer;
    server_status status = server_upload_read(u->server, &p->reply, &answer);

    u->under_way--;
    p->state = status == SERVER_OK ? PART_STORED : PART_HERE;
    if (status > u->status)
        u->status = status;
    if (status == SERVER_OK && answer == SERVER_STALE)
        u->stale = true;
}

/* Tells whether a part will not change any more. */
static bool is_final(const upload *u, size_t index) {
    return u->result != NULL || (index < u->shards && compute_shard_final(u->compute, index));
}

/* Writes a part into the blob; returns its size. */
static size_t write_part(upload *u, size_t index) {
    const real *values = index < u->shards ? compute_gradient(u->compute) + index * SHARD_COUNT : NULL;
    size_t count = shard_length(u->model->parameter_count, index);

    if (index == u->shards) {
        blob_write(u->blob, u->result->statistics, u->model->statistics_count);
        return blob_size(u->model->statistics_count);
    }
    if (!u->half) {
        blob_write(u->blob, values, count);
        return blob_size(count);
    }
    (void)blob_encode(u->blob, values, count, BLOB_FLOAT16);
    return blob_size_of(count, BLOB_FLOAT16);
}

/* Sends one part. */
static void send_part(upload *u, size_t index) {
    size_t size = write_part(u, index);

    u->parts[index].state = PART_SENT;
    u->under_way++;
    server_upload_send(u->server, u->claim, index, u->blob, size, &u->parts[index].reply);
}

/* Takes all answers that have come. */
static void take_answers(upload *u) {
    for (size_t i = 0; i <= u->shards && u->under_way > 0; i++)
        if (u->parts[i].state == PART_SENT && !u->parts[i].reply.awaited)
            take_answer(u, &u->parts[i]);
}

void upload_advance(upload *u) {
    server_receive(u->server);
    take_answers(u);
    for (size_t i = u->shards + 1; i-- > 0 && u->under_way < WINDOW && u->status == SERVER_OK && !u->stale;)
        if (u->parts[i].state == PART_HERE && is_final(u, i))
            send_part(u, i);
}

bool upload_sent(const upload *u) {
    for (size_t i = 0; i <= u->shards; i++)
        if (u->parts[i].state == PART_HERE)
            return false;
    return true;
}

server_status upload_status(const upload *u) {
    return u->status;
}

bool upload_stale(const upload *u) {
    return u->stale;
}

void upload_again(upload *u, bool everything) {
    u->status = SERVER_OK;
    for (size_t i = 0; everything && i <= u->shards; i++)
        u->parts[i].state = PART_HERE;
}

void upload_end(upload *u) {
    server_settle(u->server);
    take_answers(u);
}
