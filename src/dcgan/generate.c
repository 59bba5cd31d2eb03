/*
 * generate.c - images from a seed, with batch norm in evaluation mode
 */
#include "net/network.h"

#include <math.h>

typedef struct generate_state {
    const dcgan_generator *generator;
    dcgan_device *device, cpu; /* the generator's, or else cpu */
    dcgan_tape tape;
    tensor weights, running, latent; /* the caller's where the device can use them */
    tensor sums;                     /* [statistics_count] */
    real *noise;                     /* [batch][latent], on the host */
    double *host_sums;
} generate_state;

static const dcgan_backend *backend_of(const generate_state *s) {
    return s->device ? s->device->backend : &dcgan_backend_cpu;
}

static void take_host(generate_state *s, dcgan_arena *arena, const dcgan_model *model,
                      size_t batch) {
    s->noise = arena_take_reals(arena, batch, model->config.latent);
    s->host_sums = arena_take_doubles(arena, model->statistics_count);
}

/* Lays out the device's memory, and returns the scratch memory. */
static tensor take_tensors(generate_state *s, dcgan_arena *arena, const dcgan_model *model,
                           size_t batch) {
    tape_take(&s->tape, arena, &model->generator, batch);
    s->sums = arena_take_sums(arena, model->statistics_count);
    if (!backend_of(s)->on_host) {
        s->weights = arena_take(arena, model->generator.count, 1);
        s->running = arena_take(arena, model->statistics_count, 1);
        s->latent = arena_take(arena, batch, model->config.latent);
    }
    return arena_take(arena, network_scratch_count(&model->generator, backend_of(s), batch), 1);
}

static dcgan_status measure(generate_state *s, const dcgan_model *model, size_t batch,
                            size_t *bytes, size_t *reals) {
    const dcgan_arena nothing = {0};
    dcgan_arena host = {0}, own = {0};

    if (batch < 1)
        return DCGAN_INVALID_ARGUMENT;
    if (batch > 4096) /* rows of the largest matrix must fit the BLAS's int */
        return DCGAN_TOO_LARGE;
    take_host(s, &host, model, batch);
    take_tensors(s, &own, model, batch);
    *reals = own.used;
    return arena_end(&host, backend_of(s)->on_host ? &own : &nothing, bytes);
}

dcgan_status dcgan_generate_workspace(const dcgan_model *model, dcgan_device *device, size_t batch,
                                      size_t *bytes) {
    generate_state state = {.device = device};
    size_t reals;

    return measure(&state, model, batch, bytes, &reals);
}

/* Gives the device the generator. */
static dcgan_status write_generator(generate_state *s) {
    const dcgan_backend *b = backend_of(s);
    const dcgan_generator *g = s->generator;
    const real *running = g->running_statistics;

    if (b->on_host) {
        s->weights = tensor_on_host(g->weights);
        s->running = tensor_on_host(running);
        s->latent = tensor_on_host(s->noise);
    }
    TRY(b->write(s->device, s->weights, g->weights, g->model->generator.count));
    return running ? b->write(s->device, s->running, running, g->model->statistics_count)
                   : DCGAN_OK;
}

/* Checks the arguments, opens the device and lays out memory. */
static dcgan_status begin(generate_state *s, const dcgan_generator *generator, size_t batch) {
    dcgan_arena host = arena_begin(generator->workspace), own = {0};
    size_t needed, reals;

    *s = (generate_state){.generator = generator, .device = generator->device};
    TRY(measure(s, generator->model, batch, &needed, &reals));
    if (!generator->workspace || generator->workspace_bytes < needed)
        return DCGAN_WORKSPACE;
    if (!s->device) {
        s->cpu = (dcgan_device){.backend = &dcgan_backend_cpu, .threads = 1};
        s->device = &s->cpu;
        TRY(s->device->backend->open(s->device));
    }
    take_host(s, &host, generator->model, batch);
    own.memory = tensor_at(host.memory, host.used);
    if (!s->device->backend->on_host)
        TRY(s->device->backend->reserve(s->device, reals, &own.memory));
    s->device->scratch = take_tensors(s, &own, generator->model, batch);
    return write_generator(s);
}

static dcgan_status end(generate_state *s, dcgan_status status) {
    uint64_t mark;
    int passed;

    /* the device may still read the caller's memory */
    if (s->device && status != DCGAN_OK && s->device->backend->mark(s->device, &mark) == DCGAN_OK)
        (void)s->device->backend->passed(s->device, mark, 1, &passed);
    if (s->device == &s->cpu)
        s->device->backend->close(s->device);
    return status;
}

/* Runs the generator on vectors[batch][latent]. */
static dcgan_status forward(generate_state *s, const real *vectors, size_t batch, tensor running) {
    const dcgan_model *model = s->generator->model;

    if (s->device->backend->on_host)
        s->latent = tensor_on_host(vectors);
    TRY(s->device->backend->write(s->device, s->latent, vectors, batch * model->config.latent));
    s->tape.input = s->latent;
    return network_forward(&s->tape, &model->generator, s->device, s->weights, running, batch);
}

/* The same, and gives the images to the caller. */
static dcgan_status draw(generate_state *s, const real *vectors, size_t batch, real *images) {
    const dcgan_model *model = s->generator->model;
    const dcgan_backend *b = s->device->backend;
    size_t count = batch * model->image_count;
    uint64_t mark;
    int passed;

    TRY(forward(s, vectors, batch, s->running));
    TRY(b->read(s->device, images, tape_output(&s->tape, &model->generator), count));
    TRY(b->mark(s->device, &mark));
    TRY(b->passed(s->device, mark, 1, &passed));
    return dcgan_finite(images, count, NULL) ? DCGAN_OK : DCGAN_NOT_FINITE;
}

dcgan_status dcgan_generate_from(const dcgan_generator *generator, const real *vectors,
                                 size_t batch, real *images) {
    generate_state state;
    dcgan_status status = begin(&state, generator, batch);

    return end(&state, status == DCGAN_OK ? draw(&state, vectors, batch, images) : status);
}

/* Draws the latent vectors first ... first + batch - 1 of a seed; step 1 or -1. */
static void draw_latents(generate_state *s, uint64_t seed, uint32_t first, uint32_t step,
                         size_t batch) {
    const dcgan_model *model = s->generator->model;

    for (size_t i = 0; i < batch; i++)
        dcgan_sample_latent(model, seed, first + step * (uint32_t)i,
                            s->noise + i * model->config.latent);
}

dcgan_status dcgan_generate(const dcgan_generator *generator, uint64_t seed, uint32_t first,
                            size_t batch, real *images) {
    generate_state state;
    dcgan_status status = begin(&state, generator, batch);

    if (status == DCGAN_OK) {
        draw_latents(&state, seed, first, 1, batch);
        status = draw(&state, state.noise, batch, images);
    }
    return end(&state, status);
}

/* Adds up the statistics of all parts. */
static dcgan_status run_parts(generate_state *s, uint64_t seed, size_t batch, size_t parts) {
    const dcgan_model *model = s->generator->model;
    const dcgan_backend *b = s->device->backend;
    uint64_t mark;
    int passed;

    TRY(b->zero(s->device, s->sums, model->statistics_count * SUM_REALS));
    for (size_t part = 0; part < parts; part++) {
        /* vectors that no sheet shows */
        draw_latents(s, seed, UINT32_MAX - (uint32_t)(part * batch), (uint32_t)-1, batch);
        TRY(forward(s, s->noise, batch, (tensor){0}));
        TRY(tape_add_statistics(&s->tape, &model->generator, s->device, s->sums,
                                1.0 / (double)parts));
        TRY(b->mark(s->device, &mark)); /* the next noise takes its place */
        TRY(b->passed(s->device, mark, 1, &passed));
    }
    return b->read_sums(s->device, s->host_sums, s->sums, model->statistics_count);
}

dcgan_status dcgan_generator_statistics(const dcgan_generator *generator, uint64_t seed,
                                        size_t batch, size_t parts, real *statistics) {
    generate_state state;
    dcgan_status status = begin(&state, generator, batch);

    if (status == DCGAN_OK)
        status = parts < 1 ? DCGAN_INVALID_ARGUMENT : run_parts(&state, seed, batch, parts);
    if (status == DCGAN_OK)
        dcgan_statistics_finish(generator->model, statistics, state.host_sums);
    return end(&state, status);
}

void dcgan_sample_latent(const dcgan_model *model, uint64_t seed, uint32_t i, real *vector) {
    dcgan_noise(seed, i, 0, DCGAN_STREAM_SAMPLE, model->config.latent, vector);
}

void dcgan_interpolate(const real *a, const real *b, size_t count, double share, real *between) {
    double aa = 0, bb = 0, ab = 0, cosine, angle, from = 1 - share, to = share;

    for (size_t i = 0; i < count; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    cosine = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 1;
    if (cosine > -0.9999 && cosine < 0.9999) {
        angle = acos(cosine);
        from = sin((1 - share) * angle) / sin(angle);
        to = sin(share * angle) / sin(angle);
    }
    for (size_t i = 0; i < count; i++)
        between[i] = (real)(from * (double)a[i] + to * (double)b[i]);
}

/* Rounds x in [-1, 1] to the 8-bit sample it stands for; what is outside is clipped. */
uint8_t dcgan_to_sample(real x) {
    double sample = ((double)x + 1.0) * 127.5 + 0.5;
    return sample >= 255.0 ? 255 : sample > 0 ? (uint8_t)sample : 0;
}
