-- -------------------------------------------------------------------------------------------------
-- The worker's functions: the only ones that a student may call (docs/protocol.md)
-- -------------------------------------------------------------------------------------------------

-- Raises an error inside a transaction block: a claim whose transaction stays open would be a lock
-- without a lease.
CREATE FUNCTION gan_require_autocommit(name text) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- The caller's login and the server's clock: what a worker needs before it joins a run.
CREATE FUNCTION gan_hello() RETURNS TABLE (login text, student boolean, server_time float8)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    PERFORM gan_require_autocommit('gan_hello');
    RETURN QUERY SELECT session_user::text, pg_has_role(session_user, 'gan_student', 'member'),
        extract(epoch FROM clock_timestamp())::float8;
END
$$;

-- Finds the run that a worker asks for: by its name or, if no run has that name, by its number.
-- Without either it is the only run that is not over, or if all are over, the newest. Students read
-- its messages: they know --run and no SQL.
CREATE FUNCTION gan_run_meant(wanted text) RETURNS int
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    open text;  -- the runs that are not over
    every text;
    opened int;
    found int;
BEGIN
    IF wanted IS NOT NULL THEN
        SELECT r.run
            INTO found
            FROM gan_run r
            WHERE r.name = wanted OR r.run::text = wanted
            ORDER BY r.name <> wanted
            LIMIT 1;
        IF found IS NOT NULL THEN
            RETURN found;
        END IF;
    END IF;
    SELECT string_agg(format('"%s"', r.name), ', ' ORDER BY r.run) FILTER (WHERE o.yes),
        string_agg(format('"%s"', r.name), ', ' ORDER BY r.run),
            count(*) FILTER (WHERE o.yes),
                CASE count(*) FILTER (WHERE o.yes)
                    WHEN 1 THEN max(r.run) FILTER (WHERE o.yes)
                    WHEN 0 THEN max(r.run) END
        INTO open, every, opened, found
            FROM gan_run r
            CROSS JOIN LATERAL (SELECT r.state NOT IN ('finished', 'stopped')) AS o (yes);
    IF every IS NULL THEN
        RAISE EXCEPTION 'this class has no run yet'
            USING ERRCODE = 'UG002', HINT = 'Ask your instructor when it begins.';
    ELSIF wanted IS NOT NULL THEN
        RAISE EXCEPTION 'there is no run named "%"', left(wanted, 64)
            USING ERRCODE = 'undefined_object',
            HINT = format('Choose one with --run: %s.', coalesce(open, every));
    ELSIF opened > 1 THEN
        RAISE EXCEPTION 'this class has % runs', opened
            USING ERRCODE = 'undefined_object', HINT = format('Choose one with --run: %s.', open);
    END IF;
    RETURN found;
END
$$;

CREATE FUNCTION gan_run_config(wanted text DEFAULT NULL)
    RETURNS TABLE (run int, name text, state text, seed bigint, channels int, image_size int,
        latent int, generator_features int,
                   discriminator_features int, batch int, parameters bigint, shards int,
                       dataset_images bigint, dataset_digest bytea,
                   target_iterations int, iteration int, channel text, upload_element text,
                       download_element text, local_steps int, update_rule text,
                   generator_learning_rate float8, discriminator_learning_rate float8, beta1 float8,
                       beta2 float8, epsilon float8,
                   norm_momentum float8, learning_rate_schedule text, warmup_iterations int,
                       batch_fixed boolean)
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found int;
BEGIN
    PERFORM gan_require_autocommit('gan_run_config');
    found := gan_run_meant($1);
    RETURN QUERY SELECT r.run, r.name, r.state, r.seed, r.channels, r.image_size, r.latent,
        r.generator_features,
        r.discriminator_features, r.batch, r.parameters, r.shards, r.dataset_images,
            r.dataset_digest, r.target_iterations, r.iteration,
        gan_channel(r.run), r.upload_element, r.download_element, r.local_steps, r.update_rule,
            r.generator_learning_rate, r.discriminator_learning_rate,
        r.beta1, r.beta2, r.epsilon, r.norm_momentum, r.learning_rate_schedule, r.warmup_iterations,
            r.local_steps > 0
            OR r.audit_minimum > 0
        FROM gan_run r WHERE r.run = found;
END
$$;

-- Tells how a worker's images differ from a run's: by their number, or, if that is equal, by the
-- beginnings of the digests.
CREATE FUNCTION gan_dataset_difference(mine bigint, my_digest bytea, theirs bigint,
    their_digest bytea)
    RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN mine <> theirs THEN format('You have %s images, the class has %s.',
            to_char(mine, 'FM9,999,999,999'), to_char(theirs, 'FM9,999,999,999'))
        ELSE format('You have %s images like the class, but not the same ones (digest %s..., the '
            'class''s %s...).',
            to_char(mine, 'FM9,999,999,999'),
                    left(encode(my_digest, 'hex'), 16), left(encode(their_digest, 'hex'), 16)) END
$$;

CREATE FUNCTION gan_join(run int, name text, dataset_images bigint, dataset_digest bytea, cores int,
    memory_mb int, cpu text, version text, gpu text DEFAULT '', gpu_memory_mb int DEFAULT 0)
    RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
    joined int;
BEGIN
    PERFORM gan_require_autocommit('gan_join');
    PERFORM gan_require(gan_is_name(name, 32), 'name', quote_nullable(left(name, 64)),
        'at most 32 letters, digits, spaces, dots, dashes or underscores, and begin with a letter '
            'or digit',
        '''alice-laptop''');
    PERFORM gan_require(dataset_images BETWEEN 1 AND 4294967296, 'dataset_images',
        dataset_images::text, 'between 1 and 4294967296', '60000');
    PERFORM gan_require(octet_length(dataset_digest) = 32, 'dataset_digest',
        octet_length(dataset_digest) || ' bytes long', '32 bytes long',
        quote_literal(E'\\x' || repeat('00', 32)));
    PERFORM gan_require(cores BETWEEN 1 AND 65536, 'cores', cores::text, 'between 1 and 65536',
        '4');
    PERFORM gan_require(memory_mb >= 0, 'memory_mb', memory_mb::text, 'at least 0', '8192');
    PERFORM gan_require(cpu COLLATE "C" ~ '^[A-Za-z0-9 ()@.,_/+-]{0,64}$', 'cpu',
        quote_nullable(left(cpu, 64)), 'at most 64 plain characters', '''Intel(R) Core(TM) i5''');
    PERFORM gan_require(version COLLATE "C" ~ '^[A-Za-z0-9.+-]{0,32}$', 'version',
        quote_nullable(left(version, 64)), 'at most 32 plain characters', '''0.1.0''');
    PERFORM gan_require(gpu COLLATE "C" ~ '^[A-Za-z0-9 ()@.,_/+-]{0,64}$', 'gpu',
        quote_nullable(left(gpu, 64)), 'at most 64 plain characters', '''NVIDIA T4''');
    PERFORM gan_require(gpu_memory_mb >= 0, 'gpu_memory_mb', gpu_memory_mb::text, 'at least 0',
        '16384');

    IF run IS NULL THEN
        run := gan_run_meant(NULL);
    ELSIF NOT EXISTS (SELECT FROM gan_run g WHERE g.run = run) THEN
        RAISE EXCEPTION 'run % does not exist any more', run
            USING ERRCODE = 'undefined_object', HINT = 'Ask your instructor which run comes next.';
    END IF;
    SELECT * INTO r FROM gan_run WHERE gan_run.run = run;
    -- Only the instructor sets the dataset (gan_set_dataset), or the worker of a login that the
    -- instructor trusts. Other workers just announce theirs.
    IF r.dataset_digest IS NULL
        AND EXISTS (SELECT
            FROM gan_trust t
            WHERE t.run = r.run AND t.login = session_user AND t.trusted) THEN
        PERFORM gan_set_dataset(r.run, dataset_images, dataset_digest);
        SELECT * INTO r FROM gan_run WHERE gan_run.run = r.run;
    END IF;
    PERFORM gan_require_dataset(r, dataset_images, dataset_digest);
    IF (SELECT count(*)
        FROM gan_worker w
        WHERE w.run = r.run AND w.login = session_user AND w.name <> name) >= 64 THEN
        RAISE EXCEPTION 'login "%" has 64 workers in run % already', session_user, r.run
            USING ERRCODE = 'configuration_limit_exceeded',
                HINT = 'Use one of your earlier worker names: --name.';
    END IF;
    INSERT
        INTO gan_worker AS w (run, login, name, cores, memory_mb, cpu, version, gpu, gpu_memory_mb,
            dataset_images, dataset_digest)
        VALUES (r.run, session_user, name, cores, memory_mb, cpu, version, gpu, gpu_memory_mb,
            dataset_images, dataset_digest)
        ON CONFLICT ON CONSTRAINT gan_worker_run_login_name_key DO UPDATE
            SET cores = excluded.cores, memory_mb = excluded.memory_mb, cpu = excluded.cpu,
                version = excluded.version, gpu = excluded.gpu,
                gpu_memory_mb = excluded.gpu_memory_mb,
                dataset_images = excluded.dataset_images, dataset_digest = excluded.dataset_digest,
                last_seen = statement_timestamp()
        RETURNING w.worker INTO joined;
    RETURN joined;
END
$$;

CREATE FUNCTION gan_fetch_weights(run int, iteration int, shard int) RETURNS bytea
    LANGUAGE c STABLE STRICT
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_fetch_change(run int, iteration int, shard int) RETURNS bytea
    LANGUAGE c STABLE STRICT
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_upload(unit bigint, token uuid, shard int, data bytea) RETURNS text
    LANGUAGE c STRICT
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- Adds up the uploads of a claim: how many shards (the statistics are one) are there, how many are
-- missing, and the squared norm of the gradient (or change).
CREATE FUNCTION gan_uploaded(unit bigint, token uuid, OUT parts int, OUT missing int,
    OUT square_sum float8)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Rounds a number of a submission to 0 if it is so small that a mean of it would underflow.
CREATE FUNCTION gan_plain(number float8) RETURNS float8
    LANGUAGE sql IMMUTABLE
        SET search_path = pg_catalog,
            pg_temp RETURN CASE WHEN number < 1e-30 THEN 0 ELSE number END;

-- Says why a submitted unit is not held by the caller. It changes nothing.
CREATE FUNCTION gan_why_stale(unit bigint, token uuid, weights_nonce bigint, OUT answer text,
    OUT code text, OUT message text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    r gan_run;
BEGIN
    SELECT w.*
        INTO u
        FROM gan_work_unit w
        JOIN gan_worker m ON m.worker = w.worker
        WHERE w.unit = $1 AND w.token = $2 AND m.login = session_user;
    SELECT * INTO r FROM gan_run WHERE run = u.run;
    answer := 'stale';
    IF u.unit IS NULL THEN
        code := 'not_held';
        message := format('unit %s is not held under this token: its lease ended and another '
            'worker got it, or it was never yours',
            coalesce($1::text, 'NULL'));
    ELSIF u.weights_nonce IS DISTINCT FROM $3
        OR (u.state = 'claimed' AND u.iteration = r.iteration AND r.weights_nonce <> $3) THEN
        code := 'other_weights';
        message := format('unit %s must be computed at other weights than %s', u.unit,
            coalesce($3::text, 'NULL'));
    ELSIF u.state IN ('done', 'checked') THEN
        answer := 'already';
        message := format('unit %s was accepted before', u.unit);
    ELSIF u.state = 'beaten' THEN
        code := 'done_by_other';
        message := format('somebody else submitted the images of unit %s first', u.unit);
    ELSIF u.lease_until <= statement_timestamp()
        AND u.iteration = r.iteration
        AND r.state IN ('running', 'paused') THEN
        code := 'lease_over';
        message := format('the lease on unit %s ended %s s ago', u.unit,
            round(extract(epoch FROM statement_timestamp() - u.lease_until), 1));
    ELSE
        code := 'iteration_over';
        message := format('iteration %s is over', u.iteration);
    END IF;
END
$$;

-- Records that a result of a worker was accepted: the worker was seen, and its login's earlier
-- refusals are forgotten. If it is the login's first accepted unit, its other workers are woken,
-- because they may claim now. Locked rows are skipped.
CREATE FUNCTION gan_note_accepted(worker int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    mine record;
BEGIN
    SELECT w.run, sum(w.units) AS units, count(*) AS workers
        INTO mine
        FROM gan_worker me
        JOIN gan_worker w ON w.run = me.run AND w.login = me.login
        WHERE me.worker = $1
        GROUP BY w.run;
    UPDATE gan_worker u
        SET refusals = 0, refused_at = NULL,
            last_seen = CASE u.worker WHEN $1 THEN statement_timestamp() ELSE u.last_seen END
        WHERE u.worker IN (
            SELECT w.worker
                FROM gan_worker w
                WHERE w.run = mine.run
                    AND w.login = session_user
                    AND (w.refusals > 0 OR w.worker = $1)
                FOR NO KEY UPDATE SKIP LOCKED);
    IF mine.units = 0 AND mine.workers > 1 THEN
        PERFORM gan_wake(mine.run);
    END IF;
END
$$;

-- Accepts a unit: compare, then set (src/extension/claim/submit.c).
CREATE FUNCTION gan_submit(unit bigint, token uuid, weights_nonce bigint, batch int, loss_d float8,
    loss_g float8, accuracy_real float8, accuracy_fake float8, OUT answer text, OUT code text,
    OUT message text)
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- waiting: units submitted for the current iteration, which the next step averages.
CREATE FUNCTION gan_credit(worker int) RETURNS TABLE (units bigint, images bigint, waiting bigint)
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM gan_require_autocommit('gan_credit');
    RETURN QUERY SELECT w.units, w.images,
            (SELECT count(*)
                FROM gan_run r
                JOIN gan_work_unit u ON u.run = r.run AND u.iteration = r.iteration
             WHERE r.run = w.run
                 AND r.state IN ('running', 'paused')
                 AND u.worker = w.worker
                 AND u.state = 'done')
        FROM gan_worker w WHERE w.worker = $1 AND w.login = session_user;
END
$$;

COMMENT ON FUNCTION gan_hello()
    IS 'Worker: the login, whether it is a student''s, and the server''s clock';
COMMENT ON FUNCTION gan_run_config(text) IS 'Worker: the configuration of a run';
COMMENT ON FUNCTION gan_join(int, text, bigint, bytea, int, int, text, text, text, int)
    IS 'Worker: registers a program and checks that its dataset is the class''s';
COMMENT ON FUNCTION gan_fetch_weights(int, int, int)
    IS 'Worker: one shard of the weights that an iteration is computed at';
COMMENT ON FUNCTION gan_fetch_change(int, int, int)
    IS 'Worker: one shard of the change from the previous iteration''s weights to this one''s';
COMMENT ON FUNCTION gan_upload(bigint, uuid, int, bytea)
    IS 'Worker: one shard of a unit''s result, checked before it is stored';
COMMENT ON FUNCTION gan_submit(bigint, uuid, bigint, int, float8, float8, float8, float8)
    IS 'Worker: submits a unit; the answer is accepted, already, stale or refused';
COMMENT ON FUNCTION gan_credit(int)
    IS 'Worker: its units and images averaged so far, and how many of its units wait for the next '
        'step';
