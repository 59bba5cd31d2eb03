/*
 * poison.c - a class with attackers in it: what becomes of the step, by each rule
 *
 *   poison ADMIN RUN DATASET WORKERS SCENARIO…
 *
 * ADMIN is the administrator's connection string. WORKERS is a file of lines "CONNECTION NAME", a
 * program each; those with the same connection are one login's. The run must have beta1 = 0, so
 * that its first moments are what the rule made of an iteration, and be at iteration 0.
 *
 * Each program has the gradient of a unit of its own, computed by the library at the run's initial
 * weights. A scenario RULE:ATTACK:COUNT[:backwards] is an iteration: the first COUNT programs
 * attack, all upload and submit (the last one first, if so said), the step is taken. Attacks: none,
 * nan, million (times 10^6), flip (times -1), flip10 (times -10), gauss (noise of ten times the
 * norm), zeros, copy (all attackers send the last program's gradient). Prints a line each:
 *
 *   RULE ATTACK COUNT cosine C generator C discriminator C reference E touched N refused N
 *   digest HEX
 *
 * cosine is the angle between what moves the weights (before Adam) and the mean of the honest
 * gradients, of the whole vector and by network; reference the largest difference, in units of the
 * largest number, from what plain loops make of the same uploads; touched the units that the rule
 * took less than all of; refused the uploads that the server refused.
 */
#include "../../src/dcgan/dcgan.h"
#include "../../src/formats/wire/blob.h"
#include "../../src/dataset/dataset.h"

#include <libpq-fe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 128 /* programs */

typedef struct program {
    char uri[512];
    int login, worker;
    PGconn *connection; /* the login's */
} program;

/* A unit that is held. */
typedef struct handle {
    char unit[32], token[64], nonce[32];
} handle;

typedef struct class {
    PGconn *admin;
    int run, iteration, units;
    size_t parameters, generator, statistics, shards;
    program programs[MOST];
    float *gradients[MOST], *moments, *unit_statistics;
    float *sent[MOST]; /* by unit */
    int sender[MOST];  /* by unit: the login */
    int refused;
} class;

static void die(const char *what, const char *why) {
    fprintf(stderr, "poison: %s: %s\n", what, why);
    exit(1);
}

static void *need(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        die("memory", "there is none");
    return memory;
}

static PGresult *query(PGconn *link, const char *text, int count, const char *const *values) {
    PGresult *r = PQexecParams(link, text, count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
        die(text, PQerrorMessage(link));
    return r;
}

static PGconn *connect_to(const char *uri) {
    PGconn *link = PQconnectdb(uri);
    if (PQstatus(link) != CONNECTION_OK)
        die("connection", PQerrorMessage(link));
    return link;
}

/* ---- the class ---- */

static void report_broken(void *context, const char *message) {
    (void)context;
    die("dataset", message);
}

static const char *column(const PGresult *r, const char *name) {
    return PQgetvalue(r, 0, PQfnumber(r, name));
}

/* Computes the gradient of each program's unit at the initial weights. */
static void compute_gradients(class *c, const PGresult *config, const dcgan_model *model,
                              const char *path) {
    char error[512];
    uint64_t seed = (uint64_t)strtoll(column(config, "seed"), NULL, 10);
    size_t batch = (size_t)atoi(column(config, "batch")),
           images = (size_t)atoi(column(config, "images_per_unit")), bytes;
    float *weights = need(c->parameters, sizeof *weights);
    uint8_t *pixels = need(images, model->image_count);
    dataset *data = dataset_open(path, (size_t)1 << 30, report_broken, NULL, error, sizeof error);
    void *workspace;

    if (!data ||
        dataset_prepare(data, (int)model->config.image_size, (int)model->config.channels) != 0 ||
        dcgan_unit_workspace(model, NULL, batch, &bytes) != DCGAN_OK)
        die("dataset", error);
    workspace = need(bytes, 1);
    dcgan_initialise(model, seed, 0, c->parameters, weights);
    for (int k = 0; k < c->units; k++) {
        dcgan_unit unit = {.weights = weights,
                           .images = pixels,
                           .count = images,
                           .batch = batch,
                           .seed = seed,
                           .position = (uint64_t)k * images,
                           .threads = 1};
        dcgan_unit_result result = {.gradient = need(c->parameters, sizeof(float)),
                                    .statistics = need(c->statistics, sizeof(float))};
        for (size_t i = 0; i < images; i++)
            if (dataset_image(
                    data, (size_t)dcgan_permute(seed, 0, dataset_count(data), unit.position + i),
                    pixels + i * model->image_count) != 0)
                die("dataset", "an image can't be read");
        if (dcgan_unit_gradients(model, &unit, &result, workspace, bytes) != DCGAN_OK)
            die("gradient", "it could not be computed");
        c->gradients[k] = result.gradient;
        c->unit_statistics = result.statistics;
    }
    dataset_close(data);
    free(weights);
    free(pixels);
    free(workspace);
}

/* Reads the programs, connects their logins and joins them. */
static void join_all(class *c, const char *path) {
    FILE *in = fopen(path, "r");
    char name[64], number[16];
    int logins = 0;

    if (!in)
        die(path, "it can't be read");
    snprintf(number, sizeof number, "%d", c->run);
    for (int k = 0; k < c->units; k++) {
        program *p = &c->programs[k];
        PGresult *r;
        if (fscanf(in, "%511s %63s", p->uri, name) != 2)
            die(path, "it names fewer programs than an iteration has units");
        p->login = -1;
        for (int j = 0; j < k && p->login < 0; j++)
            if (strcmp(c->programs[j].uri, p->uri) == 0)
                p->login = c->programs[j].login, p->connection = c->programs[j].connection;
        if (p->login < 0)
            p->login = logins++, p->connection = connect_to(p->uri);
        r = query(p->connection,
                  "SELECT gan_join($1, $2, 60000, decode(repeat('00', 32), 'hex'), 1, 1, '', '')",
                  2, (const char *[]){number, name});
        p->worker = atoi(PQgetvalue(r, 0, 0));
        PQclear(r);
    }
    fclose(in);
}

/* ---- an iteration ---- */

static double draw(void) {
    static uint64_t state = 42;
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(state >> 11) * 0x1p-53;
    }
    return sum;
}

static double norm(const float *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Makes what an attacker sends of the gradient that it should. */
static void attack(const class *c, const char *kind, float *x) {
    double factor = strcmp(kind, "million") == 0  ? 1e6
                    : strcmp(kind, "flip") == 0   ? -1
                    : strcmp(kind, "flip10") == 0 ? -10
                                                  : 0;

    if (strcmp(kind, "nan") == 0)
        x[c->parameters / 2] = NAN;
    else if (strcmp(kind, "copy") == 0)
        memcpy(x, c->gradients[c->units - 1], c->parameters * sizeof *x);
    else if (strcmp(kind, "gauss") == 0)
        for (int n = 0; n < 2; n++) { /* of ten times each network's norm */
            size_t first = n ? c->generator : 0,
                   count = n ? c->parameters - c->generator : c->generator;
            double deviation = 10 * norm(x + first, count) / sqrt((double)count);
            for (size_t i = first; i < first + count; i++)
                x[i] = (float)(deviation * draw());
        }
    else if (factor != 0 || strcmp(kind, "zeros") == 0)
        for (size_t i = 0; i < c->parameters; i++)
            x[i] = (float)(factor * (double)x[i]);
    else
        die(kind, "there is no such attack");
}

/* Uploads a vector and the statistics; 0 if the server refused it. */
static int upload(const class *c, const program *p, const handle *unit, const float *x) {
    int fine = 1;

    for (size_t k = 0; k <= c->shards && fine; k++) {
        size_t count = k < c->shards ? shard_length(c->parameters, k) : c->statistics;
        unsigned char *blob = need(blob_size(count), 1);
        char shard[16];
        PGresult *r;
        snprintf(shard, sizeof shard, "%zu", k);
        blob_write(blob, k < c->shards ? x + k * SHARD_COUNT : c->unit_statistics, count);
        r = PQexecParams(
            p->connection, "SELECT gan_upload($1::int8, $2::uuid, $3::int4, $4::bytea)", 4, NULL,
            (const char *[]){unit->unit, unit->token, shard, (const char *)blob},
            (const int[]){0, 0, 0, (int)blob_size(count)}, (const int[]){0, 0, 0, 1}, 0);
        if (PQresultStatus(r) != PGRES_TUPLES_OK) {
            const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
            if (!state || strcmp(state, "22003") != 0)
                die("gan_upload", PQerrorMessage(p->connection));
            fine = 0;
        } else if (strcmp(PQgetvalue(r, 0, 0), "accepted") != 0)
            die("gan_upload", PQgetvalue(r, 0, 0));
        PQclear(r);
        free(blob);
    }
    return fine;
}

/* Claims a unit for a program; returns its place in the iteration, or -1 if there is none. */
static int claim(const class *c, const program *p, handle *unit) {
    char number[16];
    int place = -1;
    PGresult *r;

    snprintf(number, sizeof number, "%d", p->worker);
    r = query(p->connection,
              "SELECT unit, token, first_position, images, weights_nonce FROM gan_claim($1)", 1,
              (const char *[]){number});
    if (!PQgetisnull(r, 0, 0)) {
        place = (int)(atoll(PQgetvalue(r, 0, 2)) / atoll(PQgetvalue(r, 0, 3)) % c->units);
        snprintf(unit->unit, sizeof unit->unit, "%s", PQgetvalue(r, 0, 0));
        snprintf(unit->token, sizeof unit->token, "%s", PQgetvalue(r, 0, 1));
        snprintf(unit->nonce, sizeof unit->nonce, "%s", PQgetvalue(r, 0, 4));
    }
    PQclear(r);
    return place;
}

static void submit(const program *p, const handle *unit) {
    PGresult *r = query(
        p->connection,
        "SELECT answer, message FROM gan_submit($1::int8, $2::uuid, $3::int8, 8, 1, 1, 0.5, 0.5)",
        3, (const char *[]){unit->unit, unit->token, unit->nonce});
    if (strcmp(PQgetvalue(r, 0, 0), "accepted") != 0)
        die("gan_submit", PQgetvalue(r, 0, 1));
    PQclear(r);
}

/* Hands in a unit by a program, as an attacker if kind isn't null; 0 if the server refused what it
 * sent. */
static int hand_in(class *c, int place, const program *p, const handle *unit, const char *kind) {
    memcpy(c->sent[place], c->gradients[place], c->parameters * sizeof(float));
    if (kind)
        attack(c, kind, c->sent[place]);
    if (!upload(c, p, unit, c->sent[place])) {
        PQclear(query(p->connection, "SELECT gan_release($1::int8, $2::uuid)", 2,
                      (const char *[]){unit->unit, unit->token}));
        c->refused++;
        return 0;
    }
    submit(p, unit);
    c->sender[place] = p->login;
    return 1;
}

/* Has all units of an iteration submitted; units that attackers could not get rid of, by the last
 * program. */
static void play(class *c, const char *kind, int attackers, int backwards) {
    static handle units[MOST];
    int places[MOST];
    const program *last = &c->programs[c->units - 1];

    c->refused = 0;
    for (int k = 0; k < c->units; k++)
        places[k] = claim(c, &c->programs[k], &units[k]);
    for (int i = 0; i < c->units; i++) {
        int k = backwards ? c->units - 1 - i : i;
        hand_in(c, places[k], &c->programs[k], &units[k], k < attackers ? kind : NULL);
    }
    for (int place; (place = claim(c, last, &units[0])) >= 0;)
        hand_in(c, place, last, &units[0], NULL);
}

/* Takes the step and reads what the rule made of the iteration. */
static void step(class *c, char *digest, int *touched) {
    char iteration[16], next[16], run[16];
    PGresult *r;

    snprintf(iteration, sizeof iteration, "%d", c->iteration);
    snprintf(next, sizeof next, "%d", ++c->iteration);
    snprintf(run, sizeof run, "%d", c->run);
    PQclear(query(c->admin, "SELECT gan_aggregate($1, $2)", 2, (const char *[]){iteration, run}));
    r = query(c->admin,
              "SELECT clipped, encode(weights_digest, 'hex') FROM gan_history WHERE iteration = $1 "
              "AND run = $2",
              2, (const char *[]){iteration, run});
    *touched = atoi(PQgetvalue(r, 0, 0));
    snprintf(digest, 65, "%s", PQgetvalue(r, 0, 1));
    PQclear(r);
    r = PQexecParams(
        c->admin,
        "SELECT first FROM gan_moments WHERE iteration = $1::int AND run = $2::int ORDER BY shard",
        2, NULL, (const char *[]){next, run}, NULL, NULL, 1);
    if (PQntuples(r) != (int)c->shards)
        die("moments", PQerrorMessage(c->admin));
    for (size_t k = 0; k < c->shards; k++)
        memcpy(c->moments + k * SHARD_COUNT, PQgetvalue(r, (int)k, 0) + BLOB_HEADER_SIZE,
               shard_length(c->parameters, k) * sizeof(float));
    PQclear(r);
}

/* ---- the reference: plain loops over the same uploads ---- */

/* The accounts' means of one number; returns their count. */
static int account_means(const class *c, size_t j, double *mean) {
    int units[MOST] = {0}, accounts = 0, number[MOST];

    for (int u = 0; u < c->units; u++) {
        number[u] = -1;
        for (int v = 0; v < u; v++)
            if (c->sender[v] == c->sender[u])
                number[u] = number[v];
        if (number[u] < 0) {
            number[u] = accounts++;
            mean[number[u]] = 0;
        }
        mean[number[u]] += (double)c->sent[u][j];
        units[number[u]]++;
    }
    for (int a = 0; a < accounts; a++)
        mean[a] /= units[a];
    return accounts;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A number of the trimmed mean, or of the median. */
static double ranked(const class *c, size_t j, int median) {
    double mean[MOST], sum = 0;
    int n = account_means(c, j, mean), cut = median ? (n - 1) / 2 : (int)ceil(0.2 * n);

    if (cut > (n - 1) / 2)
        cut = (n - 1) / 2;
    qsort(mean, (size_t)n, sizeof *mean, ascending);
    for (int k = cut; k < n - cut; k++)
        sum += mean[k];
    return sum / (n - 2 * cut);
}

/* The factors of the adaptive bound; all units have the same number of images. */
static void clip_factors(const class *c, double *factor) {
    for (int u = 0; u < c->units; u++)
        factor[u] = 1;
    for (int n = 0; n < 2; n++) {
        size_t first = n ? c->generator : 0,
               count = n ? c->parameters - c->generator : c->generator;
        double length[MOST], level[MOST], bound;
        int accounts = 0, of[MOST] = {0};
        for (int u = 0; u < c->units; u++)
            length[u] = norm(c->sent[u] + first, count);
        for (int login = 0; login < MOST; login++) {
            level[accounts] = of[accounts] = 0;
            for (int u = 0; u < c->units; u++)
                if (c->sender[u] == login)
                    level[accounts] += length[u], of[accounts]++;
            if (of[accounts] > 0)
                level[accounts] /= of[accounts], accounts++;
        }
        qsort(level, (size_t)accounts, sizeof *level, ascending);
        bound = level[(accounts - 1) / 2] + level[accounts / 2];
        for (int u = 0; u < c->units; u++)
            if (bound > 0 && length[u] > bound && bound / length[u] < factor[u])
                factor[u] = bound / length[u];
    }
}

/* Which accounts Krum keeps, in the order of account_means. */
static int krum_kept(const class *c, int *kept) {
    static double d[2][MOST][MOST], mean[MOST];
    double usual[2], pairs[MOST * MOST], score[MOST], near[MOST];
    int n = account_means(c, 0, mean), f = (int)(0.3 * n), count;

    memset(d, 0, sizeof d);
    for (size_t j = 0; j < c->parameters; j++) {
        account_means(c, j, mean);
        for (int a = 0; a < n; a++)
            for (int b = 0; b < n; b++)
                d[j >= c->generator][a][b] += (mean[a] - mean[b]) * (mean[a] - mean[b]);
    }
    for (int k = 0; k < 2; k++) {
        count = 0;
        for (int a = 0; a < n; a++)
            for (int b = 0; b < a; b++)
                pairs[count++] = d[k][a][b];
        qsort(pairs, (size_t)count, sizeof *pairs, ascending);
        usual[k] = (pairs[(count - 1) / 2] + pairs[count / 2]) / 2;
    }
    if (f > (n - 3) / 2)
        f = (n - 3) / 2;
    for (int a = 0; a < n; a++) {
        count = 0;
        for (int b = 0; b < n; b++)
            if (b != a)
                near[count++] = d[0][a][b] / usual[0] + d[1][a][b] / usual[1];
        qsort(near, (size_t)count, sizeof *near, ascending);
        score[a] = 0;
        for (int k = 0; k < n - f - 2; k++)
            score[a] += near[k];
    }
    for (int a = 0; a < n; a++) {
        kept[a] = 0;
        for (int b = 0; b < n; b++)
            kept[a] += score[b] < score[a] || (score[b] == score[a] && b < a);
        kept[a] = kept[a] < n - f;
    }
    return n - f;
}

/* Computes the largest difference between the step and plain loops, beside the largest number. */
static double reference_error(const class *c, const char *rule) {
    double factor[MOST], mean[MOST], error = 0, largest = 0;
    int kept[MOST], chosen = 1, clipped = strcmp(rule, "clipped") == 0,
                    krum = strcmp(rule, "multikrum") == 0;

    for (int u = 0; u < c->units; u++)
        factor[u] = 1;
    if (clipped)
        clip_factors(c, factor);
    if (krum)
        chosen = krum_kept(c, kept);
    for (size_t j = 0; j < c->parameters; j++) {
        double expected = 0;
        if (strcmp(rule, "median") == 0 || strcmp(rule, "trimmed") == 0)
            expected = ranked(c, j, rule[1] == 'e');
        else if (krum) {
            int n = account_means(c, j, mean);
            for (int a = 0; a < n; a++)
                expected += kept[a] * mean[a] / chosen;
        } else
            for (int u = 0; u < c->units; u++)
                expected += factor[u] * (double)c->sent[u][j] / c->units;
        error = fmax(error, fabs(expected - (double)c->moments[j]));
        largest = fmax(largest, fabs(expected));
    }
    return largest > 0 ? error / largest : error;
}

/* ---- the report ---- */

/* The cosine between the step and the mean of the honest gradients, over a part of the vector. */
static double cosine(const class *c, int attackers, size_t first, size_t count) {
    double xy = 0, xx = 0, yy = 0;

    for (size_t j = first; j < first + count; j++) {
        double honest = 0, x = (double)c->moments[j];
        for (int k = attackers; k < c->units; k++)
            honest += (double)c->gradients[k][j];
        xy += x * honest;
        xx += x * x;
        yy += honest * honest;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* Plays a scenario. */
static void run_scenario(class *c, const char *scenario) {
    char rule[32], kind[32], order[32] = "", run[16], digest[65];
    int attackers, touched;

    if (sscanf(scenario, "%31[^:]:%31[^:]:%d:%31s", rule, kind, &attackers, order) < 3 ||
        attackers >= c->units)
        die(scenario, "it is not RULE:ATTACK:COUNT");
    snprintf(run, sizeof run, "%d", c->run);
    PQclear(query(c->admin, "UPDATE gan_run SET aggregator = $1 WHERE run = $2", 2,
                  (const char *[]){rule, run}));
    play(c, kind, attackers, strcmp(order, "backwards") == 0);
    step(c, digest, &touched);
    if (c->refused == attackers &&
        c->refused > 0) /* nothing of theirs came in: all units are honest ones */
        attackers = 0;
    printf("%s %s %d cosine %.4f generator %.4f discriminator %.4f reference %.1e touched %d "
           "refused %d digest "
           "%s\n",
           rule, kind, c->refused ? c->refused : attackers, cosine(c, attackers, 0, c->parameters),
           cosine(c, attackers, 0, c->generator),
           cosine(c, attackers, c->generator, c->parameters - c->generator),
           reference_error(c, rule), touched, c->refused, digest);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static class c;
    dcgan_model model;
    PGresult *config;

    if (argc < 6)
        die("usage", "poison ADMIN RUN DATASET WORKERS SCENARIO…");
    c.admin = connect_to(argv[1]);
    config = query(c.admin,
                   "SELECT *, (SELECT count(*) FROM gan_history h WHERE h.run = r.run) FROM "
                   "gan_run r WHERE name = $1",
                   1, (const char *[]){argv[2]});
    if (PQntuples(config) != 1 ||
        dcgan_model_init(
            &model, &(dcgan_config){(uint32_t)atoi(column(config, "channels")),
                                    (uint32_t)atoi(column(config, "image_size")),
                                    (uint32_t)atoi(column(config, "latent")),
                                    (uint32_t)atoi(column(config, "generator_features")),
                                    (uint32_t)atoi(column(config, "discriminator_features"))}) !=
            DCGAN_OK)
        die(argv[2], "there is no such run");
    c.run = atoi(column(config, "run"));
    c.iteration = atoi(column(config, "iteration"));
    c.units = atoi(column(config, "units_per_iteration"));
    c.parameters = model.parameter_count;
    c.generator = model.generator.count;
    c.statistics = model.statistics_count;
    c.shards = shard_total(c.parameters);
    c.moments = need(c.parameters, sizeof *c.moments);
    if (c.units > MOST || strtod(column(config, "beta1"), NULL) != 0)
        die(argv[2], "it has too many units, or beta1 is not 0");
    for (int u = 0; u < c.units; u++)
        c.sent[u] = need(c.parameters, sizeof(float));
    compute_gradients(&c, config, &model, argv[3]);
    join_all(&c, argv[4]);
    for (int i = 5; i < argc; i++)
        run_scenario(&c, argv[i]);
    return 0;
}
