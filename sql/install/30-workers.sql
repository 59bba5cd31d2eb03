-- ---------------------------------------------------------------------------------------------------------------------
-- The worker's functions: all that a student may call (docs/protocol.md)
-- ---------------------------------------------------------------------------------------------------------------------

-- Refuses to go on inside a transaction block: a claim whose transaction stays open would be a lock without a lease.
CREATE FUNCTION gan_require_autocommit(name text) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Where this session's last claim found its unit (gan_claim begins its search behind it), and noting it.
CREATE FUNCTION gan_claim_mark(run int, iteration int) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';
CREATE FUNCTION gan_claim_mark_set(run int, iteration int, first_position bigint) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_run_config(wanted text DEFAULT NULL)
    RETURNS TABLE (run int, name text, state text, seed bigint, channels int, image_size int, latent int, generator_features int,
                   discriminator_features int, batch int, parameters bigint, shards int, dataset_images bigint, dataset_digest bytea,
                   target_iterations int, iteration int, channel text, upload_element text, download_element text, local_steps int, update_rule text,
                   generator_learning_rate float8, discriminator_learning_rate float8, beta1 float8, beta2 float8, epsilon float8,
                   norm_momentum float8, learning_rate_schedule text, warmup_iterations int)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found int;
BEGIN
    IF $1 IS NULL THEN
        found := gan_the_run(NULL);
    ELSE
        SELECT r.run INTO found FROM gan_run r WHERE r.name = $1;
        IF found IS NULL THEN
            RAISE EXCEPTION 'there is no run named "%"', $1 USING ERRCODE = 'undefined_object',
                HINT = 'The runs are: ' || coalesce((SELECT string_agg(format('"%s"', r.name), ', ' ORDER BY r.run) FROM gan_run r), 'none yet') || '.';
        END IF;
    END IF;
    RETURN QUERY SELECT r.run, r.name, r.state, r.seed, r.channels, r.image_size, r.latent, r.generator_features,
        r.discriminator_features, r.batch, r.parameters, r.shards, r.dataset_images, r.dataset_digest, r.target_iterations, r.iteration,
        gan_channel(r.run), r.upload_element, r.download_element, r.local_steps, r.update_rule, r.generator_learning_rate, r.discriminator_learning_rate,
        r.beta1, r.beta2, r.epsilon, r.norm_momentum, r.learning_rate_schedule, r.warmup_iterations
        FROM gan_run r WHERE r.run = found;
END
$$;

CREATE FUNCTION gan_join(run int, name text, dataset_images bigint, dataset_digest bytea, cores int, memory_mb int, cpu text, version text)
    RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
    joined int;
BEGIN
    PERFORM gan_require_autocommit('gan_join');
    PERFORM gan_require(name ~ '^[[:alnum:]][[:alnum:] ._-]{0,31}$', 'name', quote_nullable(left(name, 64)), 'at most 32 letters, digits, spaces, dots, dashes or underscores, and begin with a letter or digit', '''alice-laptop''');
    PERFORM gan_require(dataset_images BETWEEN 1 AND 4294967296, 'dataset_images', dataset_images::text, 'between 1 and 4294967296', '60000');
    PERFORM gan_require(octet_length(dataset_digest) = 32, 'dataset_digest', octet_length(dataset_digest) || ' bytes long', '32 bytes long', quote_literal('\x' || repeat('00', 32)));
    PERFORM gan_require(cores BETWEEN 1 AND 65536, 'cores', cores::text, 'between 1 and 65536', '4');
    PERFORM gan_require(memory_mb >= 0, 'memory_mb', memory_mb::text, 'at least 0', '8192');
    PERFORM gan_require(cpu ~ '^[[:alnum:] ()@.,_/+-]{0,64}$', 'cpu', quote_nullable(left(cpu, 64)), 'at most 64 plain characters', '''Intel(R) Core(TM) i5''');
    PERFORM gan_require(version ~ '^[[:alnum:].+-]{0,32}$', 'version', quote_nullable(left(version, 64)), 'at most 32 plain characters', '''0.1.0''');

    SELECT * INTO r FROM gan_run WHERE gan_run.run = gan_the_run(run);
    IF r.dataset_digest IS NULL THEN -- the first worker says what the dataset is, unless the instructor did
        UPDATE gan_run g SET dataset_images = dataset_images, dataset_digest = dataset_digest
            WHERE g.run = r.run AND g.dataset_digest IS NULL;
        SELECT * INTO r FROM gan_run WHERE gan_run.run = r.run;
    END IF;
    IF r.dataset_digest <> dataset_digest OR r.dataset_images <> dataset_images THEN
        RAISE EXCEPTION 'this worker''s dataset is not the one of run % ("%")', r.run, r.name
            USING ERRCODE = 'UG001',
                  DETAIL = format('The run''s has %s images and digest %s, the worker''s has %s images and digest %s.',
                                  r.dataset_images, encode(r.dataset_digest, 'hex'), dataset_images, encode(dataset_digest, 'hex')),
                  HINT = 'Use the same archive as the rest of the class: all files, none added, none renamed.';
    END IF;
    IF (SELECT count(*) FROM gan_worker w WHERE w.run = r.run AND w.login = session_user AND w.name <> name) >= 64 THEN
        RAISE EXCEPTION 'login "%" has 64 workers in run % already', session_user, r.run
            USING ERRCODE = 'configuration_limit_exceeded', HINT = 'Start workers under the names that exist.';
    END IF;
    INSERT INTO gan_worker AS w (run, login, name, cores, memory_mb, cpu, version)
        VALUES (r.run, session_user, name, cores, memory_mb, cpu, version)
        ON CONFLICT ON CONSTRAINT gan_worker_run_login_name_key DO UPDATE
            SET cores = excluded.cores, memory_mb = excluded.memory_mb, cpu = excluded.cpu, version = excluded.version,
                last_seen = statement_timestamp()
        RETURNING w.worker INTO joined;
    RETURN joined;
END
$$;

-- Says why there is no work, and when to ask again.
CREATE FUNCTION gan_no_work(r gan_run, OUT reason text, OUT message text, OUT retry_seconds float8)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    done bigint;
    claimed bigint;
BEGIN
    reason := CASE r.state WHEN 'running' THEN 'waiting' WHEN 'created' THEN 'not_started' ELSE r.state END;
    -- Only the safety net: waiting workers are woken by gan_wake.
    retry_seconds := CASE reason WHEN 'waiting' THEN 1 WHEN 'finished' THEN 0 WHEN 'stopped' THEN 0 ELSE 2 END;
    IF reason = 'waiting' THEN
        SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'claimed') INTO done, claimed
            FROM gan_work_unit u WHERE u.run = r.run AND u.iteration = r.iteration;
        message := CASE WHEN done >= r.quorum THEN format('iteration %s is complete, waiting for the coordinator''s step', r.iteration)
                        ELSE format('iteration %s: %s of %s units are in, %s in work', r.iteration, done, r.quorum, claimed) END;
    ELSE
        message := format('run "%s" %s', r.name, CASE reason WHEN 'not_started' THEN 'has not been started yet' WHEN 'paused' THEN 'is paused'
            WHEN 'finished' THEN format('is finished after %s iterations', r.iteration) ELSE format('was stopped after %s iterations', r.iteration) END);
    END IF;
END
$$;

-- A claim that a crash of the server takes back costs a unit's work and nothing else, so its commit waits for no disk. A submission's
-- does: an acknowledged one is durable, and with it all that was written before it.
CREATE FUNCTION gan_claim(worker int)
    RETURNS TABLE (unit bigint, token uuid, iteration int, first_position bigint, images int, lease_seconds float8, reason text, message text, retry_seconds float8)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    seen timestamptz;
    mark bigint;
BEGIN
    PERFORM gan_require_autocommit('gan_claim'), set_config('synchronous_commit', 'off', true);
    -- The worker's row stays locked until the end: it has one claim at a time.
    SELECT w.last_seen INTO seen FROM gan_worker w WHERE w.worker = $1 AND w.login = session_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login "%" has no worker %', session_user, coalesce($1::text, 'NULL')
            USING ERRCODE = 'insufficient_privilege', HINT = 'Call gan_join first; it returns the number.';
    END IF;
    IF seen < statement_timestamp() - interval '1 s' THEN
        UPDATE gan_worker w SET last_seen = statement_timestamp() WHERE w.worker = $1;
    END IF;
    SELECT g.* INTO STRICT r FROM gan_worker w JOIN gan_run g ON g.run = w.run WHERE w.worker = $1;
    lease_seconds := r.lease_seconds;
    IF r.state = 'running' THEN
        PERFORM FROM gan_work_unit u WHERE u.worker = $1 AND u.state = 'claimed';
        IF FOUND THEN
            -- What the worker holds already comes first, under a new token: after a crash or a lost answer it goes on with it.
            UPDATE gan_work_unit u SET token = gen_random_uuid(), lease_until = statement_timestamp() + make_interval(secs => r.lease_seconds)
                WHERE u.worker = $1 AND u.state = 'claimed' AND u.iteration = r.iteration AND u.lease_until > statement_timestamp()
                RETURNING u.unit, u.token, u.iteration, u.first_position, u.images INTO unit, token, iteration, first_position, images;
            IF unit IS NULL THEN
                UPDATE gan_work_unit u SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL
                    WHERE u.worker = $1 AND u.state = 'claimed';
            END IF;
        END IF;
        -- (Here and elsewhere, coalesce keeps the planner from looking for a unit in an index that only holds pending or claimed
        -- ones: at the last ANALYZE there may have been none of them.)
        -- The next free unit behind this session's last one, then from the beginning. Rows that were claimed meanwhile leave dead
        -- index entries behind, for as long as anybody's old snapshot keeps them: this way a session passes each but once.
        mark := gan_claim_mark(r.run, r.iteration);
        WHILE unit IS NULL LOOP
            WITH next AS MATERIALIZED (
                SELECT free.unit
                FROM (SELECT p.unit FROM gan_work_unit p
                      WHERE p.run = r.run AND p.iteration = r.iteration AND p.state = 'pending' AND p.first_position > mark
                      ORDER BY p.first_position LIMIT 100) AS candidate
                CROSS JOIN LATERAL (SELECT f.unit FROM gan_work_unit f
                                    WHERE f.unit = candidate.unit AND f.iteration = r.iteration AND coalesce(f.state = 'pending', false)
                                    FOR UPDATE SKIP LOCKED) AS free
                LIMIT 1)
            UPDATE gan_work_unit u SET state = 'claimed', worker = $1, token = gen_random_uuid(), attempts = u.attempts + 1,
                    claimed_at = statement_timestamp(), lease_until = statement_timestamp() + make_interval(secs => r.lease_seconds)
                FROM next WHERE u.unit = next.unit
                RETURNING u.unit, u.token, u.iteration, u.first_position, u.images INTO unit, token, iteration, first_position, images;
            EXIT WHEN unit IS NOT NULL OR mark < 0;
            mark := -1;
        END LOOP;
    END IF;
    IF unit IS NOT NULL THEN
        PERFORM gan_claim_mark_set(r.run, r.iteration, first_position);
        reason := 'work';
        message := format('unit %s of iteration %s', unit, iteration);
        retry_seconds := 0;
    ELSE
        SELECT n.reason, n.message, n.retry_seconds INTO reason, message, retry_seconds FROM gan_no_work(r) AS n;
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION gan_renew(unit bigint, token uuid) RETURNS float8
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    seconds float8;
BEGIN
    PERFORM gan_require_autocommit('gan_renew'), set_config('synchronous_commit', 'off', true);
    UPDATE gan_work_unit u SET lease_until = statement_timestamp() + make_interval(secs => r.lease_seconds)
        FROM gan_run r, gan_worker w
        WHERE u.unit = $1 AND u.token = $2 AND coalesce(u.state = 'claimed', false) AND u.lease_until > statement_timestamp()
            AND r.run = u.run AND u.iteration = r.iteration AND r.state IN ('running', 'paused')
            AND w.worker = u.worker AND w.login = session_user
            AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit)
        RETURNING r.lease_seconds INTO seconds;
    RETURN seconds;
END
$$;

CREATE FUNCTION gan_release(unit bigint, token uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    freed record;
BEGIN
    PERFORM gan_require_autocommit('gan_release'), set_config('synchronous_commit', 'off', true);
    UPDATE gan_work_unit u SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL
        FROM gan_worker w
        WHERE u.unit = $1 AND u.token = $2 AND coalesce(u.state = 'claimed', false) AND w.worker = u.worker AND w.login = session_user
        RETURNING u.run, u.iteration INTO freed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Where another unit is free nobody waits. (Should somebody just be taking that one, those who wait find this one at their next poll.)
    IF NOT EXISTS (SELECT FROM gan_work_unit u WHERE u.run = freed.run AND u.iteration = freed.iteration AND u.state = 'pending' AND u.unit <> $1) THEN
        PERFORM gan_wake(freed.run);
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION gan_fetch_weights(run int, iteration int, shard int) RETURNS bytea
    LANGUAGE c STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_fetch_change(run int, iteration int, shard int) RETURNS bytea
    LANGUAGE c STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_upload(unit bigint, token uuid, shard int, data bytea) RETURNS text
    LANGUAGE c STRICT SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- Adds up what was uploaded under a claim: shards and statistics that are there, that the unit needs and are not, and the square of
-- the norm of the gradient (or change).
CREATE FUNCTION gan_uploaded(unit bigint, token uuid, OUT parts int, OUT missing int, OUT square_sum float8)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_submit(unit bigint, token uuid, batch int, loss_d float8, loss_g float8, accuracy_real float8, accuracy_fake float8)
    RETURNS TABLE (answer text, code text, message text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    r gan_run;
    up record;
BEGIN
    PERFORM gan_require_autocommit('gan_submit');
    SELECT * INTO u FROM gan_work_unit w WHERE w.unit = $1 AND w.token = $2 FOR UPDATE; -- nobody can lock what is not theirs
    SELECT * INTO r FROM gan_run WHERE run = u.run;
    answer := 'stale';
    IF u.unit IS NULL OR NOT EXISTS (SELECT FROM gan_worker w WHERE w.worker = u.worker AND w.login = session_user) THEN
        code := 'not_held';
        message := format('unit %s is not held under this token: its lease ended and it was given to another, or it was never yours', coalesce($1::text, 'NULL'));
    ELSIF u.state = 'done' THEN
        answer := 'already';
        message := format('unit %s was accepted before', u.unit);
    ELSIF u.iteration <> r.iteration OR r.state NOT IN ('running', 'paused') OR EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit) THEN
        code := 'iteration_over';
        message := format('iteration %s is over', u.iteration);
    ELSIF u.lease_until <= statement_timestamp() THEN
        code := 'lease_over';
        message := format('the lease on unit %s ended %s s ago', u.unit, round(extract(epoch FROM statement_timestamp() - u.lease_until), 1));
    ELSE
        SELECT * INTO up FROM gan_uploaded(u.unit, u.token);
        answer := 'refused';
        IF up.missing > 0 THEN
            code := 'incomplete';
            message := format('%s of %s shards of unit %s were uploaded under this token; upload the rest', up.parts, up.parts + up.missing, u.unit);
        ELSIF NOT (up.square_sum <= r.gradient_limit * r.gradient_limit) THEN
            code := 'too_large';
            message := format('the norm of the %s is %s, the run''s limit is %s', CASE WHEN r.local_steps > 0 THEN 'change' ELSE 'gradient' END, sqrt(up.square_sum), r.gradient_limit);
        ELSIF ($3 BETWEEN 1 AND 4096 AND $4 >= 0 AND $4 < 'Infinity' AND $5 >= 0 AND $5 < 'Infinity'
               AND $6 BETWEEN 0 AND 1 AND $7 BETWEEN 0 AND 1) IS NOT TRUE THEN
            code := 'bad_value';
            message := 'the minibatch must be between 1 and 4096, losses finite and at least 0, accuracies between 0 and 1';
        ELSIF r.local_steps > 0 AND $3 <> r.batch THEN
            code := 'bad_value';
            message := format('the local steps of this run are of %s images, not %s', r.batch, $3);
        ELSE
            UPDATE gan_work_unit w SET state = 'done', lease_until = NULL, submitted_at = statement_timestamp(), batch = $3,
                    loss_d = $4, loss_g = $5, accuracy_real = $6, accuracy_fake = $7
                WHERE w.unit = u.unit AND w.token = u.token AND w.state = 'claimed';
            answer := 'accepted';
            message := format('unit %s is in', u.unit);
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION gan_credit(worker int) RETURNS TABLE (units bigint, images bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT w.units, w.images FROM gan_worker w WHERE w.worker = $1 AND w.login = session_user;
END
$$;

COMMENT ON FUNCTION gan_run_config(text) IS 'Worker: the configuration of a run';
COMMENT ON FUNCTION gan_join(int, text, bigint, bytea, int, int, text, text) IS 'Worker: registers a program and checks that its dataset is the class''s';
COMMENT ON FUNCTION gan_claim(int) IS 'Worker: gives a unit with a lease, or the reason why there is none and when to ask again';
COMMENT ON FUNCTION gan_renew(bigint, uuid) IS 'Worker: extends a lease; NULL means that it is lost';
COMMENT ON FUNCTION gan_release(bigint, uuid) IS 'Worker: hands a unit back undone';
COMMENT ON FUNCTION gan_fetch_weights(int, int, int) IS 'Worker: one shard of the weights that an iteration is computed at';
COMMENT ON FUNCTION gan_fetch_change(int, int, int) IS 'Worker: what leads from the weights of the iteration before to them, one shard of it';
COMMENT ON FUNCTION gan_upload(bigint, uuid, int, bytea) IS 'Worker: one shard of a unit''s result, checked before it is stored';
COMMENT ON FUNCTION gan_submit(bigint, uuid, int, float8, float8, float8, float8) IS 'Worker: hands in a unit; accepted, already, stale or refused';
COMMENT ON FUNCTION gan_credit(int) IS 'Worker: what of the worker''s was averaged so far';
