-- -------------------------------------------------------------------------------------------------
-- The options of a run, in one table
-- -------------------------------------------------------------------------------------------------

-- A row for each option of gan_create_run. From here come that function's parameters, the checks of
-- what is given and their messages, what gan_fork may change, what gan_import takes from a file,
-- and the table in docs/instructor.md. A new option is a row here, a column of gan_run (in
-- core/tables and in the upgrade), and where it is used.
--
-- standard: the value where nothing is given; NULL: it follows from others (gan_complete_options),
-- or may be missing. fits: the limits, '[0,1)', with what a limit means in brackets; or the words
-- that it may be, '{constant,linear}'; NULL: gan_check_options_together has a check of its own, or
-- the network's. fork: which values a fork may have: any, the same, or only one that is above 0 if
-- this one is (sign). protects: nobody who sends a file to gan_import should choose it unseen.
-- shown: the default in words, where standard doesn't say it.
CREATE VIEW gan_option AS
    SELECT o.place, o.option, o.type, o.standard, o.fits, o.example, o.fork, o.protects, o.shown,
        o.meaning
    FROM (VALUES
        (1, 'images_per_unit', 'int', NULL, '[1,65536]', '320', 'any', false,
            '`local_steps` times `batch`; 320 with `local_steps => 0`',
            'images of a work unit'),
        (2, 'units_per_iteration', 'int', NULL, '[1,4096]', '8', 'any', true,
            'as many as there are workers, 2 to 32',
            'units of an iteration; left out, their number is decided when each iteration opens '
                '(`gan_history.opened`)'),
        (3, 'target_iterations', 'int', '1000', '[1,100000000]', '1000', 'any', false,
            NULL,
            'steps until the run is finished'),
        (4, 'seed', 'bigint', NULL, NULL, '7', 'any', false,
            'random',
            'of weights, noise and order'),
        (5, 'quorum', 'int', NULL, NULL, '8', 'any', true,
            'all',
            'units that must be in before the step; the rest moves on to the next iteration; only '
                'together with `units_per_iteration`'),
        (6, 'batch', 'int', NULL, '[1,4096]', '8', 'any', false,
            '8; 64 with `local_steps => 0`',
            'images of a minibatch (batch norm); a worker may use another, unless units are '
                'spot-checked or local'),
        (7, 'lease_seconds', 'float8', NULL, '[1,86400]', '60', 'any', false,
            '60; with `local_steps` at least a fifth of `images_per_unit`',
            'how long a unit may go without a sign of life, at most; less for a worker whose speed '
                'is known. Workers renew while they compute'),
        (8, 'channels', 'int', '3', NULL, '3', 'same', false,
            NULL,
            'of an image: 1 or 3'),
        (9, 'image_size', 'int', '64', NULL, '64', 'same', false,
            NULL,
            'pixels: 32, 64 or 128'),
        (10, 'latent', 'int', '100', NULL, '100', 'same', false,
            NULL,
            'numbers that an image is drawn from, 1 to 1024'),
        (11, 'generator_features', 'int', '64', NULL, '64', 'same', false,
            NULL,
            'width of the generator, 1 to 512'),
        (12, 'discriminator_features', 'int', '64', NULL, '64', 'same', false,
            NULL,
            'width of the discriminator, 1 to 512'),
        (13, 'learning_rate', 'float8', NULL, '(0,1]', '0.0002', 'any', false,
            '3e-4; 2e-4 with `local_steps => 0`',
            'of both networks'),
        (14, 'beta1', 'float8', '0.5', '[0,1)', '0.5', 'any', false,
            NULL,
            'of Adam'),
        (15, 'beta2', 'float8', '0.999', '[0,1)', '0.999', 'any', false,
            NULL,
            'of Adam'),
        (16, 'epsilon', 'float8', '1e-8', '(0,1]', '1e-8', 'any', false,
            NULL,
            'of Adam'),
        (17, 'norm_momentum', 'float8', '0.1', '(0,1]', '0.1', 'any', false,
            NULL,
            'of the running batch-norm statistics'),
        (18, 'gradient_limit', 'float8', '10000', '(0,1e30]', '10000', 'any', true,
            NULL,
            'norm above which an upload, gradient or change, is refused'),
        (19, 'dataset_images', 'bigint', NULL, '[1,4294967296]', '60000', 'same', false,
            'what you confirm with `gan_set_dataset`',
            'how many images every worker must have; `gan_worker --check` prints it'),
        (20, 'dataset_digest', 'bytea', NULL, NULL, '''\x00...''', 'same', false,
            'what you confirm with `gan_set_dataset`',
            'of these images; `gan_worker --check` prints it'),
        (21, 'upload_element', 'text', 'float32', '{float32,float16,int8}', '''int8''', 'any',
            false,
            NULL,
            'of results on their way in: `float16` is half the bytes, `int8` a quarter '
                '([format.md](format.md), section 8)'),
        (22, 'download_element', 'text', 'float32', '{float32,float16,int8}', '''int8''', 'any',
            false,
            NULL,
            'of changes of the weights on their way out; the step takes longer, as the server '
                'keeps what workers hold'),
        (23, 'local_steps', 'int', '40', '[0 (units give gradients),65536]', '40', 'sign', false,
            NULL,
            'steps that a unit takes by itself, D and G in turn; it then uploads the change of the '
                'weights ([learning.md](learning.md))'),
        (24, 'outer_optimizer', 'text', NULL, '{average,nesterov,adam}', '''nesterov''', 'same',
            false,
            '`''average''`; none with `local_steps => 0`',
            'of the mean change'),
        (25, 'outer_learning_rate', 'float8', NULL, '(0,10]', '0.7', 'any', false,
            '1; `''nesterov''` 0.7; `''adam''` 0.001',
            'of the outer optimiser'),
        (26, 'outer_momentum', 'float8', NULL, '[0,1)', '0.9', 'any', false,
            '0; `''nesterov''` and `''adam''` 0.9',
            'of the outer optimiser'),
        (27, 'generator_learning_rate', 'float8', NULL, '(0,1]', '0.0002', 'any', false,
            '`learning_rate`',
            'of the generator alone'),
        (28, 'discriminator_learning_rate', 'float8', NULL, '(0,1]', '0.0002', 'any', false,
            '`learning_rate`',
            'of the discriminator alone'),
        (29, 'learning_rate_schedule', 'text', 'constant', '{constant,linear}', '''linear''', 'any',
            false,
            NULL,
            '`linear`: the rate falls to 0 at the target'),
        (30, 'warmup_iterations', 'int', '0', NULL, '0', 'any', false,
            NULL,
            'iterations over which the rate rises'),
        (31, 'update_rule', 'text', 'simultaneous', '{simultaneous,alternating}', '''alternating''',
            'same', false,
            NULL,
            '`alternating`: an iteration steps D, the next one G at the new D, and a unit uploads '
                'one network''s gradient'),
        (32, 'unit_sizing', 'text', 'equal', '{equal,measured}', '''measured''', 'any', false,
            NULL,
            '`measured` gives each unit a number of local steps that fits the worker it is meant '
                'for (see below)'),
        (33, 'aggregator', 'text', 'clipped', NULL, '''clipped''', 'any', true,
            NULL,
            'the rule by which results become one: a name of `gan_rule`, `''trimmed(share=0.1)''` '
                'with a parameter ([security.md](security.md)), or `''sql:my_rule''`, a function '
                'of your own ([rules.md](rules.md))'),
        (34, 'update_limit', 'float8', '1', '(0,Infinity]', '1', 'any', true,
            NULL,
            'a step that moves a network''s weights by more than so many times their length is '
                'shortened'),
        (35, 'checkpoint_every', 'int', '0', '[0 (none),2147483647]', '100', 'any', true,
            NULL,
            'keeps the state of every so many iterations'),
        (36, 'checkpoints_kept', 'int', '5', '[1,1000]', '5', 'any', true,
            NULL,
            'so many of the newest, and the first'),
        (37, 'average_decay', 'float8', '0.999', '[0 (no average),1)', '0.999', 'sign', false,
            NULL,
            'of the moving average of the generator''s weights that pictures are drawn from; less '
                'in the first iterations'),
        (38, 'audit_minimum', 'float8', '0', '[0 (no spot checks),1]', '0.05', 'any', true,
            NULL,
            'the least share of an account''s units that a second account computes again '
                '([security.md](security.md)); `gan_set_audit_minimum` changes it'),
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

-- Ways to set several at once (docs/learning.md, "What to choose"). What is given beside it counts.
CREATE VIEW gan_preset AS
    SELECT p.preset, p.options, p.meaning
    FROM (VALUES
        ('class', '{}'::jsonb, 'a class in one room'),
        ('wi-fi', '{"upload_element": "int8", "download_element": "int8"}',
            'a class in one room, on Wi-Fi or a cable of 100 Mbit/s'),
        ('mixed', '{"unit_sizing": "measured"}', 'fast laptops and slow ones'),
        ('home', '{"local_steps": 250, "upload_element": "int8", "download_element": "int8"}',
            'everybody at home, 10 Mbit/s up'),
        ('gradients', '{"local_steps": 0}',
            'to learn what distributed SGD is: exactly the step of one large machine'))
        AS p (preset, options, meaning);

-- The limits of a number: bracket, low, high, bracket. (No backslash: what it means depends on
-- standard_conforming_strings.)
CREATE FUNCTION gan_option_limits(fits text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS
    $$ SELECT regexp_match(fits, '^([[(])([^,]*),([^])]+(?: [(][^)]*[)])?)([])])$') $$;

-- What an option may be, in words: "between 1 and 4096", "'constant' or 'linear'".
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

-- Whether a value is what an option may be; one that is missing is.
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

-- Adds to options what follows from them, as far as it is missing.
CREATE FUNCTION gan_complete_options(o jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    local boolean := (o ->> 'local_steps')::int > 0;
    outer_name text;
BEGIN
    -- Local steps want small minibatches and a higher rate (docs/learning.md); gradients keep the
    -- paper's.
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

-- Raises an error about the first option that is not what it may be.
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
    units int := coalesce(r.units_per_iteration, (gan_unit_range()).low); -- nobody is there yet
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
        'left out where units_per_iteration is: the number of units follows the workers',
        format('%s, units_per_iteration => %s', r.quorum, greatest(r.quorum, 2)));
    PERFORM gan_require(r.quorum IS NULL OR r.quorum BETWEEN 1 AND units, 'quorum', r.quorum::text,
        format('between 1 and units_per_iteration (%s)', units), units::text);
    PERFORM gan_require(r.warmup_iterations >= 0 AND r.warmup_iterations < r.target_iterations,
        'warmup_iterations', r.warmup_iterations::text,
        format('at least 0 and below target_iterations (%s)', r.target_iterations), '0');
    PERFORM gan_require(NOT local OR r.update_rule = 'simultaneous', 'update_rule',
        quote_nullable(r.update_rule),
        'left out with local_steps: local steps alternate as they are',
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

-- Names an option that gan_create_run doesn't have, if there is one.
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
