/*
 * result.c - checks the result of a unit, and remembers a result that was refused
 *
 * A shard is checked in the same way when it arrives (transfer.c) and after a step has failed
 * because of it (trace.c).
 *
 * An upload is refused by an error, and an error undoes everything that the statement has written.
 * So the session remembers the refusal, and the worker's next call that commits (its release of the
 * unit, or its next claim) stores it.
 */
#include "result.h"
#include "holding.h"

#include "catalog/pg_type.h"

#include <math.h>

/* The last upload of this session that was refused and is not stored yet. */
static struct {
    bool pending;
    int64 unit;
    pg_uuid_t token;
    char why[256];
} refusal;

/* Tells whether all variances of a statistics vector are at least 0. */
bool gan_variances_possible(const dcgan_model *model, const float *statistics) {
    for (int n = 0; n < 2; n++) {
        const dcgan_network *network = n ? &model->discriminator : &model->generator;
        for (size_t i = 0; i < network->layer_count; i++) {
            const dcgan_layer *layer = &network->layers[i];
            size_t channels =
                layer->transposed ? layer->shape.large_channels : layer->shape.small_channels;
            for (size_t c = 0; layer->normalised && c < channels; c++)
                if (!(statistics[layer->statistics + channels + c] >= 0))
                    return false;
        }
    }
    return true;
}

/* Returns what is wrong with the numbers of a shard, or null; squares becomes the sum of their
 * squares. */
char *gan_shard_problem(const gan_run *run, int32 shard, const float *values, double limit,
                        double *squares) {
    size_t count = gan_shard_length(&run->model, shard);
    bool statistics = shard == run->shards;

    *squares = 0;
    if (!dcgan_finite(values, count, squares))
        return psprintf("shard %d holds NaN or infinity", shard);
    if (statistics && !(sqrt(*squares) <= GAN_STATISTICS_LIMIT))
        return psprintf(
            "the norm of shard %d, the batch-norm statistics, is %g, the limit of statistics is %g",
            shard, sqrt(*squares), GAN_STATISTICS_LIMIT);
    if (!statistics && !(sqrt(*squares) <= limit))
        return psprintf("the norm of shard %d is %g, the run's gradient_limit is %g", shard,
                        sqrt(*squares), limit);
    if (statistics && !gan_variances_possible(&run->model, values))
        return psprintf("shard %d, the batch-norm statistics, holds a negative variance", shard);
    return NULL;
}

/* Remembers that an upload is about to be refused. */
void gan_refusal_remember(int64 unit, const pg_uuid_t *token, const char *why) {
    refusal.pending = true;
    refusal.unit = unit;
    refusal.token = *token;
    strlcpy(refusal.why, why, sizeof refusal.why);
}

/* Stores that upload, if there is one, as a failure of its unit, and forgets it. */
void gan_refusal_note(void) {
    static gan_statement note = {
        "SELECT gan_note_failure(u, 'upload_refused', $2) FROM gan_work_unit u WHERE u.unit = $1",
        2,
        {INT8OID, TEXTOID}};
    Datum unit = Int64GetDatum(refusal.unit);
    gan_holding holding;

    if (!refusal.pending)
        return;
    refusal.pending = false;
    if (gan_holding_find(&holding, unit, UUIDPGetDatum(&refusal.token), true) && holding.claimed)
        gan_run_statement(&note, (Datum[]){unit, CStringGetTextDatum(refusal.why)});
}
