/*
 * shards.c - which shards a run has, and how long they are
 */
#include "run.h"

#include "../../formats/wire/change.h"

/* Names the networks that an iteration's units learn and its step moves. */
dcgan_networks gan_networks_stepped(const gan_run *run, int32 iteration) {
    return dcgan_networks_stepped(run->alternating, (uint32)iteration);
}

/* Tells whether an iteration's units upload this shard: one that holds something of a network that
 * is stepped, or the statistics. */
bool gan_shard_needed(const gan_run *run, int32 iteration, int32 shard) {
    size_t first, count, begin = (size_t)shard * SHARD_COUNT;

    dcgan_networks_range(&run->model, gan_networks_stepped(run, iteration), &first, &count);
    return shard == run->shards ||
           (begin < first + count && begin + gan_shard_length(&run->model, shard) > first);
}

/* Counts the numbers of a shard; the shard after the last is the statistics. Zero: there is no such
 * shard. */
size_t gan_shard_length(const dcgan_model *model, int32 shard) {
    if (shard < 0)
        return 0;
    if ((size_t)shard == shard_total(model->parameter_count))
        return model->statistics_count;
    return shard_length(model->parameter_count, (size_t)shard);
}

/* Tells whether a part of the state is stored in a run. */
bool gan_run_has(const gan_run *run, gan_part part) {
    if (part == GAN_AVERAGE)
        return run->average_decay > 0;
    return part < GAN_OPTIMISER_PARTS ? (int)part < run->optimiser_parts
                                      : run->download != BLOB_FLOAT32;
}

/* Tells whether a part of a shard of the state is stored in a run; the shard after the last is the
 * statistics. */
bool gan_shard_has(const gan_run *run, gan_part part, int32 shard) {
    if (shard >= run->shards)
        return shard == run->shards && part == GAN_WEIGHTS;
    return gan_run_has(run, part) &&
           (part != GAN_AVERAGE || shard < (int32)shard_total(run->model.generator.count));
}

/* Computes the bytes that are stored of a part of a shard. */
size_t gan_part_size(const gan_run *run, gan_part part, int32 shard) {
    size_t count = gan_shard_length(&run->model, shard);
    return part == GAN_CHANGE ? change_size(count, run->download) : blob_size(count);
}
