/*
 * local_steps.c - a work unit of local steps: Adam on one machine, D and G in turn (docs/format.md
 * section 9)
 *
 * Alternating steps as in Goodfellow et al. 2014 and Radford et al. 2016, one pair for each
 * minibatch of the unit. Moments begin at zero, so that the unit can be recomputed from the weights
 * it began with.
 */
#include "net/passes.h"

#include <math.h>
#include <string.h>

#define PIECE                                                                                      \
    ((size_t)65536) /* parameters of a task: fixed, though every cut gives the same bits */

/* A unit's working memory beside that of the passes. */
typedef struct local_state {
    dcgan_passes passes;
    const dcgan_local_options *options;
    real *weights, *moment1, *moment2; /* [parameter_count] */
} local_state;

/* Lays out the workspace. */
static dcgan_status take_state(local_state *s, dcgan_arena *arena, size_t batch) {
    size_t parameters = s->passes.model->parameter_count;
    dcgan_status status = passes_take(&s->passes, arena, batch);

    s->weights = arena_take(arena, parameters, 1);
    s->moment1 = arena_take(arena, parameters, 1);
    s->moment2 = arena_take(arena, parameters, 1);
    return status;
}

/* Computes the bytes of workspace that local units with minibatches of up to batch images need. */
dcgan_status dcgan_unit_local_workspace(const dcgan_model *model, size_t batch, size_t *bytes) {
    local_state state = {.passes = {.model = model, .backend = &dcgan_backend_cpu}};
    dcgan_arena arena = arena_begin(NULL);
    dcgan_status status = take_state(&state, &arena, batch);

    return status == DCGAN_OK ? arena_end(&arena, bytes) : status;
}

/* A step of one network, cut into pieces. */
typedef struct network_step {
    local_state *state;
    const dcgan_network *network;
    const dcgan_adam_options *adam;
    uint64_t t;
} network_step;

/* Steps one piece, and clears its gradient for the next minibatch. */
static void step_piece(void *context, size_t task) {
    const network_step *step = context;
    local_state *s = step->state;
    size_t first = step->network->first + task * PIECE, left = step->network->count - task * PIECE;
    size_t count = left < PIECE ? left : PIECE;
    real *gradient = s->passes.result->gradient + first;

    dcgan_adam(s->weights + first, s->moment1 + first, s->moment2 + first, gradient, count, step->t,
               step->adam);
    memset(gradient, 0, count * sizeof(real));
}

/* Takes Adam's step number t of one network. */
static void step_network(local_state *s, const dcgan_network *network,
                         const dcgan_adam_options *adam, uint64_t t) {
    network_step step = {s, network, adam, t};

    pool_run(&s->passes.threads, (network->count + PIECE - 1) / PIECE, step_piece, &step);
}

/*
 * Weighs minibatch j as running statistics with this momentum would after seeing all minibatches in
 * order: (1 - momentum)^(minibatches - 1 - j), divided by the sum of all of them.
 */
static double statistics_share(double momentum, size_t j, size_t minibatches) {
    double all = 1.0 - pow(1.0 - momentum, (double)minibatches);

    return momentum * pow(1.0 - momentum, (double)(minibatches - 1 - j)) / all;
}

/* Overwrites a network's gradient with the change of its weights, new - old, and reports that it is
 * final. */
static void write_change(local_state *s, const dcgan_network *network) {
    const dcgan_passes *p = &s->passes;
    real *change = p->result->gradient;

    for (size_t i = network->first; i < network->first + network->count; i++)
        change[i] = s->weights[i] - p->unit->weights[i];
    if (p->unit->ready)
        p->unit->ready(p->unit->context, network->first, network->count);
}

/*
 * Steps D on real and generated images, then G, whose images are the same ones, judged by the new
 * D. D's last step comes before G's: on a slow link its change is on its way while G's is computed.
 */
static dcgan_status do_minibatch(local_state *s, size_t first, size_t count, uint64_t t,
                                 double share) {
    dcgan_passes *p = &s->passes;
    int last = first + count == p->unit->count;
    const real *fake;

    p->mean_over = count;
    passes_real(p, first, count, share);
    if (passes_cancelled(p, first))
        return DCGAN_CANCELLED;
    fake = passes_generate(p, first, count, share);
    passes_fake(p, passes_judge(p, fake, count), count, share, NULL);
    step_network(s, &p->model->discriminator, &s->options->discriminator, t);
    if (last)
        write_change(s, &p->model->discriminator);
    if (passes_cancelled(p, first))
        return DCGAN_CANCELLED;
    passes_generator(p, passes_judge(p, fake, count), count, NULL);
    step_network(s, &p->model->generator, &s->options->generator, t);
    if (last)
        write_change(s, &p->model->generator);
    return DCGAN_OK;
}

/* Takes a step of both networks for every minibatch. */
static dcgan_status run_minibatches(local_state *s) {
    const dcgan_unit *unit = s->passes.unit;
    size_t minibatches = unit->count / unit->batch + (unit->count % unit->batch > 0);
    dcgan_status status = DCGAN_OK;

    for (size_t j = 0; j < minibatches && status == DCGAN_OK; j++) {
        size_t first = j * unit->batch, left = unit->count - first;

        status = passes_cancelled(&s->passes, first)
                     ? DCGAN_CANCELLED
                     : do_minibatch(s, first, left < unit->batch ? left : unit->batch, j + 1,
                                    statistics_share(s->options->norm_momentum, j, minibatches));
    }
    return status;
}

/* Takes local steps and gives the change of the weights. The result is undefined on error. */
dcgan_status dcgan_unit_local(const dcgan_model *model, const dcgan_unit *unit,
                              const dcgan_local_options *options, dcgan_unit_result *result,
                              void *workspace, size_t workspace_bytes) {
    local_state state = {
        .passes = {.model = model, .backend = &dcgan_backend_cpu, .unit = unit, .result = result},
        .options = options};
    dcgan_arena arena = arena_begin(workspace);
    dcgan_status status = passes_check(unit, result, workspace);
    size_t bytes = model->parameter_count * sizeof(real), needed;

    if (status == DCGAN_OK && (unit->networks != DCGAN_BOTH ||
                               !(options->norm_momentum > 0 && options->norm_momentum <= 1)))
        status = DCGAN_INVALID_ARGUMENT;
    if (status != DCGAN_OK ||
        (status = dcgan_unit_local_workspace(model, unit->batch, &needed)) != DCGAN_OK)
        return status;
    if (workspace_bytes < needed)
        return DCGAN_WORKSPACE;
    take_state(&state, &arena, unit->batch);
    memcpy(state.weights, unit->weights, bytes);
    memset(state.moment1, 0, bytes);
    memset(state.moment2, 0, bytes);
    state.passes.weights = state.weights;
    passes_begin(&state.passes);
    return passes_end(&state.passes, run_minibatches(&state));
}
