/*
 * upload.c - the shards of a unit's result on their way to the server
 *
 * With int8 the rounding error is not lost (error feedback, Seide et al. 2014): this residual is
 * added to the next result before that is rounded. The residual must match what the server has
 * accepted, so it is updated only when a unit was accepted, and until then every repetition sends
 * the same bytes. It is computed from the result, which is still there, so that one vector is
 * enough.
 */
#include "upload.h"
#include "../../common/point.h"
#include "../../formats/wire/blob.h"

#include <stdlib.h>
#include <string.h>

/* Shards under way: the server checks one while the next one comes in. A renewal waits for both. */
#define WINDOW 2

typedef enum part_state { PART_HERE, PART_SENT, PART_STORED } part_state;

/* A shard, or the statistics, which are the last part. */
typedef struct part {
    part_state state;
    server_reply reply;
} part;

struct upload {
    const dcgan_model *model;
    blob_element element; /* of what is computed; statistics are always float32 */
    float *residual;      /* [parameter_count] with int8: of the last unit that was accepted */
    float *sum, *decoded; /* [SHARD_COUNT] with int8 */
    server *server;
    const server_claim *claim;
    const compute *compute;
    const dcgan_unit_result *result; /* NULL until it is whole */
    size_t low, high;                /* the numbers of the unit's networks: low … high - 1 */
    /* the shards with some of these numbers; the others are not sent */
    size_t first, end;
    size_t shards, under_way;
    part *parts; /* [shards + 1] */
    unsigned char *blob;
    server_status status;
    bool stale;
};

upload *upload_new(const dcgan_model *model, blob_element element) {
    size_t statistics = model->statistics_count,
           largest = statistics > SHARD_COUNT ? statistics : SHARD_COUNT;
    upload *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->model = model;
    u->element = element;
    u->shards = shard_total(model->parameter_count);
    u->parts = calloc(u->shards + 1, sizeof *u->parts);
    u->blob = malloc(blob_size(largest));
    if (element == BLOB_INT8) {
        u->residual = calloc(model->parameter_count, sizeof *u->residual);
        u->sum = malloc(SHARD_COUNT * sizeof *u->sum);
        u->decoded = malloc(SHARD_COUNT * sizeof *u->decoded);
    }
    if (u->parts && u->blob && (element != BLOB_INT8 || (u->residual && u->sum && u->decoded)))
        return u;
    upload_free(u);
    return NULL;
}

void upload_free(upload *u) {
    if (!u)
        return;
    free(u->parts);
    free(u->blob);
    free(u->residual);
    free(u->sum);
    free(u->decoded);
    free(u);
}

void upload_begin(upload *u, server *s, const server_claim *claim, dcgan_networks networks,
                  const compute *c) {
    size_t count;

    dcgan_networks_range(u->model, networks, &u->low, &count);
    u->high = u->low + count;
    u->first = u->low / SHARD_COUNT;
    u->end = (u->high - 1) / SHARD_COUNT + 1;
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

/* Tells whether a part belongs to the unit. */
static bool is_needed(const upload *u, size_t index) {
    return index == u->shards || (index >= u->first && index < u->end);
}

/* Tells whether a part will not change any more. */
static bool is_final(const upload *u, size_t index) {
    return u->result != NULL || (index < u->shards && compute_shard_final(u->compute, index));
}

/* Encodes a shard of the result plus the residual; returns false if it is not finite. The residual
 * of a network that this unit does not train waits for a unit that does. */
static bool encode_sum(upload *u, size_t index, size_t count) {
    const float *values = compute_gradient(u->compute) + index * SHARD_COUNT,
                *left = u->residual + index * SHARD_COUNT;

    for (size_t i = 0, at = index * SHARD_COUNT; i < count; i++, at++)
        u->sum[i] = at >= u->low && at < u->high ? values[i] + left[i] : 0;
    return blob_encode(u->blob, u->sum, count, BLOB_INT8);
}

/* Writes a shard of the result into the blob; returns its size. */
static size_t write_shard(upload *u, size_t index) {
    const float *values = compute_gradient(u->compute) + index * SHARD_COUNT;
    size_t count = shard_length(u->model->parameter_count, index);

    if (u->element == BLOB_INT8 ? encode_sum(u, index, count)
                                : blob_encode(u->blob, values, count, u->element))
        return blob_size_of(count, u->element);
    blob_write(u->blob, values, count); /* the server refuses it, as it should */
    return blob_size(count);
}

/* Writes a part into the blob; returns its size. */
static size_t write_part(upload *u, size_t index) {
    if (index < u->shards)
        return write_shard(u, index);
    blob_write(u->blob, u->result->statistics, u->model->statistics_count);
    return blob_size(u->model->statistics_count);
}

/* Sends one part. */
static void send_part(upload *u, size_t index) {
    size_t size = write_part(u, index);

    u->parts[index].state = PART_SENT;
    u->under_way++;
    server_upload_send(u->server, u->claim, index, u->blob, size, &u->parts[index].reply);
    WORKER_POINT("upload_sent");
}

/* Takes all answers that have arrived. */
static void take_answers(upload *u) {
    for (size_t i = 0; i <= u->shards && u->under_way > 0; i++)
        if (u->parts[i].state == PART_SENT && !u->parts[i].reply.awaited)
            take_answer(u, &u->parts[i]);
}

void upload_advance(upload *u) {
    server_receive(u->server);
    take_answers(u);
    for (size_t i = u->shards + 1;
         i-- > 0 && u->under_way < WINDOW && u->status == SERVER_OK && !u->stale;)
        if (is_needed(u, i) && u->parts[i].state == PART_HERE && is_final(u, i))
            send_part(u, i);
}

bool upload_sent(const upload *u) {
    for (size_t i = 0; i <= u->shards; i++)
        if (is_needed(u, i) && u->parts[i].state == PART_HERE)
            return false;
    return true;
}

server_status upload_status(const upload *u) {
    return u->status;
}

bool upload_stale(const upload *u) {
    return u->stale;
}

void upload_accepted(upload *u) {
    for (size_t k = u->first; u->residual && k < u->end; k++) {
        size_t count = shard_length(u->model->parameter_count, k);
        float *residual = u->residual + k * SHARD_COUNT;

        if (!encode_sum(u, k, count))
            continue; /* no such unit is accepted */
        blob_decode(u->decoded, u->blob, count, BLOB_INT8);
        for (size_t i = 0, at = k * SHARD_COUNT; i < count; i++, at++)
            if (at >= u->low && at < u->high)
                residual[i] = u->sum[i] - u->decoded[i];
    }
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
