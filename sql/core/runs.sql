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

-- Names the rules that combine the results of units (docs/format.md, section 7).
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

-- Finds the run by its number or, if no number is given, the only one that is not over, else the
-- only one.
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
                          ELSE 'Choose one by its number: run => ' || found[1] || '.' END;
END
$$;

-- Creates the partitions of a run: two slots of each model-sized table. They use the table's own
-- tablespace and access method, not the session's defaults: gan_owner may not create tables
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
        EXECUTE format('CREATE TABLE @extschema@.%1$I PARTITION OF @extschema@.%2$I FOR VALUES IN '
            '(%3$s) PARTITION BY LIST (slot)',
                       parent || '_r' || run, parent, run);
        FOR slot IN 0..1 LOOP
            EXECUTE format('CREATE %4$s TABLE @extschema@.%1$I PARTITION OF @extschema@.%2$I FOR '
                'VALUES IN (%3$s) WITH (autovacuum_enabled = false)',
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

-- Says what a unit of a run costs a worker. One core of a laptop computes 20 images a second at
-- 64x64.
CREATE FUNCTION gan_unit_costs(run int) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT format('a unit of run %s: %s images%s, about %s s at 20 images/s; %s down, %s up%s',
        r.run, r.images_per_unit,
                  CASE
                      WHEN r.local_steps > 0 THEN format(' in %s local steps', r.local_steps)
                      ELSE '' END
                  || CASE r.unit_sizing
                      WHEN 'measured'
                          THEN (SELECT format(' on average (%s to %s, by the measured speed of '
                              'each worker)',
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
                      WHEN 'alternating' THEN ' for both networks; a unit uploads one of them'
                      ELSE '' END)
    FROM gan_run r WHERE r.run = $1
$$;

-- The fewest and the most units of an iteration if their number follows the workers.
CREATE FUNCTION gan_unit_range(OUT low int, OUT high int)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS 'SELECT 2, 32';

-- A share of a number of units, at least one.
CREATE FUNCTION gan_share_of(share float8, units int) RETURNS int
    LANGUAGE sql IMMUTABLE
        SET search_path = pg_catalog,
            pg_temp AS 'SELECT greatest(1, ceil(share::numeric * units))::int';

-- Makes a run. An option that is not given comes from the preset, else it has its default.
CREATE FUNCTION gan_make_run(name text, preset text, given jsonb) RETURNS int
    LANGUAGE plpgsql
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET extra_float_digits = 1
        SET bytea_output = hex AS $$
#variable_conflict use_variable
DECLARE
    size record;
    new_run int;
    columns text;
    units int;
    o jsonb := (SELECT jsonb_object_agg(n.option, n.standard)
        FROM gan_option n
        WHERE n.standard IS NOT NULL);
BEGIN
    PERFORM gan_require(gan_is_name(name, 63), 'name', quote_nullable(name),
        'at most 63 letters, digits, spaces, dots, dashes or underscores, and begin with a letter '
            'or digit',
        '''faces''');
    PERFORM gan_require(preset IN (SELECT p.preset FROM gan_preset p), 'preset',
        quote_nullable(left(preset, 64)),
        'one of ' || (SELECT string_agg(quote_literal(p.preset), ', ') FROM gan_preset p),
        '''class''');
    o := o || (SELECT p.options FROM gan_preset p WHERE p.preset = preset) || given;
    PERFORM jsonb_populate_record(NULL::gan_run, o), gan_check_each_option(o); -- types, limits
    o := gan_complete_options(o);
    PERFORM gan_check_options_together(o), gan_check_each_option(o);
    IF EXISTS (SELECT FROM gan_run r WHERE r.name = name) THEN
        RAISE EXCEPTION 'there is a run named "%" already', name
            USING ERRCODE = 'duplicate_object',
                HINT = 'Choose another name, or SELECT gan_start(run) to continue that run.';
    END IF;
    SELECT *
        INTO size
        FROM gan_network_size((o ->> 'channels')::int, (o ->> 'image_size')::int,
            (o ->> 'latent')::int, (o ->> 'generator_features')::int,
            (o ->> 'discriminator_features')::int);
    units := coalesce((o ->> 'units_per_iteration')::int, (gan_unit_range()).low);
    o := o || jsonb_build_object('name', name,
        'aggregator', gan_rule_name(o ->> 'aggregator'), 'parameters', size.parameters,
        'shards', size.shards, 'units_follow', NOT o ? 'units_per_iteration',
        'units_per_iteration', units,
        'quorum', coalesce((o ->> 'quorum')::int,
            gan_share_of((o ->> 'quorum_share')::float8, units)),
        'batch', least((o ->> 'batch')::int, (o ->> 'images_per_unit')::int));
    SELECT string_agg(quote_ident(a.attname), ', ')
        INTO columns
        FROM pg_attribute a
        WHERE a.attrelid = 'gan_run'::regclass AND o ? a.attname::text;
    EXECUTE format('INSERT INTO gan_run (%1$s) SELECT %1$s
        FROM jsonb_populate_record(NULL::gan_run, $1) RETURNING run', columns)
        INTO new_run
        USING o;
    PERFORM gan_create_partitions(new_run);
    PERFORM gan_initialise(new_run);
    RAISE NOTICE '%', gan_unit_costs(new_run);
    RETURN new_run;
END
$$;

-- gan_create_run has a parameter for each option, so that they can be given by name in any order:
-- gan_create_run('faces', preset => 'home', seed => 7). NULL means the same as leaving it out.
DO $$
DECLARE
    parameters text;
    options text;
BEGIN
    SELECT pg_catalog.string_agg(pg_catalog.format('%I %s DEFAULT NULL', n.option, n.type), ', '
            ORDER BY n.place),
        pg_catalog.format('pg_catalog.jsonb_object(ARRAY[%s], ARRAY[%s])',
            pg_catalog.string_agg(pg_catalog.quote_literal(n.option), ', ' ORDER BY n.place),
            pg_catalog.string_agg(pg_catalog.quote_ident(n.option) || '::text', ', '
                ORDER BY n.place))
        INTO parameters, options
        FROM @extschema@.gan_option n;
    EXECUTE pg_catalog.format('CREATE FUNCTION @extschema@.gan_create_run(name text, %s,
        preset text DEFAULT ''class'') RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
        SET extra_float_digits = 1 SET bytea_output = hex AS $f$
BEGIN
    RETURN gan_make_run(name, coalesce(preset, ''class''), jsonb_strip_nulls(%s));
END
$f$', parameters, options);
END
$$;

-- Names the channel on which a run's workers are woken.
CREATE FUNCTION gan_channel(run int) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
        SET search_path = pg_catalog, pg_temp AS $$ SELECT 'gan_run_' || $1 $$;

-- Wakes the workers that wait (docs/protocol.md): at the commit, every listening worker is told to
-- ask again.
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
                HINT = 'A run that is over can''t be started again. Make a new one: SELECT '
                    'gan_create_run(...).';
    END IF;
    PERFORM gan_forget_refusals(r.run);
    UPDATE gan_run
        SET state = 'running', paused_at = NULL, paused_because = NULL, step_failures = 0,
            iteration_started_at = coalesce(iteration_started_at +
                greatest(statement_timestamp() - paused_at,
                interval '0'),
                iteration_started_at, statement_timestamp())
        WHERE gan_run.run = r.run;
    PERFORM gan_open_units(r.run);
    PERFORM gan_wake(r.run);
    RETURN format('run %s ("%s") is running at iteration %s of %s', r.run, r.name, r.iteration,
        r.target_iterations)
        || CASE
            WHEN r.dataset_digest IS NULL
                THEN format('; there is no work until you confirm the dataset: SELECT '
                    'gan_set_dataset(%s) once a worker has joined',
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
    RETURN format('run %s ("%s") is paused at iteration %s; units that are being computed may '
        'still be submitted',
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
        RAISE EXCEPTION 'the run to delete is NULL'
            USING ERRCODE = 'null_value_not_allowed',
                HINT = 'Give its number: SELECT run, name, state FROM gan_run lists the runs.';
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
    IS 'Makes a run: checks every hyper-parameter, draws the initial weights from the seed; '
        'returns its number';
COMMENT ON FUNCTION gan_start(int) IS 'Starts or resumes a run';
COMMENT ON FUNCTION gan_pause(int) IS 'Gives out no more work until gan_start';
COMMENT ON FUNCTION gan_stop(int) IS 'Ends a run for good; its workers exit by themselves';
COMMENT ON FUNCTION gan_image_number(bigint, bigint, bigint)
    IS 'Number of the image at a position of a run''s order (docs/format.md, section 2)';
COMMENT ON FUNCTION gan_aggregators() IS 'The rules that combine the results of units';
COMMENT ON FUNCTION gan_network_size(int, int, int, int, int)
    IS 'Parameters, batch-norm statistics and shards of a network';
