-- -------------------------------------------------------------------------------------------------
-- Runs
-- -------------------------------------------------------------------------------------------------

-- Computes the number of parameters and of batch-norm statistics, and refuses impossible networks.
CREATE FUNCTION gan_network_size(channels int, image_size int, latent int, generator_features int,
    discriminator_features int,
                                 OUT parameters bigint, OUT statistics bigint, OUT shards int)
    LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME';

-- Writes the weights, moments and statistics of iteration 0.
CREATE FUNCTION gan_initialise(run int) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Maps a position in a run's order to the number of an image.
CREATE FUNCTION gan_image_number(seed bigint, dataset_images bigint, "position" bigint)
    RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

-- Names the rules by which the results of units become one (docs/format.md, section 7).
CREATE FUNCTION gan_aggregators() RETURNS text[]
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME';

-- Raises an error about a value unless it is within its limits.
CREATE FUNCTION gan_require(fine boolean, name text, value text, allowed text, example text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fine IS NOT TRUE THEN
        RAISE EXCEPTION '% is %, but must be %', name, coalesce(value, 'NULL'), allowed
            USING ERRCODE = 'invalid_parameter_value',
                HINT = format('For example: %s => %s', name, example);
    END IF;
END
$$;

-- Finds the run that is meant where none is named: the only one that is not over, else the only
-- one.
CREATE FUNCTION gan_the_run(wanted int) RETURNS int
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    found int[];
BEGIN
    IF wanted IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM gan_run r WHERE r.run = wanted) THEN
            RAISE EXCEPTION 'there is no run %', wanted
                USING ERRCODE = 'undefined_object',
                    HINT = 'SELECT run, name, state FROM gan_run lists them.';
        END IF;
        RETURN wanted;
    END IF;
    SELECT array_agg(r.run) INTO found FROM gan_run r WHERE r.state NOT IN ('finished', 'stopped');
    IF found IS NULL THEN
        SELECT array_agg(r.run) INTO found FROM gan_run r;
    END IF;
    IF cardinality(found) = 1 THEN
        RETURN found[1];
    END IF;
    RAISE EXCEPTION '%',
        CASE
            WHEN found IS NULL THEN 'there is no run'
            ELSE format('there are %s runs', cardinality(found)) END
        USING ERRCODE = 'undefined_object',
              HINT = CASE WHEN found IS NULL THEN 'Make one: SELECT gan_create_run(''faces'').'
                          ELSE 'Say which, by number: run => ' || found[1] || '.' END;
END
$$;

-- Makes the partitions of a run: two slots of each table that is as large as the model. Where that
-- table is, whatever new tables' place and kind are by default: gan_owner may not create tables
-- elsewhere.
CREATE FUNCTION gan_create_partitions(run int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp
    SET default_tablespace = '' SET default_table_access_method = heap AS $$
DECLARE
    parent text;
    key text;
    persistence text;
    slot int;
BEGIN
    FOR parent, key, persistence IN
        VALUES ('gan_state_piece', 'part, shard, piece', ''),
            ('gan_gradient_piece', 'unit, shard, piece', 'UNLOGGED') LOOP
        EXECUTE format('CREATE TABLE @extschema@.%1$I PARTITION OF @extschema@.%2$I FOR VALUES IN (%3$s) PARTITION BY LIST (slot)',
                       parent || '_r' || run, parent, run);
        FOR slot IN 0..1 LOOP
            EXECUTE format('CREATE %4$s TABLE @extschema@.%1$I PARTITION OF @extschema@.%2$I FOR VALUES IN (%3$s) WITH (autovacuum_enabled = false)',
                           parent || '_r' || run || '_' || slot, parent || '_r' || run, slot,
                               persistence);
            EXECUTE format('ALTER TABLE @extschema@.%I ADD PRIMARY KEY (%s)',
                parent || '_r' || run || '_' || slot, key);
        END LOOP;
    END LOOP;
END
$$;

-- The fewest and the most minibatches of a unit whose size is measured: a quarter and four times
-- the run's local steps.
CREATE FUNCTION gan_unit_bounds(local_steps int, batch int, OUT low int, OUT high int)
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS
    $$ SELECT greatest(1, $1 / 4), least(4 * $1, 65536 / $2) $$;

-- Says what a unit of a run costs whoever does it. 20 images a second is a laptop's core at 64x64.
CREATE FUNCTION gan_unit_costs(run int) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT format('a unit of run %s: %s images%s, about %s s at 20 images/s; %s down, %s up%s',
        r.run, r.images_per_unit,
                  CASE
                      WHEN r.local_steps > 0 THEN format(' in %s local steps', r.local_steps)
                      ELSE '' END
                  || CASE r.unit_sizing
                      WHEN 'measured'
                          THEN (SELECT format(' on average (%s to %s, by what each worker was seen to do)',
                          b.low, b.high)
                          FROM gan_unit_bounds(r.local_steps, r.batch) AS b)
                      ELSE '' END,
                      ceil(r.images_per_unit / 20.0),
                  pg_size_pretty(r.parameters * CASE r.download_element
                      WHEN 'int8' THEN 1
                      WHEN 'float16' THEN 2
                      ELSE 4 END),
                  pg_size_pretty(r.parameters * CASE r.upload_element
                      WHEN 'int8' THEN 1
                      WHEN 'float16' THEN 2
                      ELSE 4 END),
                  CASE r.update_rule
                      WHEN 'alternating' THEN ' for both networks, of which a unit uploads one'
                      ELSE '' END)
    FROM gan_run r WHERE r.run = $1
$$;

-- Between how many units an iteration has where their number follows the workers.
CREATE FUNCTION gan_unit_range(OUT low int, OUT high int)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS 'SELECT 2, 32';

-- A share of so many units, at least one.
CREATE FUNCTION gan_share_of(share float8, units int) RETURNS int
    LANGUAGE sql IMMUTABLE
        SET search_path = pg_catalog,
            pg_temp AS 'SELECT greatest(1, ceil(share::numeric * units))::int';

CREATE FUNCTION gan_create_run(
    name text,
    images_per_unit int DEFAULT NULL, units_per_iteration int DEFAULT NULL,
        target_iterations int DEFAULT 1000,
    seed bigint DEFAULT NULL, quorum int DEFAULT NULL, batch int DEFAULT NULL,
        lease_seconds float8 DEFAULT NULL,
    channels int DEFAULT 3, image_size int DEFAULT 64, latent int DEFAULT 100,
    generator_features int DEFAULT 64, discriminator_features int DEFAULT 64,
    learning_rate float8 DEFAULT NULL, beta1 float8 DEFAULT 0.5, beta2 float8 DEFAULT 0.999,
        epsilon float8 DEFAULT 1e-8,
    norm_momentum float8 DEFAULT 0.1, gradient_limit float8 DEFAULT 10000,
    dataset_images bigint DEFAULT NULL, dataset_digest bytea DEFAULT NULL,
        upload_element text DEFAULT 'float32',
    download_element text DEFAULT 'float32',
    local_steps int DEFAULT 40, outer_optimizer text DEFAULT NULL,
        outer_learning_rate float8 DEFAULT NULL, outer_momentum float8 DEFAULT NULL,
    generator_learning_rate float8 DEFAULT NULL, discriminator_learning_rate float8 DEFAULT NULL,
    learning_rate_schedule text DEFAULT 'constant', warmup_iterations int DEFAULT 0,
        update_rule text DEFAULT 'simultaneous', unit_sizing text DEFAULT 'equal',
    aggregator text DEFAULT 'clipped', update_limit float8 DEFAULT 1,
    checkpoint_every int DEFAULT 0, checkpoints_kept int DEFAULT 5,
        average_decay float8 DEFAULT 0.999,
    audit_minimum float8 DEFAULT 0, quorum_share float8 DEFAULT 1) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    size record;
    new_run int;
    the_seed bigint := coalesce(seed,
        ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 17))::bit(64)::bigint);
    units int := coalesce(units_per_iteration, (gan_unit_range()).low); -- nobody is there yet
    the_quorum int;
    images int;
    lease float8;
    g_rate float8;
    d_rate float8;
    outer_name text;
BEGIN
    -- Local steps want small minibatches and a higher rate (docs/learning.md); gradients keep the
    -- paper's.
    batch := coalesce(batch, CASE WHEN local_steps > 0 THEN 8 ELSE 64 END);
    learning_rate := coalesce(learning_rate, CASE WHEN local_steps > 0 THEN 0.0003 ELSE 0.0002 END);
    g_rate := coalesce(generator_learning_rate, learning_rate);
    d_rate := coalesce(discriminator_learning_rate, learning_rate);
    PERFORM gan_require(local_steps BETWEEN 0 AND 65536, 'local_steps', local_steps::text,
        'between 0 (units give gradients) and 65536', '40');
    PERFORM gan_require(batch BETWEEN 1 AND 4096, 'batch', batch::text, 'between 1 and 4096', '8');
    PERFORM gan_require(local_steps::bigint * batch <= 65536, 'local_steps', local_steps::text,
        format('at most %s with minibatches of %s images', 65536 / batch, batch),
        (65536 / batch)::text);
    PERFORM gan_require(local_steps = 0
        OR coalesce(images_per_unit, local_steps * batch) = local_steps * batch, 'images_per_unit',
            images_per_unit::text,
            format('left out, or local_steps * batch (%s)', local_steps * batch),
            images_per_unit || ', local_steps => 0');
    images := CASE
        WHEN local_steps > 0 THEN local_steps * batch
        ELSE coalesce(images_per_unit, 320) END;
    lease := coalesce(lease_seconds,
        CASE WHEN local_steps > 0 THEN greatest(60, images / 5.0) ELSE 60 END);
    outer_name := CASE WHEN local_steps > 0 THEN coalesce(outer_optimizer, 'average') END;
    PERFORM gan_require(gan_is_name(name, 63), 'name', quote_nullable(name),
        'at most 63 letters, digits, spaces, dots, dashes or underscores, and begin with a letter or digit',
        '''faces''');
    PERFORM gan_require(images BETWEEN 1 AND 65536, 'images_per_unit', images::text,
        'between 1 and 65536', '320');
    PERFORM gan_require(units BETWEEN 1 AND 4096, 'units_per_iteration', units::text,
        'between 1 and 4096', '8');
    PERFORM gan_require(target_iterations BETWEEN 1 AND 100000000, 'target_iterations',
        target_iterations::text, 'between 1 and 100000000', '1000');
    PERFORM gan_require(quorum IS NULL
        OR units_per_iteration IS NOT NULL, 'quorum', quorum::text,
            'left out where units_per_iteration is: the number of units follows the workers',
            format('%s, units_per_iteration => %s', quorum, greatest(quorum, 2)));
    PERFORM gan_require(quorum_share > 0
        AND quorum_share <= 1, 'quorum_share', quorum_share::text,
            'above 0 and at most 1 (all units)', '0.9');
    the_quorum := coalesce(quorum, gan_share_of(quorum_share, units));
    PERFORM gan_require(the_quorum BETWEEN 1 AND units, 'quorum', the_quorum::text,
        format('between 1 and units_per_iteration (%s)', units), units::text);
    PERFORM gan_require(lease BETWEEN 1 AND 86400, 'lease_seconds', lease::text,
        'between 1 and 86400', '60');
    PERFORM gan_require(learning_rate > 0
        AND learning_rate <= 1, 'learning_rate', learning_rate::text, 'above 0 and at most 1',
            '0.0002');
    PERFORM gan_require(g_rate > 0
        AND g_rate <= 1, 'generator_learning_rate', g_rate::text, 'above 0 and at most 1',
            '0.0002');
    PERFORM gan_require(d_rate > 0
        AND d_rate <= 1, 'discriminator_learning_rate', d_rate::text, 'above 0 and at most 1',
            '0.0002');
    PERFORM gan_require(learning_rate_schedule IN ('constant', 'linear'), 'learning_rate_schedule',
        quote_nullable(left(learning_rate_schedule, 64)), '''constant'' or ''linear''',
        '''linear''');
    PERFORM gan_require(warmup_iterations >= 0
        AND warmup_iterations < target_iterations, 'warmup_iterations', warmup_iterations::text,
            format('at least 0 and below target_iterations (%s)', target_iterations), '0');
    PERFORM gan_require(update_rule IN ('simultaneous', 'alternating'), 'update_rule',
        quote_nullable(left(update_rule, 64)), '''simultaneous'' or ''alternating''',
        '''alternating''');
    PERFORM gan_require(local_steps = 0
        OR update_rule = 'simultaneous', 'update_rule', quote_nullable(update_rule),
            'left out with local_steps: local steps alternate as they are',
            quote_literal(left(update_rule, 64)) || ', local_steps => 0');
    PERFORM gan_require(local_steps > 0
        OR num_nonnulls(outer_optimizer, outer_learning_rate, outer_momentum) = 0, 'local_steps',
            local_steps::text, 'above 0 if there is an outer optimiser', '10');
    PERFORM gan_require(outer_name IS NULL
        OR outer_name IN ('average', 'nesterov', 'adam'), 'outer_optimizer',
            quote_nullable(left(outer_name, 64)), '''average'', ''nesterov'' or ''adam''',
            '''nesterov''');
    PERFORM gan_require(outer_learning_rate IS NULL
        OR outer_learning_rate > 0
        AND outer_learning_rate <= 10, 'outer_learning_rate', outer_learning_rate::text,
            'above 0 and at most 10', '0.7');
    PERFORM gan_require(outer_momentum IS NULL
        OR outer_momentum >= 0
        AND outer_momentum < 1, 'outer_momentum', outer_momentum::text, 'at least 0 and below 1',
            '0.9');
    PERFORM gan_require(beta1 >= 0
        AND beta1 < 1, 'beta1', beta1::text, 'at least 0 and below 1', '0.5');
    PERFORM gan_require(beta2 >= 0
        AND beta2 < 1, 'beta2', beta2::text, 'at least 0 and below 1', '0.999');
    PERFORM gan_require(epsilon > 0
        AND epsilon <= 1, 'epsilon', epsilon::text, 'above 0 and at most 1', '1e-8');
    PERFORM gan_require(norm_momentum > 0
        AND norm_momentum <= 1, 'norm_momentum', norm_momentum::text, 'above 0 and at most 1',
            '0.1');
    PERFORM gan_require(gradient_limit > 0
        AND gradient_limit <= 1e30, 'gradient_limit', gradient_limit::text,
            'above 0 and at most 1e30', '10000');
    PERFORM gan_require(dataset_images IS NULL
        OR dataset_images BETWEEN 1 AND 4294967296, 'dataset_images', dataset_images::text,
            'between 1 and 4294967296', '60000');
    PERFORM gan_require(dataset_digest IS NULL
        OR octet_length(dataset_digest) = 32, 'dataset_digest',
            octet_length(dataset_digest) || ' bytes long',
            '32 bytes long (gan_worker --check prints it)',
            quote_literal(E'\\x' || repeat('00', 32)));
    PERFORM gan_require((dataset_images IS NULL) = (dataset_digest IS NULL), 'dataset_images',
        dataset_images::text, 'given together with dataset_digest', '60000');
    PERFORM gan_require(upload_element IN ('float32', 'float16', 'int8'), 'upload_element',
        quote_nullable(left(upload_element, 64)), '''float32'', ''float16'' or ''int8''',
        '''int8''');
    PERFORM gan_require(download_element IN ('float32', 'float16', 'int8'), 'download_element',
        quote_nullable(left(download_element, 64)), '''float32'', ''float16'' or ''int8''',
        '''int8''');
    PERFORM gan_require(unit_sizing IN ('equal', 'measured'), 'unit_sizing',
        quote_nullable(left(unit_sizing, 64)), '''equal'' or ''measured''', '''measured''');
    PERFORM gan_require(local_steps > 0
        OR unit_sizing = 'equal', 'local_steps', local_steps::text,
            'above 0 if units are to have different sizes', '10');
    PERFORM gan_require(aggregator = ANY (gan_aggregators()), 'aggregator',
        quote_nullable(left(aggregator, 64)),
        'one of '
            || (SELECT string_agg(quote_literal(a), ', ') FROM unnest(gan_aggregators()) AS a),
        '''clipped''');
    PERFORM gan_require(aggregator <> 'multikrum'
        OR units <= 512, 'units_per_iteration', units::text,
            'at most 512 with ''multikrum'', which compares every account with every other', '8');
    PERFORM gan_require(update_limit > 0
        AND update_limit <> 'NaN', 'update_limit', update_limit::text,
            'above 0; ''Infinity'' for none', '1');
    PERFORM gan_require(checkpoint_every >= 0, 'checkpoint_every', checkpoint_every::text,
        'at least 0 (none)', '100');
    PERFORM gan_require(checkpoints_kept BETWEEN 1 AND 1000, 'checkpoints_kept',
        checkpoints_kept::text, 'between 1 and 1000', '5');
    PERFORM gan_require(average_decay >= 0
        AND average_decay < 1, 'average_decay', average_decay::text,
            'at least 0 (no average) and below 1', '0.999');
    PERFORM gan_require(audit_minimum BETWEEN 0 AND 1, 'audit_minimum', audit_minimum::text,
        'between 0 (no spot checks) and 1', '0.05');
    PERFORM gan_require(num_nulls(channels, image_size, latent, generator_features,
        discriminator_features) = 0,
        'the network', NULL, 'given in full', '64');
    IF EXISTS (SELECT FROM gan_run r WHERE r.name = name) THEN
        RAISE EXCEPTION 'there is a run named "%" already', name
            USING ERRCODE = 'duplicate_object',
                HINT = 'Choose another name, or SELECT gan_start(run) to go on with that one.';
    END IF;
    SELECT *
        INTO size
        FROM gan_network_size(channels, image_size, latent, generator_features,
            discriminator_features);

    INSERT
        INTO gan_run AS r (name, seed, channels, image_size, latent, generator_features,
            discriminator_features, parameters, shards,
                              beta1, beta2, epsilon, norm_momentum, gradient_limit, images_per_unit,
                                  units_per_iteration,
                              units_follow, quorum, quorum_share, batch, lease_seconds,
                                  target_iterations, dataset_images, dataset_digest, upload_element,
                                  download_element,
                              local_steps, update_rule, generator_learning_rate,
                                  discriminator_learning_rate, learning_rate_schedule,
                                  warmup_iterations,
                              outer_optimizer, outer_learning_rate, outer_momentum, unit_sizing,
                                  aggregator, update_limit, checkpoint_every, checkpoints_kept,
                                  average_decay,
                              audit_minimum)
    VALUES (name, the_seed, channels, image_size, latent, generator_features,
        discriminator_features, size.parameters, size.shards,
            beta1, beta2, epsilon, norm_momentum, gradient_limit, images, units,
            units_per_iteration IS NULL, the_quorum, quorum_share, least(batch, images), lease,
                target_iterations, dataset_images, dataset_digest, upload_element, download_element,
            local_steps, update_rule, g_rate, d_rate, learning_rate_schedule, warmup_iterations,
                outer_name,
            CASE
                WHEN outer_name IS NOT NULL THEN coalesce(outer_learning_rate,
                    CASE outer_name
                        WHEN 'average' THEN 1
                        WHEN 'nesterov' THEN 0.7
                        ELSE 0.001 END) END,
            CASE
                WHEN outer_name IS NOT NULL THEN coalesce(outer_momentum,
                    CASE outer_name WHEN 'average' THEN 0 ELSE 0.9 END) END,
            unit_sizing, aggregator, update_limit, checkpoint_every, checkpoints_kept,
                average_decay, audit_minimum)
    RETURNING r.run INTO new_run;
    PERFORM gan_create_partitions(new_run);
    PERFORM gan_initialise(new_run);
    RAISE NOTICE '%', gan_unit_costs(new_run);
    RETURN new_run;
END
$$;

-- Names the channel on which a run's workers are woken.
CREATE FUNCTION gan_channel(run int) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
        SET search_path = pg_catalog, pg_temp AS $$ SELECT 'gan_run_' || $1 $$;

-- Wakes the workers that wait (docs/protocol.md): at the commit, whoever listens is told to ask
-- again.
CREATE FUNCTION gan_wake(run int) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    PERFORM pg_notify(gan_channel(run), ''), gan_call_coordinator();
END
$$;

CREATE FUNCTION gan_start(run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
BEGIN
    SELECT * INTO r FROM gan_run WHERE gan_run.run = gan_the_run(run) FOR NO KEY UPDATE;
    IF r.state IN ('finished', 'stopped') THEN
        RAISE EXCEPTION 'run % ("%") is %', r.run, r.name, r.state
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'A run that is over can''t be started again. Make a new one: SELECT gan_create_run(...).';
    END IF;
    PERFORM gan_forget_refusals(r.run);
    UPDATE gan_run
        SET state = 'running', paused_at = NULL, paused_because = NULL, step_failures = 0,
            iteration_started_at = coalesce(iteration_started_at + greatest(statement_timestamp() - paused_at,
                interval '0'),
                iteration_started_at, statement_timestamp())
        WHERE gan_run.run = r.run;
    PERFORM gan_open_units(r.run);
    PERFORM gan_wake(r.run);
    RETURN format('run %s ("%s") is running at iteration %s of %s', r.run, r.name, r.iteration,
        r.target_iterations)
        || CASE
            WHEN r.dataset_digest IS NULL
                THEN format('; there is no work until you confirm the dataset: SELECT gan_set_dataset(%s) when a worker is there',
                r.run)
            ELSE '' END;
END
$$;

CREATE FUNCTION gan_pause(run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
BEGIN
    SELECT * INTO r FROM gan_run WHERE gan_run.run = gan_the_run(run) FOR NO KEY UPDATE;
    IF r.state NOT IN ('running', 'paused') THEN
        RAISE EXCEPTION 'run % ("%") is %, not running', r.run, r.name, r.state
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE gan_run
        SET state = 'paused', paused_at = coalesce(paused_at, statement_timestamp()),
            paused_because = NULL
        WHERE gan_run.run = r.run;
    RETURN format('run %s ("%s") is paused at iteration %s; units that are being computed may still be submitted',
        r.run, r.name, r.iteration);
END
$$;

CREATE FUNCTION gan_stop(run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
BEGIN
    SELECT * INTO r FROM gan_run WHERE gan_run.run = gan_the_run(run) FOR NO KEY UPDATE;
    IF r.state <> 'finished' THEN
        UPDATE gan_run
            SET state = 'stopped', stopped_at = coalesce(stopped_at, statement_timestamp())
            WHERE gan_run.run = r.run;
        UPDATE gan_work_unit u
            SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
                lease_until = NULL
            WHERE u.run = r.run AND u.state = 'claimed';
        PERFORM gan_wake(r.run);
    END IF;
    RETURN format('run %s ("%s") is over after %s iterations', r.run, r.name, r.iteration);
END
$$;

-- Drops a run with all that belongs to it.
CREATE FUNCTION gan_drop_run(run int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    parent text;
BEGIN
    IF run IS NULL THEN
        RAISE EXCEPTION 'a run to delete must be named'
            USING ERRCODE = 'null_value_not_allowed',
                HINT = 'SELECT run, name, state FROM gan_run lists them.';
    END IF;
    PERFORM FROM gan_run WHERE gan_run.run = gan_the_run(run) FOR UPDATE;
    FOREACH parent IN ARRAY ARRAY['gan_state_piece', 'gan_gradient_piece'] LOOP
        EXECUTE format('DROP TABLE @extschema@.%I', parent || '_r' || run);
    END LOOP;
    UPDATE gan_run SET forked_from = NULL WHERE forked_from = run;
    DELETE FROM gan_run WHERE gan_run.run = run;
END
$$;

COMMENT ON FUNCTION gan_drop_run(int) IS 'Deletes a run: weights, history, workers, credit';
COMMENT ON FUNCTION gan_create_run
    IS 'Makes a run: checks every hyper-parameter, draws the initial weights from the seed; returns its number';
COMMENT ON FUNCTION gan_start(int) IS 'Starts or resumes a run';
COMMENT ON FUNCTION gan_pause(int) IS 'Gives out no more work until gan_start';
COMMENT ON FUNCTION gan_stop(int) IS 'Ends a run for good; workers end by themselves';
COMMENT ON FUNCTION gan_image_number(bigint, bigint, bigint)
    IS 'Number of the image at a position of a run''s order (docs/format.md, section 2)';
COMMENT ON FUNCTION gan_aggregators() IS 'The rules by which the results of units become one';
COMMENT ON FUNCTION gan_network_size(int, int, int, int, int)
    IS 'Parameters, batch-norm statistics and shards of a network';
