-- -------------------------------------------------------------------------------------------------
-- Tables
-- -------------------------------------------------------------------------------------------------

CREATE TABLE gan_run (
    run                    int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name                   text NOT NULL UNIQUE CHECK (gan_is_name(name, 63)),
    state                  text NOT NULL DEFAULT 'created'
        CHECK (state IN ('created', 'running', 'paused', 'finished', 'stopped')),
    seed                   bigint NOT NULL,
    -- the networks
    channels               int NOT NULL CHECK (channels IN (1, 3)),
    image_size             int NOT NULL CHECK (image_size IN (32, 64, 128)),
    latent                 int NOT NULL CHECK (latent BETWEEN 1 AND 1024),
    generator_features     int NOT NULL CHECK (generator_features BETWEEN 1 AND 512),
    discriminator_features int NOT NULL CHECK (discriminator_features BETWEEN 1 AND 512),
    parameters             bigint NOT NULL CHECK (parameters > 0),
    shards                 int NOT NULL CHECK (shards > 0),
    -- the optimiser

    -- 0: units upload gradients, else changes of the weights
    local_steps            int NOT NULL DEFAULT 0 CHECK (local_steps BETWEEN 0 AND 65536),
    update_rule            text NOT NULL DEFAULT 'simultaneous'
        CHECK (update_rule IN ('simultaneous', 'alternating')),
    generator_learning_rate float8 NOT NULL
        CHECK (generator_learning_rate > 0 AND generator_learning_rate <= 1),
    discriminator_learning_rate float8 NOT NULL
        CHECK (discriminator_learning_rate > 0 AND discriminator_learning_rate <= 1),
    learning_rate_schedule text NOT NULL DEFAULT 'constant'
        CHECK (learning_rate_schedule IN ('constant', 'linear')),
    warmup_iterations      int NOT NULL DEFAULT 0 CHECK (warmup_iterations >= 0),
    beta1                  float8 NOT NULL CHECK (beta1 >= 0 AND beta1 < 1),
    beta2                  float8 NOT NULL CHECK (beta2 >= 0 AND beta2 < 1),
    epsilon                float8 NOT NULL CHECK (epsilon > 0 AND epsilon <= 1),
    -- outer_*: only with local steps
    outer_optimizer        text CHECK (outer_optimizer IN ('average', 'nesterov', 'adam')),
    outer_learning_rate    float8 CHECK (outer_learning_rate > 0 AND outer_learning_rate <= 10),
    outer_momentum         float8 CHECK (outer_momentum >= 0 AND outer_momentum < 1),
    norm_momentum          float8 NOT NULL CHECK (norm_momentum > 0 AND norm_momentum <= 1),
    gradient_limit         float8 NOT NULL CHECK (gradient_limit > 0 AND gradient_limit <= 1e30),
    -- the work
    images_per_unit        int NOT NULL CHECK (images_per_unit BETWEEN 1 AND 65536),
    units_per_iteration    int NOT NULL CHECK (units_per_iteration BETWEEN 1 AND 4096),
    -- true: units_per_iteration and quorum are set for each iteration by the number of active
    -- workers
    units_follow           boolean NOT NULL DEFAULT false,
    quorum                 int NOT NULL CHECK (quorum BETWEEN 1 AND units_per_iteration),
    -- the quorum as a share of the units, if their number follows the workers
    quorum_share           float8 NOT NULL DEFAULT 1 CHECK (quorum_share > 0 AND quorum_share <= 1),
    -- measured: a unit's size follows the measured speed of its worker
    unit_sizing            text NOT NULL DEFAULT 'equal'
        CHECK (unit_sizing IN ('equal', 'measured')),
    batch                  int NOT NULL CHECK (batch BETWEEN 1 AND 4096),
    lease_seconds          float8 NOT NULL CHECK (lease_seconds BETWEEN 1 AND 86400),
    -- the number format of uploads
    upload_element         text NOT NULL DEFAULT 'float32'
        CHECK (upload_element IN ('float32', 'float16', 'int8')),
    -- the number format in which workers download changes of the weights
    download_element       text NOT NULL DEFAULT 'float32'
        CHECK (download_element IN ('float32', 'float16', 'int8')),
    target_iterations      int NOT NULL CHECK (target_iterations BETWEEN 1 AND 100000000),
    -- the decay of the generator's moving average; 0: there is none
    average_decay          float8 NOT NULL DEFAULT 0
        CHECK (average_decay >= 0 AND average_decay < 1),
    -- which sheets are drawn and how often quality is measured (gan_set_policy)

    -- in iterations; 0: not by iterations
    sheet_every            int NOT NULL DEFAULT 0 CHECK (sheet_every BETWEEN 0 AND 1000000),
    -- 0: not by time
    sheet_seconds          int NOT NULL DEFAULT 10 CHECK (sheet_seconds BETWEEN 0 AND 86400),
    sheet_images           int NOT NULL DEFAULT 64 CHECK (sheet_images BETWEEN 1 AND 1024),
    sheets_kept            int NOT NULL DEFAULT 100 CHECK (sheets_kept BETWEEN 2 AND 10000),
    -- as sheet_every and sheet_seconds
    quality_every          int NOT NULL DEFAULT 0 CHECK (quality_every BETWEEN 0 AND 1000000),
    quality_seconds        int NOT NULL DEFAULT 60 CHECK (quality_seconds BETWEEN 0 AND 86400),
    quality_images         int NOT NULL DEFAULT 512 CHECK (quality_images BETWEEN 16 AND 2048),
    -- the dataset, set or confirmed by the instructor (gan_set_dataset); until then no unit is
    -- given out
    dataset_images         bigint CHECK (dataset_images BETWEEN 1 AND 4294967296),
    dataset_digest         bytea CHECK (octet_length(dataset_digest) = 32),
    -- where the run is
    iteration              int NOT NULL DEFAULT 0 CHECK (iteration BETWEEN 0 AND target_iterations),
    next_position          bigint NOT NULL DEFAULT 0 CHECK (next_position >= 0),
    -- where its history begins: above 0 if it continues from a file
    first_iteration        int NOT NULL DEFAULT 0 CONSTRAINT gan_run_first_iteration
        CHECK (first_iteration BETWEEN 0 AND iteration),
    first_position         bigint NOT NULL DEFAULT 0 CONSTRAINT gan_run_first_position
        CHECK (first_position BETWEEN 0 AND next_position),
    -- nonces of the current weights, and of those one and two iterations before
    weights_nonce          bigint NOT NULL DEFAULT gan_nonce(),
    weights_nonce_1        bigint,
    weights_nonce_2        bigint,
    created_at             timestamptz NOT NULL DEFAULT statement_timestamp(),
    iteration_started_at   timestamptz,
    -- the time from here to gan_start does not count as part of the iteration
    paused_at              timestamptz,
    stopped_at             timestamptz, -- by gan_stop
    -- protection against harmful results

    -- the rule that combines results: a row of gan_rule, with its parameters in brackets, or sql:
    -- and a function
    aggregator             text NOT NULL DEFAULT 'clipped',
    -- the rule that takes the step if that function fails, and the seconds that the function may
    -- take for a tile
    fallback_aggregator    text NOT NULL DEFAULT 'clipped',
    rule_seconds           float8 NOT NULL DEFAULT 5
        CHECK (rule_seconds BETWEEN 0.01 AND 3600),
    -- the largest length of a step relative to that of the weights, for each network
    update_limit           float8 NOT NULL DEFAULT 1 CHECK (update_limit > 0),
    -- iterations; 0: none are made
    checkpoint_every       int NOT NULL DEFAULT 0 CHECK (checkpoint_every >= 0),
    -- the newest ones; the first is kept as well
    checkpoints_kept       int NOT NULL DEFAULT 5 CHECK (checkpoints_kept BETWEEN 1 AND 1000),
    -- the run it was forked from, while that exists. No foreign key: pg_dump would warn of a cycle
    forked_from            int,
    -- the share of units that is always spot-checked; 0: no spot checks
    audit_minimum          float8 NOT NULL DEFAULT 0 CHECK (audit_minimum BETWEEN 0 AND 1),
    -- there are spot checks in this iteration: enough accounts are active
    checks_on              boolean NOT NULL DEFAULT false,
    -- how often the step of this iteration failed because of stored data
    step_failures          int NOT NULL DEFAULT 0 CHECK (step_failures >= 0),
    paused_because         text, -- why the run paused itself, and what to do
    CHECK (num_nulls(outer_optimizer, outer_learning_rate, outer_momentum) = CASE
        WHEN local_steps > 0 THEN 0
        ELSE 3 END),
    CHECK (local_steps = 0
        OR (images_per_unit = local_steps * batch AND update_rule = 'simultaneous')),
    CHECK (local_steps > 0 OR unit_sizing = 'equal'),
    CHECK ((dataset_images IS NULL) = (dataset_digest IS NULL)),
    CHECK ((state = 'finished') = (iteration = target_iterations) OR state = 'stopped'),
    CHECK (state <> 'running' OR iteration_started_at IS NOT NULL)
) WITH (fillfactor = 50);

CREATE TABLE gan_worker (
    worker     int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run        int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    login      name NOT NULL,
    name       text NOT NULL CHECK (gan_is_name(name, 32)),
    cores      int NOT NULL CHECK (cores BETWEEN 1 AND 65536),
    memory_mb  int NOT NULL CHECK (memory_mb >= 0),
    cpu        text NOT NULL CHECK (cpu COLLATE "C" ~ '^[A-Za-z0-9 ()@.,_/+-]{0,64}$'),
    version    text NOT NULL CHECK (version COLLATE "C" ~ '^[A-Za-z0-9.+-]{0,32}$'),
    -- the GPU that it computes on, and its memory; '' and 0: the CPU
    gpu        text NOT NULL DEFAULT '' CHECK (gpu COLLATE "C" ~ '^[A-Za-z0-9 ()@.,_/+-]{0,64}$'),
    gpu_memory_mb int NOT NULL DEFAULT 0 CHECK (gpu_memory_mb >= 0),
    units      bigint NOT NULL DEFAULT 0 CHECK (units >= 0),
    images     bigint NOT NULL DEFAULT 0 CHECK (images >= units),
    -- seconds for an image from claim to submission, by the server's clock; the latest first
    paces      float8[] NOT NULL DEFAULT '{}' CHECK (cardinality(paces) <= 8),
    pace       float8 GENERATED ALWAYS AS (gan_median(paces)) STORED,
    pace_mad   float8 GENERATED ALWAYS AS (gan_median_deviation(paces)) STORED,
    -- leases that ended since its last unit: each doubles the next one
    lapses     int NOT NULL DEFAULT 0 CHECK (lapses BETWEEN 0 AND 20),
    -- results that were refused since its login's last accepted one
    refusals   int NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    refused_at timestamptz,
    -- units given back since its last finished one, if there are spot checks
    returns    int NOT NULL DEFAULT 0 CHECK (returns >= 0),
    -- the dataset that the worker has announced
    dataset_images bigint CHECK (dataset_images BETWEEN 1 AND 4294967296),
    dataset_digest bytea CHECK (octet_length(dataset_digest) = 32),
    joined_at  timestamptz NOT NULL DEFAULT statement_timestamp(),
    last_seen  timestamptz NOT NULL DEFAULT statement_timestamp(),
    UNIQUE (run, login, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE gan_work_unit (
    unit           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run            int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    iteration      gan_count NOT NULL,
    first_position gan_position NOT NULL,
    images         gan_unit_images NOT NULL,
    -- beaten: another unit of the same positions was submitted first; aside: it failed too often;
    -- checked: a spot check that was submitted
    state          gan_unit_state NOT NULL DEFAULT 'pending',
    attempts       gan_count NOT NULL DEFAULT 0,
    -- the unit that this one replaces, because that one stayed locked
    replaces       bigint,
    -- the unit this one is a copy of, because its holder is late: the first of the two counts
    backs_up       bigint,
    -- the worker for whose speed it was sized; any worker may compute it
    meant_for      int,
    failed_by      name[],                  -- logins at which it failed
    -- logins for which it was already decided at random whether the unit is spot-checked
    drawn_for      name[],
    checked_for    name[],                  -- those of them for which it is checked
    -- a gan_worker, whose deletion deletes its units (gan_forget_worker): a foreign key would be
    -- looked up again by every claim, which has just read the worker
    worker         int,
    token          uuid,                    -- the fence: of the current claim only
    weights_nonce  bigint,                  -- of the weights that the last claim was given
    opened_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_at     timestamptz,
    lease_seconds  float8,                  -- what a renewal extends the lease by
    lease_until    timestamptz,
    submitted_at   timestamptz,
    -- the minibatch the worker used: with it the unit can be recomputed
    batch          gan_batch,
    loss_d         gan_loss,
    loss_g         gan_loss,
    accuracy_real  gan_share,
    accuracy_fake  gan_share,
    -- the factor by which the rule multiplied it: below 1 it was clipped, 0: left out
    scale          gan_factor,
    -- the unit that this one computes a second time; it is never averaged
    audits         bigint,
    CONSTRAINT gan_work_unit_taken CHECK (num_nulls(worker, token, claimed_at) = CASE
        WHEN state IN ('pending', 'aside') THEN 3
        ELSE 0 END),
    CONSTRAINT gan_work_unit_given
        CHECK (state IN ('pending', 'aside') OR (attempts > 0 AND weights_nonce IS NOT NULL)),
    CONSTRAINT gan_work_unit_lease CHECK ((state = 'claimed') = (lease_until IS NOT NULL)),
    CONSTRAINT gan_work_unit_result
        CHECK (num_nulls(submitted_at, batch, loss_d, loss_g, accuracy_real, accuracy_fake) = CASE
            WHEN state IN ('done', 'checked') THEN 0
            ELSE 6 END),
    CONSTRAINT gan_work_unit_check_state CHECK (CASE
        WHEN audits IS NULL THEN state <> 'checked'
        ELSE state NOT IN ('done', 'aside') END)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0);

CREATE INDEX gan_work_unit_iteration ON gan_work_unit (run, iteration);
CREATE INDEX gan_work_unit_pending ON gan_work_unit (run, iteration, first_position) INCLUDE (unit)
    WHERE state = 'pending';
CREATE UNIQUE INDEX gan_work_unit_replaces ON gan_work_unit (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX gan_work_unit_meant ON gan_work_unit (meant_for, iteration, first_position)
    WHERE state = 'pending' AND meant_for IS NOT NULL;
-- one copy at a time
CREATE UNIQUE INDEX gan_work_unit_backs_up ON gan_work_unit (backs_up) WHERE backs_up IS NOT NULL;
-- each position counts at most once
CREATE UNIQUE INDEX gan_work_unit_done ON gan_work_unit (run, first_position) WHERE state = 'done';
-- a worker holds one unit at a time
CREATE UNIQUE INDEX gan_work_unit_live ON gan_work_unit (worker) WHERE state = 'claimed';

CREATE TABLE gan_history (
    run             int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    -- the iteration that ended; its step made the weights of iteration + 1
    iteration       int NOT NULL CHECK (iteration >= 0),
    epoch           float8 NOT NULL,                     -- passes over the dataset so far
    units           int NOT NULL CHECK (units > 0),
    images          bigint NOT NULL CHECK (images >= units),
    -- positions in the run's order that were averaged
    positions       int8multirange NOT NULL,
    workers         int NOT NULL CHECK (workers > 0),
    loss_d          float8 NOT NULL,
    loss_g          float8 NOT NULL,
    accuracy_real   float8 NOT NULL,
    accuracy_fake   float8 NOT NULL,
    gradient_norm_g float8 NOT NULL CHECK (gradient_norm_g >= 0 AND gradient_norm_g < 'Infinity'),
    gradient_norm_d float8 NOT NULL CHECK (gradient_norm_d >= 0 AND gradient_norm_d < 'Infinity'),
    -- the digest of the weights that the step made
    weights_digest  bytea NOT NULL CHECK (octet_length(weights_digest) = 32),
    weights_nonce   bigint NOT NULL,                     -- of those that the units were computed at
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz NOT NULL,
    aggregator      text NOT NULL DEFAULT 'mean',        -- the rule that took the step
    rule_failure    text,                                -- why the rule in SQL was not used
    accounts        int CHECK (accounts > 0),            -- logins that it counted
    -- units that it clipped or left out
    clipped         int NOT NULL DEFAULT 0 CHECK (clipped BETWEEN 0 AND units),
    -- length of the step relative to that of the weights, before it was shortened to the run's
    -- update_limit
    update_g        float8 CHECK (update_g >= 0),
    update_d        float8 CHECK (update_d >= 0),
    capped          boolean NOT NULL DEFAULT false,      -- a network's step was shortened
    opened          int CHECK (opened > 0),              -- units it was to have
    -- the run in which the step was taken, if a fork took it over from another run
    taken_in        int,
    -- a second step of an iteration can't be stored
    PRIMARY KEY (run, iteration)
);

-- Model-sized data is stored by shard (1 MiB) and by slot (iteration modulo 2). A run has its own
-- two partitions of each table. A step reads one slot and fills the other, which it first empties
-- by TRUNCATE: nothing waits for vacuum, and the size of a run is bounded. gan_create_run creates
-- the partitions and their primary keys (pg_dump could not restore keys that are defined here). A
-- shard's blob is cut into pieces that fill a page; the views gan_weights, gan_moments,
-- gan_batch_norm and gan_gradient put them together again. The server's C functions read and write
-- both tables by these columns, in this order (src/extension/store/pieces.c).

CREATE TABLE gan_state_piece (
    run       int NOT NULL,
    slot      int NOT NULL CHECK (slot = iteration % 2),
    iteration int NOT NULL CHECK (iteration >= 0),
    -- 0 weights (and, after the last shard, running statistics); 1 and 2 moments, if the optimiser
    -- keeps them; 3 the copy that workers hold; 4 the change that led to it; 5 the generator's
    -- moving average
    part      bigint NOT NULL CHECK (part BETWEEN 0 AND 5),
    shard     int NOT NULL CHECK (shard >= 0),
    piece     int NOT NULL CHECK (piece >= 0),
    data      bytea NOT NULL
) PARTITION BY LIST (run);

-- The partitions are unlogged: an upload costs no WAL and no fsync. After a crash they are empty;
-- gan_tick notices that and gives the units out again.
CREATE TABLE gan_gradient_piece (
    run        int NOT NULL,
    slot       int NOT NULL CHECK (slot = iteration % 2),
    iteration  int NOT NULL CHECK (iteration >= 0),
    unit       bigint NOT NULL,
    -- the shard after the last holds the batch-norm statistics
    shard      int NOT NULL CHECK (shard >= 0),
    piece      int NOT NULL CHECK (piece >= 0),
    data       bytea NOT NULL,
    -- the token of the claim it was uploaded under; only in a shard's first piece
    token      uuid,
    square_sum float8 CHECK (square_sum >= 0 AND square_sum < 'Infinity'),
    CHECK (num_nulls(token, square_sum) = CASE piece WHEN 0 THEN 0 ELSE 2 END)
) PARTITION BY LIST (run);

-- Stored uncompressed in the row: a piece fills its page. Partitions inherit this setting.
ALTER TABLE gan_state_piece ALTER data SET STORAGE PLAIN;
ALTER TABLE gan_gradient_piece ALTER data SET STORAGE PLAIN;

-- pg_dump saves these tables.
SELECT pg_catalog.pg_extension_config_dump('gan_run', '');
SELECT pg_catalog.pg_extension_config_dump('gan_worker', '');
SELECT pg_catalog.pg_extension_config_dump('gan_work_unit', '');
SELECT pg_catalog.pg_extension_config_dump('gan_history', '');
SELECT pg_catalog.pg_extension_config_dump('gan_state_piece', '');
SELECT pg_catalog.pg_extension_config_dump('gan_gradient_piece', '');
SELECT pg_catalog.pg_extension_config_dump('gan_run_run_seq', '');
SELECT pg_catalog.pg_extension_config_dump('gan_worker_worker_seq', '');
SELECT pg_catalog.pg_extension_config_dump('gan_work_unit_unit_seq', '');

COMMENT ON TABLE gan_run IS 'Trainings: configuration and where each is';
COMMENT ON TABLE gan_worker
    IS 'Programs that joined a run: who, on what hardware, what of theirs was averaged (units, '
        'images)';
COMMENT ON TABLE gan_work_unit
    IS 'Pieces of an iteration: images by position in the run''s order, and who holds or did them';
COMMENT ON TABLE gan_history IS 'One small row for each step that was taken';
COMMENT ON TABLE gan_state_piece
    IS 'Parameters, running statistics, the optimiser''s moments and what workers hold, of the '
        'current and the previous iteration, in pieces of a page';
COMMENT ON TABLE gan_gradient_piece
    IS 'Uploaded gradients of the current and the previous iteration, in pieces of a page; '
        'unlogged';
