/*
 * step.c - the arithmetic of a step: read, combine, move, write (docs/format.md sections 7 and 9)
 *
 * gan_step, at the end, goes through the shards. For each shard it reads weights and moments. Then,
 * in tiles that stay in the cache, it combines the units' gradients (or changes of the weights) and
 * moves the weights by Adam (or by the outer optimiser). Then it writes the shard of the next
 * iteration. It needs the memory of a few shards, whatever the size of the class.
 * src/dcgan/optimise/step.c is the same on plain arrays.
 */
#include "step.h"

#include "../../formats/wire/change.h"

#include "miscadmin.h"

#include <math.h>

/* ---- read ---- */

/* Reads a shard's weights, moments and other stored parts. */
static void read_shard(step *s, int32 shard, size_t count) {
    for (gan_part part = 0; part < GAN_PARTS; part++)
        if (gan_shard_has(&s->run, part, shard) && part != GAN_CHANGE &&
            !gan_state_read(&s->old, part, shard, s->state[part], count))
            ereport(ERROR,
                    (errcode(ERRCODE_DATA_CORRUPTED),
                     errmsg("shard %d of iteration %d is missing", shard, s->run.iteration)));
}

/* ---- combine: gan_combine_tile (../combine/combine.h), then move ---- */

/* Moves one network's part of a tile, by Adam or by the outer optimiser, and measures the length of
 * the move. */
static void move_tile(step *s, const gan_tile *t, int network) {
    gan_slice part = gan_tile_slice(&s->combiner, t,
                                    network == DCGAN_OF_GENERATOR ? DCGAN_GENERATOR_ONLY
                                                                  : DCGAN_DISCRIMINATOR_ONLY);
    size_t at = t->first + part.at;
    float *weights = s->values[GAN_WEIGHTS] + at, *mean = s->combiner.mean + part.at;
    float *moment1 =
        s->run.optimiser_parts > GAN_FIRST_MOMENT ? s->values[GAN_FIRST_MOMENT] + at : NULL;
    float *moment2 =
        s->run.optimiser_parts > GAN_SECOND_MOMENT ? s->values[GAN_SECOND_MOMENT] + at : NULL;
    uint64 number = dcgan_step_number(s->networks, (uint32)s->run.iteration);

    if (part.count == 0)
        return;
    memcpy(s->before, weights, part.count * sizeof *weights);
    if (s->run.local_steps > 0)
        dcgan_outer(weights, moment1, moment2, mean, part.count, number, &s->run.outer);
    else
        dcgan_adam(weights, moment1, moment2, mean, part.count, number,
                   network == DCGAN_OF_GENERATOR ? &s->run.generator : &s->run.discriminator);
    dcgan_update_size(weights, s->before, part.count, &s->update[network], &s->size[network]);
    if (s->shortened[network] < 1)
        dcgan_update_scale(weights, s->before, part.count, s->shortened[network]);
}

/* Makes the change that brings the workers' copy as near to the new weights as its number format
 * allows. */
static void make_change(step *s, int32 shard, size_t count) {
    if (!change_make(s->state[GAN_CHANGE], s->values[GAN_COPY], s->values[GAN_WEIGHTS],
                     s->difference, count, s->run.download))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the changes of the weights of shard %d are not finite", shard),
                        errhint("Use a smaller learning_rate.")));
}

/* ---- write ---- */

/* Raises an error unless the new values of a part of a shard are finite. */
static void require_finite(const step *s, gan_part part, int32 shard, size_t count) {
    static const char *const what[GAN_PARTS] = {[GAN_WEIGHTS] = "new weights",
                                                [GAN_FIRST_MOMENT] = "new moments",
                                                [GAN_SECOND_MOMENT] = "new moments",
                                                [GAN_COPY] = "changes of the weights",
                                                [GAN_AVERAGE] = "averages of the weights"};

    if (!dcgan_finite(s->values[part], count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the %s of shard %d are not finite", what[part], shard),
                        errhint("Use a smaller learning_rate.")));
}

/* Outputs a shard of the next iteration: weights, moments, the workers' copy, and the moving
 * average. */
static void write_shard(step *s, int32 shard, size_t count) {
    for (gan_part part = 0; part < GAN_PARTS; part++) {
        if (!gan_shard_has(&s->run, part, shard))
            continue;
        CHECK_FOR_INTERRUPTS();
        if (part != GAN_CHANGE)
            gan_blob_seal(s->state[part], count);
        s->put(s, part, shard, s->state[part], gan_part_size(&s->run, part, shard));
        GANN_FAULT("part_stored");
    }
    s->checksums[shard] = blob_stored_crc(s->state[GAN_WEIGHTS]);
    GANN_FAULT("shard_stored");
}

/* Merges the units' batch-norm statistics into the running ones, which are stored after the last
 * shard of the weights. A local unit counts as one update for each of its steps. */
static void step_statistics(step *s) {
    const dcgan_model *model = &s->run.model;
    size_t count = model->statistics_count;
    float *merged = palloc(count * sizeof *merged);
    unsigned char *blob = gan_blob_new(count);
    double momentum = s->run.norm_momentum;

    if (s->run.local_steps > 0)
        momentum = 1.0 - pow(1.0 - momentum, s->run.local_steps);
    gan_combine_statistics(&s->combiner, merged);
    if (!gan_state_read(&s->old, GAN_WEIGHTS, s->run.shards, blob, count))
        ereport(ERROR,
                (errcode(ERRCODE_DATA_CORRUPTED),
                 errmsg("the running statistics of iteration %d are missing", s->run.iteration)));
    dcgan_statistics_run(model, gan_blob_values(blob), merged, momentum,
                         (uint64)s->done.total_images);
    gan_blob_seal(blob, count);
    s->checksums[s->run.shards] = blob_stored_crc(blob);
    s->put(s, GAN_WEIGHTS, s->run.shards, blob, blob_size(count));
    GANN_FAULT("statistics_stored");
}

/* ---- what is known afterwards ---- */

double gan_step_norm(const step *s, int network) {
    return sqrt(s->combiner.square_sums[network]);
}

bytea *gan_step_digest(const step *s) {
    uint8 digest[32];

    gan_digest(s->checksums, s->run.shards + 1, digest);
    return gan_bytea(digest, sizeof digest);
}

/* ---- all of it ---- */

/* Allocates the buffers that all shards share, and asks the rule how much each unit counts. */
static void begin(step *s) {
    s->networks = gan_networks_stepped(&s->run, s->run.iteration);
    for (gan_part part = 0; part < GAN_PARTS; part++) {
        s->state[part] = gan_blob_new(SHARD_COUNT);
        s->values[part] = gan_blob_values(s->state[part]);
    }
    if (gan_run_has(&s->run, GAN_COPY))
        s->difference = palloc(SHARD_COUNT * sizeof *s->difference);
    s->before = palloc(SHARD_COUNT * sizeof *s->before);
    s->checksums = palloc0((s->run.shards + 1) * sizeof *s->checksums);
    s->shortened[DCGAN_OF_GENERATOR] = s->shortened[DCGAN_OF_DISCRIMINATOR] = 1;
    gan_combiner_open(&s->combiner, &s->run, &s->done, &s->gradients);
}

/* If the class's own rule has failed, replaces it by the run's fallback rule; tells whether it has
 * failed. */
static bool has_stood_in(step *s) {
    if (!s->combiner.failure)
        return false;
    s->rule_failure = s->combiner.failure;
    s->run.sql_rule = NULL;
    s->shortened[DCGAN_OF_GENERATOR] = s->shortened[DCGAN_OF_DISCRIMINATOR] = 1;
    gan_combiner_open(&s->combiner, &s->run, &s->done, &s->gradients);
    return true;
}

/*
 * Tells whether a network's update is longer than the run allows, and computes the factor that
 * shortens it. The length is known only at the end, so an update that is too long, which is rare,
 * is computed a second time, shorter. (The length is measured before shortening, so it is the same
 * both times.)
 */
static bool is_too_long(step *s) {
    bool too_long = false;

    if (s->shortened[DCGAN_OF_GENERATOR] < 1 || s->shortened[DCGAN_OF_DISCRIMINATOR] < 1)
        return false;
    for (int n = 0; n < DCGAN_NETWORK_COUNT; n++) {
        s->relative[n] = s->size[n] > 0 ? sqrt(s->update[n] / s->size[n]) : 0;
        if (s->relative[n] > s->run.update_limit) {
            s->shortened[n] = s->run.update_limit / s->relative[n];
            too_long = true;
        }
    }
    return too_long;
}

void gan_step(step *s) {
    double decay = dcgan_average_decay(s->run.average_decay, (uint32)s->run.iteration);

    begin(s);
    for (int pass = 0; pass == 0 || has_stood_in(s) || is_too_long(s); pass++) {
        if (pass > 0)
            s->restart(s);
        for (int n = 0; n < DCGAN_NETWORK_COUNT; n++)
            s->update[n] = s->size[n] = s->combiner.square_sums[n] = 0;
        for (int32 shard = 0; shard < s->run.shards && !s->combiner.failure; shard++) {
            size_t count = gan_shard_length(&s->run.model, shard);

            read_shard(s, shard, count);
            if (gan_shard_needed(&s->run, s->run.iteration, shard)) {
                for (gan_tile t = gan_first_tile(&s->combiner, shard); gan_tile_is_in(&t);
                     gan_next_tile(&s->combiner, &t)) {
                    gan_combine_tile(&s->combiner, &t);
                    move_tile(s, &t, DCGAN_OF_GENERATOR);
                    move_tile(s, &t, DCGAN_OF_DISCRIMINATOR);
                }
                gan_combine_done(&s->combiner, shard);
            }
            for (gan_part part = GAN_WEIGHTS; (int)part < s->run.optimiser_parts; part++)
                require_finite(s, part, shard, count);
            if (gan_shard_has(&s->run, GAN_COPY, shard)) {
                make_change(s, shard, count);
                require_finite(s, GAN_COPY, shard, count);
            }
            if (gan_shard_has(&s->run, GAN_AVERAGE, shard)) {
                dcgan_average(s->values[GAN_AVERAGE], s->values[GAN_WEIGHTS], count, decay);
                require_finite(s, GAN_AVERAGE, shard, count);
            }
            write_shard(s, shard, count);
        }
        step_statistics(s);
    }
}
