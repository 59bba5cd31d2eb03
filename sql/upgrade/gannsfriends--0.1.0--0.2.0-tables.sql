-- -------------------------------------------------------------------------------------------------
-- From 0.1.0 to 0.2.0: changes of the tables
-- -------------------------------------------------------------------------------------------------
-- In place of core/tables.sql
-- (read by assemble.sh). Existing runs train as before: rule mean, no limit, no average.
-- Constraints get the names that a new installation gives them, for updates to come.

ALTER TABLE gan_run
    ADD COLUMN unit_sizing text NOT NULL DEFAULT 'equal'
        CHECK (unit_sizing IN ('equal', 'measured')),
    ADD COLUMN average_decay float8 NOT NULL DEFAULT 0
        CHECK (average_decay >= 0 AND average_decay < 1),
    ADD COLUMN units_follow boolean NOT NULL DEFAULT false,
    ADD COLUMN quorum_share float8 NOT NULL DEFAULT 1
        CHECK (quorum_share > 0 AND quorum_share <= 1),
    ADD COLUMN sheet_every int NOT NULL DEFAULT 0 CHECK (sheet_every BETWEEN 0 AND 1000000),
    ADD COLUMN sheet_seconds int NOT NULL DEFAULT 10 CHECK (sheet_seconds BETWEEN 0 AND 86400),
    ADD COLUMN sheet_images int NOT NULL DEFAULT 64 CHECK (sheet_images BETWEEN 1 AND 1024),
    ADD COLUMN sheets_kept int NOT NULL DEFAULT 100 CHECK (sheets_kept BETWEEN 2 AND 10000),
    ADD COLUMN quality_every int NOT NULL DEFAULT 0 CHECK (quality_every BETWEEN 0 AND 1000000),
    ADD COLUMN quality_seconds int NOT NULL DEFAULT 60 CHECK (quality_seconds BETWEEN 0 AND 86400),
    ADD COLUMN quality_images int NOT NULL DEFAULT 512 CHECK (quality_images BETWEEN 16 AND 2048),
    -- one for each run: the table is rewritten
    ADD COLUMN weights_nonce bigint NOT NULL DEFAULT gan_nonce(),
    ADD COLUMN weights_nonce_1 bigint,
    ADD COLUMN weights_nonce_2 bigint,
    ADD COLUMN aggregator text NOT NULL DEFAULT 'mean',
    ADD COLUMN fallback_aggregator text NOT NULL DEFAULT 'clipped',
    ADD COLUMN rule_seconds float8 NOT NULL DEFAULT 5 CHECK (rule_seconds BETWEEN 0.01 AND 3600),
    ADD COLUMN update_limit float8 NOT NULL DEFAULT 'Infinity' CHECK (update_limit > 0),
    ADD COLUMN checkpoint_every int NOT NULL DEFAULT 0 CHECK (checkpoint_every >= 0),
    ADD COLUMN checkpoints_kept int NOT NULL DEFAULT 5 CHECK (checkpoints_kept BETWEEN 1 AND 1000),
    ADD COLUMN forked_from int,
    ADD COLUMN audit_minimum float8 NOT NULL DEFAULT 0 CHECK (audit_minimum BETWEEN 0 AND 1),
    ADD COLUMN checks_on boolean NOT NULL DEFAULT false,
    ADD COLUMN step_failures int NOT NULL DEFAULT 0 CHECK (step_failures >= 0),
    ADD COLUMN paused_because text,
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN stopped_at timestamptz,
    ADD COLUMN first_iteration int NOT NULL DEFAULT 0 CONSTRAINT gan_run_first_iteration
        CHECK (first_iteration BETWEEN 0 AND iteration),
    ADD COLUMN first_position bigint NOT NULL DEFAULT 0 CONSTRAINT gan_run_first_position
        CHECK (first_position BETWEEN 0 AND next_position);
ALTER TABLE gan_run RENAME CONSTRAINT gan_run_check6 TO gan_run_check7;
ALTER TABLE gan_run RENAME CONSTRAINT gan_run_check5 TO gan_run_check6;
ALTER TABLE gan_run RENAME CONSTRAINT gan_run_check4 TO gan_run_check5;
ALTER TABLE gan_run
    ALTER aggregator SET DEFAULT 'clipped',
    ALTER update_limit SET DEFAULT 1,
    ADD CONSTRAINT gan_run_check4 CHECK (local_steps > 0 OR unit_sizing = 'equal');

-- Which characters a name may contain no longer depends on the locale.
ALTER TABLE gan_run DROP CONSTRAINT gan_run_name_check, ADD CONSTRAINT gan_run_name_check
    CHECK (gan_is_name(name, 63));
ALTER TABLE gan_worker
    DROP CONSTRAINT gan_worker_name_check, ADD CONSTRAINT gan_worker_name_check
        CHECK (gan_is_name(name, 32)),
    DROP CONSTRAINT gan_worker_cpu_check, ADD CONSTRAINT gan_worker_cpu_check
        CHECK (cpu COLLATE "C" ~ '^[A-Za-z0-9 ()@.,_/+-]{0,64}$'),
    DROP CONSTRAINT gan_worker_version_check, ADD CONSTRAINT gan_worker_version_check
        CHECK (version COLLATE "C" ~ '^[A-Za-z0-9.+-]{0,32}$');

ALTER TABLE gan_worker
    ADD COLUMN gpu text NOT NULL DEFAULT ''
        CHECK (gpu COLLATE "C" ~ '^[A-Za-z0-9 ()@.,_/+-]{0,64}$'),
    ADD COLUMN gpu_memory_mb int NOT NULL DEFAULT 0 CHECK (gpu_memory_mb >= 0),
    ADD COLUMN paces float8[] NOT NULL DEFAULT '{}' CHECK (cardinality(paces) <= 8),
    ADD COLUMN pace float8 GENERATED ALWAYS AS (gan_median(paces)) STORED,
    ADD COLUMN pace_mad float8 GENERATED ALWAYS AS (gan_median_deviation(paces)) STORED,
    ADD COLUMN lapses int NOT NULL DEFAULT 0 CHECK (lapses BETWEEN 0 AND 20),
    ADD COLUMN refusals int NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    ADD COLUMN refused_at timestamptz,
    ADD COLUMN returns int NOT NULL DEFAULT 0 CHECK (returns >= 0),
    ADD COLUMN dataset_images bigint CHECK (dataset_images BETWEEN 1 AND 4294967296),
    ADD COLUMN dataset_digest bytea CHECK (octet_length(dataset_digest) = 32);

-- A nonce for every version of the weights so far.
ALTER TABLE gan_history
    ADD COLUMN weights_nonce bigint NOT NULL DEFAULT gan_nonce(),
    ADD COLUMN aggregator text NOT NULL DEFAULT 'mean',
    ADD COLUMN rule_failure text,
    ADD COLUMN accounts int CHECK (accounts > 0),
    ADD COLUMN clipped int NOT NULL DEFAULT 0 CHECK (clipped BETWEEN 0 AND units),
    ADD COLUMN update_g float8 CHECK (update_g >= 0),
    ADD COLUMN update_d float8 CHECK (update_d >= 0),
    ADD COLUMN capped boolean NOT NULL DEFAULT false,
    ADD COLUMN opened int CHECK (opened > 0),
    ADD COLUMN taken_in int;
ALTER TABLE gan_history ALTER weights_nonce DROP DEFAULT;
UPDATE gan_run r
    SET weights_nonce_1 = (SELECT h.weights_nonce
        FROM gan_history h
        WHERE h.run = r.run AND h.iteration = r.iteration - 1),
                     weights_nonce_2 = (SELECT h.weights_nonce
                         FROM gan_history h
                         WHERE h.run = r.run AND h.iteration = r.iteration - 2);

ALTER TABLE gan_work_unit
    DROP CONSTRAINT gan_work_unit_state_check,
    DROP CONSTRAINT gan_work_unit_check,
    DROP CONSTRAINT gan_work_unit_check1,
    DROP CONSTRAINT gan_work_unit_check2,
    DROP CONSTRAINT gan_work_unit_check3,
    DROP CONSTRAINT gan_work_unit_check4,
    DROP CONSTRAINT gan_work_unit_check5,
    DROP CONSTRAINT gan_work_unit_check6,
    ADD COLUMN backs_up bigint,
    ADD COLUMN meant_for int,
    ADD COLUMN failed_by name[],
    ADD COLUMN drawn_for name[],
    ADD COLUMN checked_for name[],
    ADD COLUMN weights_nonce bigint,
    ADD COLUMN lease_seconds float8,
    ADD COLUMN scale gan_factor,
    ADD COLUMN audits bigint;
-- Nobody holds a lock now, so units that were replaced because of a lock are not needed any more.
-- Units in progress become pending again, because workers of 0.1.0 can no longer submit them.
-- Submitted units count: their nonce is that of their iteration's weights.
DELETE FROM gan_work_unit u USING gan_work_unit later WHERE later.replaces = u.unit;
UPDATE gan_work_unit
    SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL,
        opened_at = clock_timestamp()
    WHERE state = 'claimed';
UPDATE gan_work_unit u
    SET weights_nonce = coalesce((SELECT h.weights_nonce
        FROM gan_history h
        WHERE h.run = u.run AND h.iteration = u.iteration),
        r.weights_nonce)
    FROM gan_run r WHERE r.run = u.run AND u.state = 'done';
-- Numbers that 0.1.0 accepted unchecked.
UPDATE gan_work_unit
    SET loss_d = CASE WHEN loss_d < 1e-30 THEN 0 ELSE least(loss_d, 1e6) END,
        loss_g = CASE WHEN loss_g < 1e-30 THEN 0 ELSE least(loss_g, 1e6) END,
        accuracy_real = CASE WHEN accuracy_real < 1e-30 THEN 0 ELSE accuracy_real END,
            accuracy_fake = CASE WHEN accuracy_fake < 1e-30 THEN 0 ELSE accuracy_fake END
    WHERE num_nulls(loss_d, loss_g, accuracy_real, accuracy_fake) = 0;
UPDATE gan_work_unit
    SET submitted_at = NULL, batch = NULL, loss_d = NULL, loss_g = NULL, accuracy_real = NULL,
        accuracy_fake = NULL
    WHERE state <> 'done';
UPDATE gan_run SET gradient_limit = 1e30 WHERE gradient_limit > 1e30;
ALTER TABLE gan_run DROP CONSTRAINT gan_run_gradient_limit_check,
    ADD CONSTRAINT gan_run_gradient_limit_check
    CHECK (gradient_limit > 0 AND gradient_limit <= 1e30);
ALTER TABLE gan_work_unit
    DROP CONSTRAINT gan_work_unit_worker_fkey,
    DROP CONSTRAINT gan_work_unit_iteration_check,
    DROP CONSTRAINT gan_work_unit_first_position_check,
    DROP CONSTRAINT gan_work_unit_images_check,
    DROP CONSTRAINT gan_work_unit_attempts_check,
    DROP CONSTRAINT gan_work_unit_batch_check,
    DROP CONSTRAINT gan_work_unit_loss_d_check,
    DROP CONSTRAINT gan_work_unit_loss_g_check,
    DROP CONSTRAINT gan_work_unit_accuracy_real_check,
    DROP CONSTRAINT gan_work_unit_accuracy_fake_check,
    ALTER iteration TYPE gan_count,
    ALTER first_position TYPE gan_position,
    ALTER images TYPE gan_unit_images,
    ALTER state TYPE gan_unit_state,
    ALTER attempts TYPE gan_count,
    ALTER batch TYPE gan_batch,
    ALTER loss_d TYPE gan_loss,
    ALTER loss_g TYPE gan_loss,
    ALTER accuracy_real TYPE gan_share,
    ALTER accuracy_fake TYPE gan_share;
ALTER TABLE gan_work_unit
    ADD CONSTRAINT gan_work_unit_taken CHECK (num_nulls(worker, token, claimed_at) = CASE
        WHEN state IN ('pending', 'aside') THEN 3
        ELSE 0 END),
    ADD CONSTRAINT gan_work_unit_given
        CHECK (state IN ('pending', 'aside') OR (attempts > 0 AND weights_nonce IS NOT NULL)),
    ADD CONSTRAINT gan_work_unit_lease CHECK ((state = 'claimed') = (lease_until IS NOT NULL)),
    ADD CONSTRAINT gan_work_unit_result
        CHECK (num_nulls(submitted_at, batch, loss_d, loss_g, accuracy_real, accuracy_fake) = CASE
            WHEN state IN ('done', 'checked') THEN 0
            ELSE 6 END),
    ADD CONSTRAINT gan_work_unit_check_state CHECK (CASE
        WHEN audits IS NULL THEN state <> 'checked'
        ELSE state NOT IN ('done', 'aside') END);

CREATE INDEX gan_work_unit_meant ON gan_work_unit (meant_for, iteration, first_position)
    WHERE state = 'pending' AND meant_for IS NOT NULL;
CREATE UNIQUE INDEX gan_work_unit_backs_up ON gan_work_unit (backs_up) WHERE backs_up IS NOT NULL;
CREATE UNIQUE INDEX gan_work_unit_done ON gan_work_unit (run, first_position) WHERE state = 'done';

-- Also for the partitions of all runs.
ALTER TABLE gan_state_piece DROP CONSTRAINT gan_state_piece_part_check,
    ADD CONSTRAINT gan_state_piece_part_check CHECK (part BETWEEN 0 AND 5);
