-- -------------------------------------------------------------------------------------------------
-- Checkpoints: an iteration as a safetensors file, out and in (docs/format.md, "Checkpoints")
-- -------------------------------------------------------------------------------------------------

-- Names the optimiser whose moments a run keeps: another optimiser can't use them.
CREATE FUNCTION gan_optimizer(r gan_run) RETURNS text
    LANGUAGE sql IMMUTABLE
        SET search_path = pg_catalog,
            pg_temp AS $$ SELECT CASE
                WHEN r.local_steps > 0 THEN 'outer ' || r.outer_optimizer
                ELSE 'adam' END $$;

-- Puts together the file's metadata: the run's options by name, and where the run is. Keys and
-- values alternate.
CREATE FUNCTION gan_checkpoint_metadata(run int, iteration int, moments boolean) RETURNS text[]
    LANGUAGE plpgsql STABLE
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET extra_float_digits = 1
        SET bytea_output = hex AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
    pairs text[];
BEGIN
    SELECT * INTO STRICT r FROM gan_run g WHERE g.run = run;
    pairs := ARRAY['format', 'pt', 'producer',
        'gannsfriends ' || (SELECT extversion FROM pg_extension WHERE extname = 'gannsfriends'),
        'run', r.name, 'iteration', iteration::text,
        'next_position',
            coalesce((SELECT max(upper(h.positions))
                FROM gan_history h
                WHERE h.run = run AND h.iteration < iteration),
                                  (SELECT min(u.first_position)
                                      FROM gan_work_unit u
                                      WHERE u.run = run AND u.iteration = iteration),
                                      r.next_position)::text];
    IF moments THEN
        pairs := pairs || ARRAY['optimizer', gan_optimizer(r)];
    END IF;
    RETURN pairs || (SELECT array_agg(pair.text ORDER BY o.option, pair.k)
                     FROM jsonb_each_text(to_jsonb(r)) AS c
                         JOIN gan_option AS o ON o.option = c.key
                     CROSS JOIN LATERAL (VALUES (1, c.key), (2, c.value)) AS pair (k, text)
                     WHERE c.value IS NOT NULL
                         AND NOT (r.units_follow AND c.key IN ('units_per_iteration', 'quorum')));
END
$$;

CREATE FUNCTION gan_export(run int DEFAULT NULL, iteration int DEFAULT NULL,
    moments boolean DEFAULT false)
    RETURNS bytea
    LANGUAGE c STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- Checks a file and reads its header. Only what is checked here can be trusted.
CREATE FUNCTION gan_checkpoint_header(checkpoint bytea, OUT channels int, OUT image_size int,
    OUT latent int, OUT generator_features int,
                                      OUT discriminator_features int, OUT moments int,
                                          OUT metadata json)
    LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME';

-- Sets the weights of the run's iteration from a file, with its moments or with moments of zero.
CREATE FUNCTION gan_initialise_from(run int, checkpoint bytea, moments boolean) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_import(name text, checkpoint bytea, options jsonb DEFAULT '{}') RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    header record;
    network jsonb;
    given jsonb;
    problem text;
    new_run int;
    r gan_run;
    goes_on boolean;
    first_iteration int;
    first_position bigint;
    guards text;
BEGIN
    PERFORM gan_require(checkpoint IS NOT NULL, 'checkpoint', NULL, 'a safetensors file',
        'pg_read_binary_file(''/path/to/checkpoint.safetensors'')');
    PERFORM gan_require(jsonb_typeof(options) = 'object', 'options', left(options::text, 64),
        'an object', '''{"units_per_iteration": 8}''');
    SELECT * INTO header FROM gan_checkpoint_header(checkpoint);
    network := jsonb_build_object('channels', header.channels, 'image_size', header.image_size,
        'latent', header.latent,
                                  'generator_features', header.generator_features,
                                      'discriminator_features', header.discriminator_features);
    PERFORM gan_require_options(options);
    SELECT n.key || ' ' || n.value
        INTO problem
        FROM jsonb_each_text(network) AS n
        WHERE options ->> n.key <> n.value
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the checkpoint''s networks have %', problem
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave that option out.';
    END IF;
    -- The options in the file, unless the caller gives others. Seed and dataset are only kept if
    -- the imported run continues the old one.
    given := header.metadata::jsonb;
    goes_on := given ?& ARRAY['optimizer', 'iteration', 'next_position'];
    IF NOT goes_on THEN
        given := given - ARRAY['seed', 'dataset_images', 'dataset_digest'];
    END IF;
    SELECT string_agg(g.key || ' => ' || g.value, ', ' ORDER BY g.key)
        INTO guards
        FROM jsonb_each_text(given - ARRAY(SELECT jsonb_object_keys(options))) AS g
        WHERE g.key IN (SELECT n.option FROM gan_option n WHERE n.protects);
    IF guards IS NOT NULL THEN
        RAISE NOTICE 'the file brings settings that protect a class: %', guards
            USING HINT = 'If you do not trust its author, give yours: gan_import(name, '
                'checkpoint, ''{"aggregator": "clipped"}'').';
    END IF;
    given := given || options || network;
    new_run := gan_make_run(name, 'class',
        jsonb_strip_nulls((SELECT jsonb_object_agg(n.option, given -> n.option)
            FROM gan_option n
            WHERE given ? n.option)));
    SELECT * INTO STRICT r FROM gan_run g WHERE g.run = new_run;
    goes_on := goes_on AND given ->> 'optimizer' = gan_optimizer(r);
    IF goes_on THEN
        first_iteration := given ->> 'iteration';
        first_position := given ->> 'next_position';
        PERFORM gan_require(first_iteration >= 0
            AND first_iteration < r.target_iterations, 'target_iterations',
                r.target_iterations::text,
                            format('above the checkpoint''s iteration, %s', first_iteration),
                                '''{"target_iterations": ' || first_iteration + 1000 || '}''');
        PERFORM gan_require(first_position BETWEEN 0 AND 4611686018427387903, 'next_position',
            first_position::text, 'between 0 and 4611686018427387903', NULL);
        UPDATE gan_run g
            SET iteration = first_iteration, next_position = first_position,
                first_iteration = first_iteration, first_position = first_position
            WHERE g.run = new_run;
    END IF;
    PERFORM gan_initialise_from(new_run, checkpoint, goes_on);
    RAISE NOTICE 'run % begins with the checkpoint''s weights, %', new_run,
        CASE WHEN goes_on THEN format('at its iteration %s with its moments', first_iteration)
        ELSE 'at iteration 0 with moments of zero' END;
    RETURN new_run;
END
$$;

COMMENT ON FUNCTION gan_export(int, int, boolean)
    IS 'An iteration''s weights and running statistics, and the optimiser''s moments if wanted, as '
        'a safetensors file for PyTorch or gan_import';
COMMENT ON FUNCTION gan_import(text, bytea, jsonb)
    IS 'Makes a run that begins with the weights of a safetensors file; options: gan_create_run''s';
