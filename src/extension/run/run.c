/*
 * run.c - reading a run's configuration
 */
#include "run.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(gan_nonce);

/* Draws a number that names a version of the weights. */
Datum gan_nonce(PG_FUNCTION_ARGS) {
    int64 nonce;

    if (!pg_strong_random(&nonce, sizeof nonce))
        elog(ERROR, "could not draw a random number");
    PG_RETURN_INT64(nonce);
}

/* Sets a run to an iteration: its number, and the learning rates of its schedule. */
void gan_run_at(gan_run *run, int32 iteration) {
    double factor = dcgan_schedule_factor(&run->schedule, (uint32)iteration);

    run->iteration = iteration;
    run->generator.learning_rate = factor * run->generator_rate;
    run->discriminator.learning_rate = factor * run->discriminator_rate;
}

/* Reads the optimiser's options from the row that gan_run_read has found. */
static void read_optimisers(gan_run *run) {
    const dcgan_adam_options adam = {.beta1 = DatumGetFloat8(gan_value(0, 13, NULL)),
                                     .beta2 = DatumGetFloat8(gan_value(0, 14, NULL)),
                                     .epsilon = DatumGetFloat8(gan_value(0, 15, NULL))};

    run->schedule = (dcgan_schedule){.linear = DatumGetBool(gan_value(0, 18, NULL)),
                                     .warmup = DatumGetUInt32(gan_value(0, 19, NULL)),
                                     .target = DatumGetUInt32(gan_value(0, 20, NULL))};
    run->generator = run->discriminator = adam;
    run->generator_rate = DatumGetFloat8(gan_value(0, 11, NULL));
    run->discriminator_rate = DatumGetFloat8(gan_value(0, 12, NULL));
    gan_run_at(run, run->iteration);
    run->local_steps = DatumGetInt32(gan_value(0, 16, NULL));
    run->alternating = DatumGetBool(gan_value(0, 17, NULL));
    run->optimiser_parts = GAN_OPTIMISER_PARTS;
    if (run->local_steps > 0) {
        const char *name = TextDatumGetCString(gan_value(0, 21, NULL));
        run->outer = (dcgan_outer_options){
            .optimizer = strcmp(name, "average") == 0    ? DCGAN_OUTER_AVERAGE
                         : strcmp(name, "nesterov") == 0 ? DCGAN_OUTER_NESTEROV
                                                         : DCGAN_OUTER_ADAM,
            .learning_rate = DatumGetFloat8(gan_value(0, 22, NULL)),
            .momentum = DatumGetFloat8(gan_value(0, 23, NULL)),
            .beta2 = adam.beta2,
            .epsilon = adam.epsilon,
        };
        run->optimiser_parts = GAN_FIRST_MOMENT + dcgan_outer_moments(run->outer.optimizer);
    }
}

/* Reads the rule that combines results: one of ours, or `sql:` and a function of the class, with
 * one of ours as its fallback. */
static void read_rule(gan_run *run) {
    const char *name = TextDatumGetCString(gan_value(0, 25, NULL));

    if (strncmp(name, GAN_SQL_RULE, strlen(GAN_SQL_RULE)) == 0) {
        run->sql_rule = name + strlen(GAN_SQL_RULE);
        name = TextDatumGetCString(gan_value(0, 29, NULL));
    }
    if (dcgan_rule_read(&run->rule, name) != DCGAN_RULE_OK)
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no aggregator \"%s\"", name),
                 errhint("SELECT * FROM gan_rule lists them.")));
    run->rule_seconds = DatumGetFloat8(gan_value(0, 30, NULL));
    run->update_limit = DatumGetFloat8(gan_value(0, 26, NULL));
    run->batch = DatumGetInt32(gan_value(0, 27, NULL));
}

/* Reads a run from gan_run; with lock, so that nobody else changes it until the end of the
 * transaction. */
void gan_run_read(gan_run *run, int32 number, bool lock) {
    const char *query =
        "SELECT iteration, quorum, state, seed, channels, image_size, latent, generator_features, "
        "discriminator_features, norm_momentum, generator_learning_rate, "
        "discriminator_learning_rate, beta1, "
        "beta2, epsilon, local_steps, update_rule = 'alternating', learning_rate_schedule = "
        "'linear', "
        "warmup_iterations, target_iterations, outer_optimizer, outer_learning_rate, "
        "outer_momentum, "
        "download_element, aggregator, update_limit, batch, average_decay, "
        "fallback_aggregator, rule_seconds "
        "FROM gan_run WHERE run = $1";
    static SPIPlanPtr plan, locking_plan;
    dcgan_config config;
    Datum key[] = {Int32GetDatum(number)};

    if (gan_execute_saved(lock ? &locking_plan : &plan,
                          lock ? psprintf("%s FOR NO KEY UPDATE SKIP LOCKED", query) : query, 1,
                          (Oid[]){INT4OID}, key, !lock) != 1) {
        if (lock && gan_execute("SELECT FROM gan_run WHERE run = $1", 1, (Oid[]){INT4OID},
                                (Datum[]){Int32GetDatum(number)}, true) == 1)
            ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                            errmsg("another session is working on run %d", number),
                            errhint("Wait a moment and look at gan_progress.")));
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no run %d", number)));
    }
    memset(run, 0, sizeof *run);
    run->run = number;
    run->iteration = DatumGetInt32(gan_value(0, 1, NULL));
    run->quorum = DatumGetInt32(gan_value(0, 2, NULL));
    run->state = TextDatumGetCString(gan_value(0, 3, NULL));
    run->seed = DatumGetInt64(gan_value(0, 4, NULL));
    config = (dcgan_config){.channels = DatumGetUInt32(gan_value(0, 5, NULL)),
                            .image_size = DatumGetUInt32(gan_value(0, 6, NULL)),
                            .latent = DatumGetUInt32(gan_value(0, 7, NULL)),
                            .generator_features = DatumGetUInt32(gan_value(0, 8, NULL)),
                            .discriminator_features = DatumGetUInt32(gan_value(0, 9, NULL))};
    run->norm_momentum = DatumGetFloat8(gan_value(0, 10, NULL));
    read_optimisers(run);
    if (!blob_element_read(&run->download, TextDatumGetCString(gan_value(0, 24, NULL))))
        elog(ERROR, "run %d has an unknown download_element", number);
    read_rule(run);
    run->average_decay = DatumGetFloat8(gan_value(0, 28, NULL));
    gan_check_status(dcgan_model_init(&run->model, &config));
    run->shards = (int32)shard_total(run->model.parameter_count);
}

/* Returns the run that an argument names; if it is null, the one that gan_the_run finds. */
int32 gan_run_find(FunctionCallInfo fcinfo, int argument) {
    static gan_statement find = {"SELECT gan_the_run($1)", 1, {INT4OID}};
    bool null = PG_ARGISNULL(argument);

    gan_run_with_nulls(&find, (Datum[]){null ? (Datum)0 : PG_GETARG_DATUM(argument)},
                       null ? "n" : " ");
    return DatumGetInt32(gan_value(0, 1, NULL));
}
