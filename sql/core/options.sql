-- -------------------------------------------------------------------------------------------------
-- The options of a run, in one table
-- -------------------------------------------------------------------------------------------------

-- A row for each option of gan_create_run. That function's parameters, the checks of their values
-- with the messages, the options of gan_fork and gan_import, and the table in docs/instructor.md
-- all come from here. A new option is a row here, a column of gan_run (in core/tables and in the
-- upgrade), and the code that uses it.
--
-- standard: the default. NULL: it follows from other options (gan_complete_options), or there is
-- none.
-- fits: the allowed values. Either limits, '[0,1)', with a remark in brackets after a limit, or
-- words, '{constant,linear}'. NULL: gan_check_options_together checks the value, or the network's
-- checks do.
-- fork: the values that a fork may have. any; the same; sign: above 0 only if the original's value
-- is.
-- protects: gan_import warns if a file sets this option.
-- shown: the default in words, if standard does not say it.
CREATE VIEW gan_option AS
    SELECT o.place, o.option, o.type, o.standard, o.fits, o.example, o.fork, o.protects, o.shown,
        o.meaning
    FROM (VALUES
        (1, 'images_per_unit', 'int', NULL, '[1,65536]', '320', 'any', false,
            '`local_steps` times `batch`; 320 with `local_steps => 0`',
            'images in a unit'),
        (2, 'units_per_iteration', 'int', NULL, '[1,4096]', '8', 'any', true,
            'one for each worker, 2 to 32',
            'units in an iteration, decided when it opens (`gan_history.opened`)'),
        (3, 'target_iterations', 'int', '1000', '[1,100000000]', '1000', 'any', false,
            NULL,
            'iterations until the run is finished'),
        (4, 'seed', 'bigint', NULL, NULL, '7', 'any', false,
            'random',
            'for the initial weights, the noise and the image order'),
        (5, 'quorum', 'int', NULL, NULL, '8', 'any', true,
            'all',
            'units needed for the step; only with `units_per_iteration`'),
        (6, 'batch', 'int', NULL, '[1,4096]', '8', 'any', false,
            '8; 64 with `local_steps => 0`',
            'images in a minibatch; a worker may change it, except with local steps or spot '
                'checks'),
        (7, 'lease_seconds', 'float8', NULL, '[1,86400]', '60', 'any', false,
            '60; with `local_steps` at least `images_per_unit` / 5',
            'longest time without a sign of life; less for a worker of known speed'),
        (8, 'channels', 'int', '3', NULL, '3', 'same', false,
            NULL,
            'image channels: 1 or 3'),
        (9, 'image_size', 'int', '64', NULL, '64', 'same', false,
            NULL,
            'width and height: 32, 64 or 128'),
        (10, 'latent', 'int', '100', NULL, '100', 'same', false,
            NULL,
            'length of the noise vector, 1 to 1024'),
        (11, 'generator_features', 'int', '64', NULL, '64', 'same', false,
            NULL,
            'width of the generator, 1 to 512'),
        (12, 'discriminator_features', 'int', '64', NULL, '64', 'same', false,
            NULL,
            'width of the discriminator, 1 to 512'),
        (13, 'learning_rate', 'float8', NULL, '(0,1]', '0.0002', 'any', false,
            '3e-4; 2e-4 with `local_steps => 0`',
            'for both networks'),
        (14, 'beta1', 'float8', '0.5', '[0,1)', '0.5', 'any', false,
            NULL,
            'for Adam'),
        (15, 'beta2', 'float8', '0.999', '[0,1)', '0.999', 'any', false,
            NULL,
            'for Adam'),
        (16, 'epsilon', 'float8', '1e-8', '(0,1]', '1e-8', 'any', false,
            NULL,
            'for Adam'),
        (17, 'norm_momentum', 'float8', '0.1', '(0,1]', '0.1', 'any', false,
            NULL,
            'for batch norm''s running statistics'),
        (18, 'gradient_limit', 'float8', '10000', '(0,1e30]', '10000', 'any', true,
            NULL,
            'a gradient or change with a larger norm is refused'),
        (19, 'dataset_images', 'bigint', NULL, '[1,4294967296]', '60000', 'same', false,
            'set by `gan_set_dataset`',
            'number of images (`gan_worker --check`)'),
        (20, 'dataset_digest', 'bytea', NULL, NULL, '''\x00...''', 'same', false,
            'set by `gan_set_dataset`',
            'digest of the images (`gan_worker --check`)'),
        (21, 'upload_element', 'text', 'float32', '{float32,float16,int8}', '''int8''', 'any',
            false,
            NULL,
            'format of uploads ([format.md](format.md), section 8)'),
        (22, 'download_element', 'text', 'float32', '{float32,float16,int8}', '''int8''', 'any',
            false,
            NULL,
            'format of downloaded changes; `float16` and `int8` slow the step down'),
        (23, 'local_steps', 'int', '40', '[0 (units give gradients),65536]', '40', 'sign', false,
            NULL,
            'steps in a unit, each of D and then of G ([learning.md](learning.md))'),
        (24, 'outer_optimizer', 'text', NULL, '{average,nesterov,adam}', '''nesterov''', 'same',
            false,
            '`''average''`; none with `local_steps => 0`',
            'how the combined change moves the weights'),
        (25, 'outer_learning_rate', 'float8', NULL, '(0,10]', '0.7', 'any', false,
            '1; `''nesterov''` 0.7; `''adam''` 0.001',
            'for the outer optimiser'),
        (26, 'outer_momentum', 'float8', NULL, '[0,1)', '0.9', 'any', false,
            '0; `''nesterov''` and `''adam''` 0.9',
            'for the outer optimiser'),
        (27, 'generator_learning_rate', 'float8', NULL, '(0,1]', '0.0002', 'any', false,
            '`learning_rate`',
            'for the generator alone'),
        (28, 'discriminator_learning_rate', 'float8', NULL, '(0,1]', '0.0002', 'any', false,
            '`learning_rate`',
            'for the discriminator alone'),
        (29, 'learning_rate_schedule', 'text', 'constant', '{constant,linear}', '''linear''', 'any',
            false,
            NULL,
            'with `linear` the learning rate falls to 0 at the target'),
        (30, 'warmup_iterations', 'int', '0', NULL, '0', 'any', false,
            NULL,
            'iterations over which the learning rate rises'),
        (31, 'update_rule', 'text', 'simultaneous', '{simultaneous,alternating}', '''alternating''',
            'same', false,
            NULL,
            '`alternating`: iterations update D and G in turn'),
        (32, 'unit_sizing', 'text', 'equal', '{equal,measured}', '''measured''', 'any', false,
            NULL,
            '`measured`: units suit the speed of the workers (see below)'),
        (33, 'aggregator', 'text', 'clipped', NULL, '''clipped''', 'any', true,
            NULL,
            'combines the results: a name from `gan_rule`, perhaps with a parameter '
                '(`''trimmed(share=0.1)''`, [security.md](security.md)), or your own function '
                '(`''sql:my_rule''`, [rules.md](rules.md))'),
        (34, 'update_limit', 'float8', '1', '(0,Infinity]', '1', 'any', true,
            NULL,
            'a step longer than this multiple of the weights'' norm is shortened'),
        (35, 'checkpoint_every', 'int', '0', '[0 (none),2147483647]', '100', 'any', true,
            NULL,
            'iterations between checkpoints'),
        (36, 'checkpoints_kept', 'int', '5', '[1,1000]', '5', 'any', true,
            NULL,
            'newest checkpoints to keep, besides the first'),
        (37, 'average_decay', 'float8', '0.999', '[0 (no average),1)', '0.999', 'sign', false,
            NULL,
            'for the generator''s moving average; less in the first iterations'),
        (38, 'audit_minimum', 'float8', '0', '[0 (no spot checks),1]', '0.05', 'any', true,
            NULL,
            'smallest share of an account''s units that is spot-checked '
                '([security.md](security.md))'),
        (39, 'quorum_share', 'float8', '1', '(0,1 (all units)]', '0.9', 'any', true,
            NULL,
            'the quorum as a share of the units, rounded up: 0.9 of 20 is 18'),
        (40, 'fallback_aggregator', 'text', 'clipped', NULL, '''clipped''', 'any', true,
            NULL,
            'the rule that takes the step where one in SQL fails ([rules.md](rules.md))'),
        (41, 'rule_seconds', 'float8', '5', '[0.01,3600]', '5', 'any', true,
            NULL,
            'what a rule in SQL may take for a tile of the numbers'))
        AS o (place, option, type, standard, fits, example, fork, protects, shown, meaning);

-- Named sets of options (docs/learning.md, "What to choose"). An option that is given as well
-- overrides the preset's.
CREATE VIEW gan_preset AS
    SELECT p.preset, p.options, p.meaning
    FROM (VALUES
        ('class', '{}'::jsonb, 'a class in one room'),
        ('wi-fi', '{"upload_element": "int8", "download_element": "int8"}',
            'a class on Wi-Fi or a cable of 100 Mbit/s'),
        ('mixed', '{"unit_sizing": "measured"}', 'fast and slow laptops'),
        ('home', '{"local_steps": 250, "upload_element": "int8", "download_element": "int8"}',
            'everybody at home, 10 Mbit/s upload'),
        ('gradients', '{"local_steps": 0}',
            'to study distributed SGD: exactly the step of one large machine'))
        AS p (preset, options, meaning);

-- The limits of a number: bracket, low, high, bracket. (The pattern has no backslash, because its
-- meaning depends on standard_conforming_strings.)
CREATE FUNCTION gan_option_limits(fits text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS
    $$ SELECT regexp_match(fits, '^([[(])([^,]*),([^])]+(?: [(][^)]*[)])?)([])])$') $$;

-- The allowed values of an option in words: "between 1 and 4096", "'constant' or 'linear'".
CREATE FUNCTION gan_option_words(fits text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    words text[];
    limits text[] := gan_option_limits(fits);
BEGIN
    IF left(fits, 1) = '{' THEN
        SELECT array_agg(quote_literal(w) ORDER BY n)
            INTO words
            FROM unnest(fits::text[]) WITH ORDINALITY AS u (w, n);
        RETURN array_to_string(words[:cardinality(words) - 1], ', ')
            || ' or ' || words[cardinality(words)];
    ELSIF limits[3] = 'Infinity' THEN
        RETURN format('above %s; ''Infinity'' for none', limits[2]);
    ELSIF limits[3] = '2147483647' THEN
        RETURN format('at least %s', limits[2]);
    ELSIF limits[1] = '[' AND limits[4] = ']' THEN
        RETURN format('between %s and %s', limits[2], limits[3]);
    END IF;
    RETURN format('%s %s and %s %s', CASE limits[1] WHEN '[' THEN 'at least' ELSE 'above' END,
        limits[2], CASE limits[4] WHEN ']' THEN 'at most' ELSE 'below' END, limits[3]);
END
$$;

-- Tells whether a value is allowed for an option. A missing value is.
CREATE FUNCTION gan_option_fits(fits text, value text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    limits text[] := gan_option_limits(fits);
    low float8;
    high float8;
BEGIN
    IF fits IS NULL OR value IS NULL THEN
        RETURN true;
    ELSIF left(fits, 1) = '{' THEN
        RETURN value = ANY (fits::text[]);
    END IF;
    low := split_part(limits[2], ' ', 1);
    high := split_part(limits[3], ' ', 1);
    RETURN (value::float8 > low OR limits[1] = '[' AND value::float8 = low)
        AND (value::float8 < high OR limits[4] = ']' AND value::float8 = high);
END
$$;

-- Adds the missing options that follow from the given ones.
CREATE FUNCTION gan_complete_options(o jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    local boolean := (o ->> 'local_steps')::int > 0;
    outer_name text;
BEGIN
    -- Local steps need small minibatches and a higher rate (docs/learning.md). Gradients keep the
    -- values of the DCGAN paper.
    o := jsonb_build_object('batch', CASE WHEN local THEN 8 ELSE 64 END,
        'learning_rate', CASE WHEN local THEN 0.0003 ELSE 0.0002 END,
        'seed', ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 17))::bit(64)::bigint)
        || o;
    o := jsonb_build_object('generator_learning_rate', o -> 'learning_rate',
        'discriminator_learning_rate', o -> 'learning_rate') || o;
    o := jsonb_build_object('images_per_unit', CASE
        WHEN local THEN (o ->> 'local_steps')::bigint * (o ->> 'batch')::bigint
        ELSE 320 END) || o;
    o := jsonb_build_object('lease_seconds', CASE
        WHEN local THEN greatest(60, (o ->> 'images_per_unit')::bigint / 5.0)
        ELSE 60 END) || o;
    IF local THEN
        outer_name := coalesce(o ->> 'outer_optimizer', 'average');
        o := jsonb_build_object('outer_optimizer', outer_name,
            'outer_learning_rate', CASE outer_name
                WHEN 'average' THEN 1
                WHEN 'nesterov' THEN 0.7
                ELSE 0.001 END,
            'outer_momentum', CASE outer_name WHEN 'average' THEN 0 ELSE 0.9 END) || o;
    END IF;
    RETURN o;
END
$$;

-- Raises an error about the first option whose value is not allowed.
CREATE FUNCTION gan_check_each_option(o jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT n.option, n.type, n.fits, n.example, o ->> n.option AS value
        FROM gan_option n
        ORDER BY n.place LOOP
        PERFORM gan_require(gan_option_fits(p.fits, p.value), p.option,
            CASE p.type WHEN 'text' THEN quote_nullable(left(p.value, 64)) ELSE p.value END,
            gan_option_words(p.fits), p.example);
    END LOOP;
END
$$;

-- Raises an error about the first option that doesn't fit the others.
CREATE FUNCTION gan_check_options_together(o jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    r gan_run := jsonb_populate_record(NULL::gan_run, o);
    local boolean := r.local_steps > 0;
    units int := coalesce(r.units_per_iteration, (gan_unit_range()).low); -- no worker is there yet
BEGIN
    PERFORM gan_require(NOT local OR r.local_steps::bigint * r.batch <= 65536, 'local_steps',
        r.local_steps::text,
        format('at most %s with minibatches of %s images', 65536 / r.batch, r.batch),
        (65536 / r.batch)::text);
    PERFORM gan_require(NOT local OR r.images_per_unit = r.local_steps * r.batch,
        'images_per_unit', r.images_per_unit::text,
        format('left out, or local_steps * batch (%s)', r.local_steps * r.batch),
        r.images_per_unit || ', local_steps => 0');
    PERFORM gan_require(r.quorum IS NULL OR r.units_per_iteration IS NOT NULL, 'quorum',
        r.quorum::text,
        'left out without units_per_iteration: the number of units then follows the workers',
        format('%s, units_per_iteration => %s', r.quorum, greatest(r.quorum, 2)));
    PERFORM gan_require(r.quorum IS NULL OR r.quorum BETWEEN 1 AND units, 'quorum', r.quorum::text,
        format('between 1 and units_per_iteration (%s)', units), units::text);
    PERFORM gan_require(r.warmup_iterations >= 0 AND r.warmup_iterations < r.target_iterations,
        'warmup_iterations', r.warmup_iterations::text,
        format('at least 0 and below target_iterations (%s)', r.target_iterations), '0');
    PERFORM gan_require(NOT local OR r.update_rule = 'simultaneous', 'update_rule',
        quote_nullable(r.update_rule),
        'left out with local_steps, which always alternate',
        quote_literal(r.update_rule) || ', local_steps => 0');
    PERFORM gan_require(local
        OR num_nonnulls(r.outer_optimizer, r.outer_learning_rate, r.outer_momentum) = 0,
        'local_steps', r.local_steps::text, 'above 0 if there is an outer optimiser', '10');
    PERFORM gan_require(local OR r.unit_sizing = 'equal', 'local_steps', r.local_steps::text,
        'above 0 if units are to have different sizes', '10');
    PERFORM gan_require(r.dataset_digest IS NULL OR octet_length(r.dataset_digest) = 32,
        'dataset_digest', octet_length(r.dataset_digest) || ' bytes long',
        '32 bytes long (gan_worker --check prints it)',
        quote_literal(E'\\x' || repeat('00', 32)));
    PERFORM gan_require((r.dataset_images IS NULL) = (r.dataset_digest IS NULL), 'dataset_images',
        r.dataset_images::text, 'given together with dataset_digest', '60000');
    PERFORM gan_require(gan_rule_must_be(r.fallback_aggregator) IS NULL, 'fallback_aggregator',
        quote_literal(left(r.fallback_aggregator, 64)), gan_rule_must_be(r.fallback_aggregator),
        '''clipped''');
    IF r.aggregator LIKE 'sql:%' THEN
        PERFORM gan_rule_function(substr(r.aggregator, 5));
        r.aggregator := r.fallback_aggregator;
    END IF;
    PERFORM gan_require(gan_rule_must_be(r.aggregator) IS NULL, 'aggregator',
        quote_literal(left(r.aggregator, 64)),
        gan_rule_must_be(r.aggregator) || ', or ''sql:'' and the name of a function',
        '''clipped''');
    PERFORM gan_require(coalesce(units <= gan_rule_most_units(r.aggregator), true),
        'units_per_iteration', units::text, format('at most %s with the aggregator %L',
            gan_rule_most_units(r.aggregator), r.aggregator), '8');
END
$$;

-- Returns a given option that gan_create_run does not have, or NULL.
CREATE FUNCTION gan_unknown_option(options jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT key
        FROM jsonb_object_keys($1) AS key
        WHERE key NOT IN (SELECT n.option FROM gan_option n)
        LIMIT 1
$$;

-- Refuses options that gan_create_run doesn't have.
CREATE FUNCTION gan_require_options(options jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    unknown text := gan_unknown_option(options);
BEGIN
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'there is no option "%"', left(unknown, 64)
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'The options are gan_create_run''s: '
                    || (SELECT string_agg(n.option, ', ' ORDER BY n.place) FROM gan_option n)
                    || '.';
    END IF;
END
$$;

-- The options as docs/instructor.md has them.
CREATE FUNCTION gan_option_table() RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT format('| `%s` | %s | %s |', n.option,
        coalesce(n.shown,
            CASE n.type WHEN 'text' THEN format('`''%s''`', n.standard) ELSE n.standard END),
        concat_ws('; ', n.meaning, gan_option_words(n.fits)))
    FROM gan_option n ORDER BY n.place
$$;

COMMENT ON VIEW gan_option IS 'The options of gan_create_run: type, default, limits, meaning';
COMMENT ON VIEW gan_preset IS 'Sets of options that gan_create_run knows by name (preset => ...)';
