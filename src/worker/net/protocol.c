/*
 * protocol.c - the SQL functions of docs/protocol.md, with what they return checked
 */
#define _POSIX_C_SOURCE 200809L

#include "protocol.h"
#include "statement.h"
#include "../../quality/swd.h"
#include "../../formats/wire/change.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 4096
#define UNIT_IMAGES_MAX 65536
#define IMAGES_MAX ((int64_t)1 << 32)
#define NUMBER_SIZE 40

/* Makes a parameter from a text, which may be NULL. */
static server_value text_value(const char *text) {
    return (server_value){.data = text};
}

/* Makes a parameter from a whole number; buffer holds it. */
static server_value whole_value(char buffer[NUMBER_SIZE], int64_t number) {
    snprintf(buffer, NUMBER_SIZE, "%" PRId64, number);
    return text_value(buffer);
}

/* Makes a parameter from a number; buffer holds it. */
static server_value real_value(char buffer[NUMBER_SIZE], double number) {
    snprintf(buffer, NUMBER_SIZE, "%.17g", number);
    return text_value(buffer);
}

/* Reads a whole number within limits from the only row. */
static bool get_whole(const PGresult *row, int column, int64_t low, int64_t high, int64_t *number) {
    const char *text = PQgetvalue(row, 0, column);
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    return !PQgetisnull(row, 0, column) && end != text && *end == '\0' && errno == 0 &&
           *number >= low && *number <= high;
}

/* Reads a number within limits. */
static bool get_real(const PGresult *row, int column, double low, double high, double *number) {
    const char *text = PQgetvalue(row, 0, column);
    char *end;

    *number = strtod(text, &end);
    return !PQgetisnull(row, 0, column) && end != text && *end == '\0' && *number >= low &&
           *number <= high;
}

/* Copies a text, truncated if necessary; SQL's NULL becomes "". */
static void get_text(const PGresult *row, int column, char *text, size_t size) {
    snprintf(text, size, "%s", PQgetvalue(row, 0, column));
}

/* Reads a digest, in whatever form the server writes bytea. */
static bool get_digest(const PGresult *row, int column, unsigned char digest[SERVER_DIGEST_SIZE]) {
    size_t size = 0;
    unsigned char *bytes =
        PQunescapeBytea((const unsigned char *)PQgetvalue(row, 0, column), &size);
    bool fits = bytes != NULL && size == SERVER_DIGEST_SIZE;

    if (fits)
        memcpy(digest, bytes, size);
    PQfreemem(bytes);
    return fits;
}

void server_describe(const server *s, char *text, size_t size) {
    const char *host = server_connected(s) ? PQhost(s->link) : NULL;

    if (!server_connected(s))
        snprintf(text, size, "not connected");
    else
        snprintf(text, size, "PostgreSQL %s at %s, database %s, TLS %s",
                 PQparameterStatus(s->link, "server_version")
                     ? PQparameterStatus(s->link, "server_version")
                     : "?",
                 host != NULL && host[0] != '\0' ? host : "this machine", PQdb(s->link),
                 PQsslInUse(s->link) ? "yes" : "no");
}

/* Tells whether the connection stays on this machine. */
static bool is_local(const server *s) {
    const char *address = PQhostaddr(s->link), *host = PQhost(s->link);

    return (host != NULL && host[0] == '/') ||
           (address != NULL && (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0)) ||
           (host == NULL || host[0] == '\0');
}

/* Returns a value of the connection's own options; "" if there is none. The caller frees
 * nothing. */
static void get_option(const server *s, const char *keyword, char *value, size_t size) {
    PQconninfoOption *options = PQconninfo(s->link);

    value[0] = '\0';
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0 && o->val != NULL)
            snprintf(value, size, "%s", o->val);
    PQconninfoFree(options);
}

void server_tls(const server *s, char *text, size_t size, bool *fine) {
    const char *version = server_connected(s) ? PQsslAttribute(s->link, "protocol") : NULL;
    char mode[32];

    *fine = server_connected(s) && (PQsslInUse(s->link) || is_local(s));
    if (!server_connected(s) || !PQsslInUse(s->link)) {
        snprintf(text, size, "%s",
                 *fine ? "none, and none is needed: the server is on this machine"
                       : "none: anyone on the network path can read the traffic");
        return;
    }
    get_option(s, "sslmode", mode, sizeof mode);
    if (strcmp(mode, "verify-full") == 0)
        snprintf(text, size, "%s, the server's certificate was checked",
                 version != NULL ? version : "yes");
    else
        snprintf(text, size, "%s; sslmode=verify-full would also check the server's certificate",
                 version != NULL ? version : "yes");
}

server_status server_hello(server *s, server_greeting *greeting) {
    PGresult *row;
    server_status status = connection_row(s, "SELECT login, student, server_time FROM gan_hello()",
                                          NULL, 0, 3, false, &row);

    if (status != SERVER_OK)
        return status;
    get_text(row, 0, greeting->login, sizeof greeting->login);
    greeting->student = strcmp(PQgetvalue(row, 0, 1), "t") == 0;
    if (!get_real(row, 2, 0, 1e12, &greeting->clock))
        status = connection_nonsense(s, "a time");
    PQclear(row);
    return status;
}

/* Reads the network's shape, and makes sure that it is valid and has the announced numbers of
 * parameters and shards. */
static bool get_network(const PGresult *row, server_run *run) {
    uint32_t *const fields[] = {&run->network.channels, &run->network.image_size,
                                &run->network.latent, &run->network.generator_features,
                                &run->network.discriminator_features};
    int64_t number;
    dcgan_model model;

    for (int i = 0; i < 5; i++) {
        if (!get_whole(row, 4 + i, 1, 1 << 20, &number))
            return false;
        *fields[i] = (uint32_t)number;
    }
    if (dcgan_config_check(&run->network, NULL, 0) != DCGAN_OK ||
        dcgan_model_init(&model, &run->network) != DCGAN_OK ||
        !get_whole(row, 10, 1, (int64_t)DCGAN_MAX_PARAMETERS, &number) ||
        (size_t)number != model.parameter_count)
        return false;
    run->parameters = (size_t)number;
    if (!get_whole(row, 11, 1, (int64_t)DCGAN_MAX_PARAMETERS, &number))
        return false;
    run->shards = (size_t)number;
    return run->shards == shard_total(run->parameters);
}

/* Reads how the run's weights move. */
static bool get_steps(const PGresult *row, server_run *run) {
    const char *rule = PQgetvalue(row, 0, 20), *schedule = PQgetvalue(row, 0, 27);
    dcgan_adam_options adam, *g = &run->local.generator, *d = &run->local.discriminator;
    int64_t steps, warmup;

    if (!get_whole(row, 19, 0, UNIT_IMAGES_MAX, &steps) ||
        !get_real(row, 21, 0, 1, &g->learning_rate) ||
        !get_real(row, 22, 0, 1, &d->learning_rate) || !get_real(row, 23, 0, 1, &adam.beta1) ||
        !get_real(row, 24, 0, 1, &adam.beta2) || !get_real(row, 25, 0, 1, &adam.epsilon) ||
        !get_real(row, 26, 0, 1, &run->local.norm_momentum) ||
        !get_whole(row, 28, 0, INT32_MAX, &warmup))
        return false;
    g->beta1 = d->beta1 = adam.beta1;
    g->beta2 = d->beta2 = adam.beta2;
    g->epsilon = d->epsilon = adam.epsilon;
    run->local_steps = (size_t)steps;
    run->alternating = strcmp(rule, "alternating") == 0;
    run->schedule = (dcgan_schedule){.linear = strcmp(schedule, "linear") == 0,
                                     .warmup = (uint32_t)warmup,
                                     .target = (uint32_t)run->target};
    return (run->alternating || strcmp(rule, "simultaneous") == 0) &&
           (run->schedule.linear || strcmp(schedule, "constant") == 0);
}

/* Reads the only row of gan_run_config. */
static bool get_run(const PGresult *row, server_run *run) {
    int64_t number, seed, batch, target, iteration;

    memset(run, 0, sizeof *run);
    if (!get_whole(row, 0, 1, INT32_MAX, &number) ||
        !get_whole(row, 3, INT64_MIN, INT64_MAX, &seed) ||
        !get_whole(row, 9, 1, BATCH_MAX, &batch) || !get_whole(row, 14, 1, INT32_MAX, &target) ||
        !get_whole(row, 15, 0, target, &iteration) || !get_network(row, run))
        return false;
    run->run = (int32_t)number;
    run->seed = (uint64_t)seed;
    run->batch = (size_t)batch;
    run->target = (int32_t)target;
    run->iteration = (int32_t)iteration;
    run->batch_fixed = PQgetvalue(row, 0, 29)[0] == 't';
    get_text(row, 1, run->name, sizeof run->name);
    get_text(row, 2, run->state, sizeof run->state);
    get_text(row, 16, run->channel, sizeof run->channel);
    if (!blob_element_read(&run->upload, PQgetvalue(row, 0, 17)) ||
        !blob_element_read(&run->download, PQgetvalue(row, 0, 18)))
        return false;
    if (!get_steps(row, run))
        return false;
    run->dataset_known = !PQgetisnull(row, 0, 12);
    if (!run->dataset_known)
        return true;
    if (!get_whole(row, 12, 1, IMAGES_MAX, &number) || !get_digest(row, 13, run->dataset_digest))
        return false;
    run->dataset_images = (uint64_t)number;
    return true;
}

server_status server_run_config(server *s, const char *name, server_run *run) {
    server_value value = text_value(name);
    PGresult *row;
    server_status status = connection_row(
        s,
        "SELECT run, name, state, seed, channels, image_size, latent, "
        "generator_features, discriminator_features,"
        " batch, parameters, shards, dataset_images, "
        "dataset_digest, target_iterations,"
        " iteration, channel, upload_element, download_element, local_steps, update_rule, "
        "generator_learning_rate,"
        " discriminator_learning_rate, beta1, beta2, epsilon, norm_momentum,"
        " learning_rate_schedule, warmup_iterations, batch_fixed FROM "
        "gan_run_config($1::pg_catalog.text)",
        &value, 1, 30, false, &row);

    if (status != SERVER_OK)
        return status;
    if (!get_run(row, run))
        status = connection_nonsense(s, "a configuration");
    else if (s->dialler.known < SQLSTATE_CLASS)
        s->dialler.known = SQLSTATE_CLASS;
    run->over = strcmp(run->state, "finished") == 0 || strcmp(run->state, "stopped") == 0;
    PQclear(row);
    return status;
}

server_status server_join(server *s, const server_member *member, int32_t *worker) {
    char run[NUMBER_SIZE], images[NUMBER_SIZE], cores[NUMBER_SIZE], memory[NUMBER_SIZE],
        gpu_memory[NUMBER_SIZE];
    const server_value values[] = {whole_value(run, member->run),
                                   text_value(member->name),
                                   whole_value(images, (int64_t)member->dataset_images),
                                   {.data = member->dataset_digest, .size = SERVER_DIGEST_SIZE},
                                   whole_value(cores, member->cores),
                                   whole_value(memory, member->memory_mb),
                                   text_value(member->cpu),
                                   text_value(member->version),
                                   text_value(member->gpu),
                                   whole_value(gpu_memory, member->gpu_memory_mb)};
    PGresult *row;
    int64_t number = 0;
    server_status status = connection_row(s,
                                          "SELECT gan_join($1::int4, $2::text, $3::int8, "
                                          "$4::bytea, $5::int4, $6::int4, $7::text, $8::text, "
                                          "$9::text, $10::int4)",
                                          values, 10, 1, false, &row);

    if (status != SERVER_OK)
        return status;
    if (!get_whole(row, 0, 1, INT32_MAX, &number))
        status = connection_nonsense(s, "a worker number");
    *worker = (int32_t)number;
    PQclear(row);
    return status;
}

/* Reads the reason of a claim. */
static server_reason read_reason(const char *reason) {
    if (strcmp(reason, "work") == 0)
        return SERVER_WORK;
    return strcmp(reason, "finished") == 0 || strcmp(reason, "stopped") == 0 ? SERVER_OVER
                                                                             : SERVER_WAIT;
}

/* Reads the nonces, which name the versions of the weights: this iteration's, and those of earlier
 * iterations if there are any. */
static bool get_nonces(const PGresult *row, server_claim *claim) {
    for (int i = 0; i < SERVER_NONCES && !PQgetisnull(row, 0, 9 + i); i++)
        if (!get_whole(row, 9 + i, INT64_MIN, INT64_MAX, &claim->nonces[claim->nonce_count++]))
            return false;
    return claim->nonce_count > 0;
}

/* Reads the unit of a claim. */
static bool get_unit(const PGresult *row, server_claim *claim) {
    int64_t iteration, position, images;

    if (!get_whole(row, 0, 1, INT64_MAX, &claim->unit) ||
        !get_whole(row, 2, 0, INT32_MAX, &iteration) ||
        !get_whole(row, 3, 0, INT64_MAX - UNIT_IMAGES_MAX, &position) ||
        !get_whole(row, 4, 1, UNIT_IMAGES_MAX, &images) ||
        !get_real(row, 5, 0.001, 1e6, &claim->lease_seconds))
        return false;
    get_text(row, 1, claim->token, sizeof claim->token);
    claim->iteration = (uint32_t)iteration;
    claim->position = (uint64_t)position;
    claim->images = (size_t)images;
    return PQgetlength(row, 0, 1) == 36 && get_nonces(row, claim);
}

void server_take_send(server *s, int32_t worker, server_reply *reply) {
    char number[NUMBER_SIZE];
    const server_value value = whole_value(number, worker);

    s->woken = false; /* the claim's answer covers earlier wake-ups */
    connection_send(
        s,
        "SELECT unit, token, iteration, first_position, images, lease_seconds,"
        " reason, message, retry_seconds, weights_nonce, weights_nonce_1, weights_nonce_2"
        " FROM gan_claim($1::int4)",
        &value, 1, 9 + SERVER_NONCES, false, reply);
}

server_status server_take_read(server *s, server_reply *reply, server_claim *claim) {
    PGresult *row;
    server_status status = connection_read(s, reply, &row);

    memset(claim, 0, sizeof *claim);
    if (status != SERVER_OK)
        return status;
    s->dialler.known = SQLSTATE_WORK;
    get_text(row, 6, claim->why, sizeof claim->why);
    get_text(row, 7, claim->message, sizeof claim->message);
    claim->reason = read_reason(claim->why);
    if (!get_real(row, 8, 0, 3600, &claim->retry_seconds))
        status = connection_nonsense(s, "a claim");
    else if (claim->reason == SERVER_WORK && !get_unit(row, claim))
        status = connection_nonsense(s, "a work unit");
    PQclear(row);
    return status;
}

/* Asks a function for one shard. */
static void send_fetch(server *s, const char *sql, int32_t run, uint32_t iteration, size_t shard,
                       server_reply *reply) {
    char numbers[3][NUMBER_SIZE];
    const server_value values[] = {whole_value(numbers[0], run), whole_value(numbers[1], iteration),
                                   whole_value(numbers[2], (int64_t)shard)};

    connection_send(s, sql, values, 3, 1, true, reply);
}

void server_weights_send(server *s, int32_t run, uint32_t iteration, size_t shard,
                         server_reply *reply) {
    send_fetch(s, "SELECT gan_fetch_weights($1::int4, $2::int4, $3::int4)", run, iteration, shard,
               reply);
}

server_status server_weights_read(server *s, server_reply *reply, float *values, size_t count,
                                  bool *held) {
    PGresult *row;
    server_status status = connection_read(s, reply, &row);

    if (status != SERVER_OK)
        return status;
    *held = !PQgetisnull(row, 0, 0);
    if (*held) {
        const unsigned char *blob = (const unsigned char *)PQgetvalue(row, 0, 0);
        blob_status checked = blob_check(blob, (size_t)PQgetlength(row, 0, 0), count);

        if (checked == BLOB_OK)
            memcpy(values, blob + BLOB_HEADER_SIZE, count * sizeof *values);
        else {
            char what[200];
            snprintf(what, sizeof what, "a shard of the weights %s", blob_status_text(checked));
            trouble_set(&s->trouble, true, "", what, NULL);
            status = SERVER_RETRY;
        }
    }
    PQclear(row);
    return status;
}

void server_change_send(server *s, int32_t run, uint32_t iteration, size_t shard,
                        server_reply *reply) {
    send_fetch(s, "SELECT gan_fetch_change($1::int4, $2::int4, $3::int4)", run, iteration, shard,
               reply);
}

server_status server_change_read(server *s, server_reply *reply, float *values, size_t count,
                                 blob_element element, bool *held) {
    PGresult *row;
    server_status status = connection_read(s, reply, &row);

    if (status != SERVER_OK)
        return status;
    *held = !PQgetisnull(row, 0, 0) &&
            change_apply(values, (const unsigned char *)PQgetvalue(row, 0, 0),
                         (size_t)PQgetlength(row, 0, 0), count, element) == BLOB_OK;
    PQclear(row);
    return SERVER_OK;
}

server_status server_renew(server *s, const server_claim *claim, bool *held) {
    char unit[NUMBER_SIZE];
    const server_value values[] = {whole_value(unit, claim->unit), text_value(claim->token)};
    PGresult *row;
    server_status status =
        connection_row(s, "SELECT gan_renew($1::int8, $2::uuid)", values, 2, 1, false, &row);

    if (status != SERVER_OK)
        return status;
    *held = !PQgetisnull(row, 0, 0);
    PQclear(row);
    return SERVER_OK;
}

/* Reads an answer. */
static bool read_answer(const char *text, server_answer *answer) {
    static const char *const answers[] = {"accepted", "already", "stale", "refused"};

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (strcmp(text, answers[i]) == 0) {
            *answer = (server_answer)i;
            return true;
        }
    return false;
}

void server_upload_send(server *s, const server_claim *claim, size_t shard,
                        const unsigned char *blob, size_t size, server_reply *reply) {
    char numbers[2][NUMBER_SIZE];
    const server_value values[] = {whole_value(numbers[0], claim->unit),
                                   text_value(claim->token),
                                   whole_value(numbers[1], (int64_t)shard),
                                   {.data = blob, .size = size}};

    connection_send(s, "SELECT gan_upload($1::int8, $2::uuid, $3::int4, $4::bytea)", values, 4, 1,
                    false, reply);
}

server_status server_upload_read(server *s, server_reply *reply, server_answer *answer) {
    PGresult *row;
    server_status status = connection_read(s, reply, &row);

    if (status != SERVER_OK)
        return status;
    if (!read_answer(PQgetvalue(row, 0, 0), answer))
        status = connection_nonsense(s, "an answer to an upload");
    PQclear(row);
    return status;
}

void server_submit_send(server *s, const server_claim *claim, int64_t nonce, size_t batch,
                        const dcgan_unit_result *result, server_reply *reply) {
    char n[7][NUMBER_SIZE];
    const server_value values[] = {whole_value(n[0], claim->unit),
                                   text_value(claim->token),
                                   whole_value(n[1], nonce),
                                   whole_value(n[2], (int64_t)batch),
                                   real_value(n[3], result->loss_d),
                                   real_value(n[4], result->loss_g),
                                   real_value(n[5], result->accuracy_real),
                                   real_value(n[6], result->accuracy_fake)};

    connection_send(
        s,
        "SELECT answer, code, message FROM gan_submit($1::int8, $2::uuid, $3::int8, $4::int4,"
        " $5::float8, $6::float8, $7::float8, $8::float8)",
        values, 8, 3, false, reply);
}

server_status server_submit_read(server *s, server_reply *reply, server_verdict *verdict) {
    PGresult *row;
    server_status status = connection_read(s, reply, &row);

    if (status != SERVER_OK)
        return status;
    if (!read_answer(PQgetvalue(row, 0, 0), &verdict->answer))
        status = connection_nonsense(s, "an answer to a submission");
    get_text(row, 1, verdict->code, sizeof verdict->code);
    get_text(row, 2, verdict->message, sizeof verdict->message);
    PQclear(row);
    return status;
}

server_status server_release(server *s, const server_claim *claim, bool *released) {
    char unit[NUMBER_SIZE];
    const server_value values[] = {whole_value(unit, claim->unit), text_value(claim->token)};
    PGresult *row;
    server_status status =
        connection_row(s, "SELECT gan_release($1::int8, $2::uuid)", values, 2, 1, false, &row);

    if (status != SERVER_OK)
        return status;
    *released = strcmp(PQgetvalue(row, 0, 0), "t") == 0;
    PQclear(row);
    return SERVER_OK;
}

server_status server_credit(server *s, int32_t worker, server_credit_row *credit) {
    char number[NUMBER_SIZE];
    const server_value value = whole_value(number, worker);
    PGresult *row;
    int64_t got[3] = {0, 0, 0};
    server_status status = connection_row(
        s, "SELECT units, images, waiting FROM gan_credit($1::int4)", &value, 1, 3, false, &row);

    if (status != SERVER_OK)
        return status;
    if (!get_whole(row, 0, 0, INT64_MAX, &got[0]) || !get_whole(row, 1, 0, INT64_MAX, &got[1]) ||
        !get_whole(row, 2, 0, INT64_MAX, &got[2]))
        status = connection_nonsense(s, "a credit");
    *credit = (server_credit_row){(uint64_t)got[0], (uint64_t)got[1], (uint64_t)got[2]};
    PQclear(row);
    return status;
}

server_status server_reference_wanted(server *s, int32_t worker, size_t *images) {
    char number[NUMBER_SIZE];
    const server_value value = whole_value(number, worker);
    PGresult *row;
    int64_t wanted = 0;
    server_status status =
        connection_row(s, "SELECT gan_reference_wanted($1::int4)", &value, 1, 1, false, &row);

    *images = 0;
    if (status != SERVER_OK)
        return status;
    if (!get_whole(row, 0, 0, SWD_MAX_IMAGES, &wanted))
        status = connection_nonsense(s, "a number of images");
    *images = (size_t)wanted;
    PQclear(row);
    return status;
}

server_status server_reference(server *s, int32_t worker, size_t images, const unsigned char *blob,
                               size_t size, char answer[16]) {
    char numbers[2][NUMBER_SIZE];
    const server_value values[] = {whole_value(numbers[0], worker),
                                   whole_value(numbers[1], (int64_t)images),
                                   {.data = blob, .size = size}};
    PGresult *row;
    server_status status =
        connection_row(s, "SELECT gan_contribute_reference($1::int4, $2::int4, $3::bytea)", values,
                       3, 1, false, &row);

    if (status != SERVER_OK)
        return status;
    get_text(row, 0, answer, 16);
    PQclear(row);
    return SERVER_OK;
}

void server_standing_send(server *s, int32_t worker, int64_t after, server_reply *reply) {
    char numbers[2][NUMBER_SIZE];
    const server_value values[] = {whole_value(numbers[0], worker),
                                   after < 0 ? text_value(NULL) : whole_value(numbers[1], after)};

    s->noted = false; /* the answer covers earlier wake-ups */
    connection_send(s,
                    "SELECT rank, students, share, seconds_left, message, messages FROM "
                    "gan_standing($1::int4, $2::int8)",
                    values, 2, 6, false, reply);
}

server_status server_standing_read(server *s, server_reply *reply, server_standing_row *row) {
    PGresult *got;
    server_status status = connection_read(s, reply, &got);
    int64_t rank = 0, of = 0;

    memset(row, 0, sizeof *row);
    if (status != SERVER_OK)
        return status;
    if ((!PQgetisnull(got, 0, 0) &&
         (!get_whole(got, 0, 1, INT32_MAX, &rank) || !get_whole(got, 1, rank, INT32_MAX, &of))) ||
        (!PQgetisnull(got, 0, 2) && !get_real(got, 2, 0, 1, &row->share)) ||
        (!PQgetisnull(got, 0, 3) && !get_real(got, 3, 0, 1e300, &row->seconds_left)) ||
        !get_whole(got, 4, 0, INT64_MAX, &row->message))
        status = connection_nonsense(s, "a standing");
    row->rank = (int32_t)rank;
    row->of = (int32_t)of;
    get_text(got, 5, row->messages, sizeof row->messages);
    PQclear(got);
    return status;
}
