-- -------------------------------------------------------------------------------------------------
-- Checkpoints, going back to one, and a new run from one
-- -------------------------------------------------------------------------------------------------

CREATE TABLE gan_checkpoint (
    run       int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    -- the state at which this iteration's units were, or are, computed
    iteration int NOT NULL CHECK (iteration >= 0),
    pieces    int NOT NULL CHECK (pieces > 0),
    bytes     bigint NOT NULL CHECK (bytes > 0),
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, iteration)
);

-- Copies of the pieces of gan_state_piece: weights, running statistics, moments, the workers' copy
-- of the weights, and the change that led to it.
CREATE TABLE gan_checkpoint_piece (
    run       int NOT NULL,
    iteration int NOT NULL,
    part      bigint NOT NULL CHECK (part BETWEEN 0 AND 5),
    shard     int NOT NULL CHECK (shard >= 0),
    piece     int NOT NULL CHECK (piece >= 0),
    data      bytea NOT NULL,
    PRIMARY KEY (run, iteration, part, shard, piece),
    FOREIGN KEY (run, iteration) REFERENCES gan_checkpoint ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE gan_checkpoint_piece ALTER data SET STORAGE PLAIN;

-- Steps that a rollback has undone. Their work stays credited, but the model doesn't contain them.
CREATE TABLE gan_abandoned (LIKE gan_history,
    branch       int NOT NULL CHECK (branch > 0), -- counts the run's rollbacks
    abandoned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, branch, iteration),
    FOREIGN KEY (run) REFERENCES gan_run ON DELETE CASCADE
);

SELECT pg_catalog.pg_extension_config_dump('gan_checkpoint', '');
SELECT pg_catalog.pg_extension_config_dump('gan_checkpoint_piece', '');
SELECT pg_catalog.pg_extension_config_dump('gan_abandoned', '');
COMMENT ON TABLE gan_checkpoint IS 'Saved states of runs, for gan_rollback and gan_fork';
COMMENT ON TABLE gan_checkpoint_piece
    IS 'Parameters, running statistics, moments and workers'' copies of checkpoints, in pieces';
COMMENT ON TABLE gan_abandoned IS 'Steps that gan_rollback has undone, one small row each';

-- Saves the state of an iteration that one of the two slots holds; false if neither holds all of
-- it. The slot can't change meanwhile: only a step writes it, and the caller has the run's row
-- locked, which every step needs.
CREATE FUNCTION gan_store_checkpoint(run int, iteration int) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_shards int;
    shards int;
BEGIN
    IF EXISTS (SELECT FROM gan_checkpoint c WHERE c.run = $1 AND c.iteration = $2) THEN
        RETURN true;
    END IF;
    SELECT r.shards INTO shards FROM gan_run r WHERE r.run = $1;
    SELECT count(DISTINCT p.shard)
        INTO found_shards
        FROM gan_state_piece p
        WHERE p.run = $1 AND p.slot = $2 % 2 AND p.iteration = $2 AND p.part = 0;
    IF found_shards <= shards THEN
        RETURN false;
    END IF;
    INSERT INTO gan_checkpoint (run, iteration, pieces, bytes)
        SELECT $1, $2, count(*), sum(length(p.data))
            FROM gan_state_piece p
            WHERE p.run = $1 AND p.slot = $2 % 2 AND p.iteration = $2;
    INSERT INTO gan_checkpoint_piece (run, iteration, part, shard, piece, data)
        SELECT $1, $2, p.part, p.shard, p.piece, p.data
            FROM gan_state_piece p
            WHERE p.run = $1 AND p.slot = $2 % 2 AND p.iteration = $2
        ORDER BY p.part, p.shard, p.piece;
    RETURN true;
END
$$;

-- Called by gan_tick while the class computes: makes the checkpoint that is due and deletes old
-- ones. If it can't be made (because the disk is full, say), that is a warning, and the class
-- continues.
CREATE FUNCTION gan_keep_checkpoints(r gan_run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF r.checkpoint_every = 0 OR r.iteration = 0 OR r.iteration % r.checkpoint_every <> 0
       OR EXISTS (SELECT
           FROM gan_checkpoint c
           WHERE c.run = r.run AND c.iteration = r.iteration) THEN
        RETURN;
    END IF;
    PERFORM gan_store_checkpoint(r.run, r.iteration);
    DELETE FROM gan_checkpoint c WHERE c.run = r.run
        AND c.iteration NOT IN (SELECT k.iteration
            FROM gan_checkpoint k
            WHERE k.run = r.run
            ORDER BY k.iteration DESC
            LIMIT r.checkpoints_kept)
        AND c.iteration <> (SELECT min(k.iteration) FROM gan_checkpoint k WHERE k.run = r.run);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'run %: no checkpoint of iteration %: %', r.run, r.iteration, SQLERRM
        USING ERRCODE = SQLSTATE;
END
$$;

-- Saves the current state of a run, even if none is due.
CREATE FUNCTION gan_make_checkpoint(run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    kept bigint;
BEGIN
    SELECT * INTO r FROM gan_run WHERE run = gan_the_run($1) FOR NO KEY UPDATE;
    IF NOT gan_store_checkpoint(r.run, r.iteration) THEN
        RAISE EXCEPTION 'the state of iteration % of run % is not whole', r.iteration, r.run
            USING ERRCODE = 'data_corrupted';
    END IF;
    SELECT c.bytes
        INTO kept
        FROM gan_checkpoint c
        WHERE c.run = r.run AND c.iteration = r.iteration;
    RETURN format('checkpoint: run %s, iteration %s, %s', r.run, r.iteration, pg_size_pretty(kept));
END
$$;

-- Raises an error unless the state of an iteration is kept; the error lists those that are.
CREATE FUNCTION gan_require_checkpoint(r gan_run, iteration int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF $2 BETWEEN 0 AND r.iteration AND gan_store_checkpoint(r.run, $2) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'the state of iteration % of run % is not kept', coalesce($2::text, 'NULL'),
        r.run
        USING ERRCODE = 'undefined_object',
              DETAIL = format('Kept are: %s.',
                  (SELECT string_agg(k::text, ', ' ORDER BY k)
                      FROM (SELECT c.iteration AS k FROM gan_checkpoint c WHERE c.run = r.run
                              UNION SELECT p.iteration
                                  FROM gan_state_piece p
                                  WHERE p.run = r.run
                                      AND p.part = 0
                                      AND p.shard = 0
                                      AND p.piece = 0) AS kept)),
              HINT = 'To keep more, set checkpoint_every, an option of gan_create_run.';
END
$$;

-- Empties both slots of a run's results.
CREATE FUNCTION gan_empty_results(run int) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Puts a checkpoint in the place of a run's state.
CREATE FUNCTION gan_restore_checkpoint(source int, iteration int, target int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    t gan_run;
    restored int;
BEGIN
    SELECT * INTO STRICT t FROM gan_run WHERE run = $3;
    FOR slot IN 0..1 LOOP
        EXECUTE format('TRUNCATE @extschema@.%I', format('gan_state_piece_r%s_%s', $3, slot));
    END LOOP;
    PERFORM gan_empty_results($3);
    INSERT INTO gan_state_piece (run, slot, iteration, part, shard, piece, data)
        SELECT $3, $2 % 2, $2, p.part, p.shard, p.piece, p.data
            FROM gan_checkpoint_piece p
            WHERE p.run = $1 AND p.iteration = $2
        ORDER BY p.part, p.shard, p.piece;
    GET DIAGNOSTICS restored = ROW_COUNT;
    IF restored IS DISTINCT FROM (SELECT c.pieces
        FROM gan_checkpoint c
        WHERE c.run = $1 AND c.iteration = $2) THEN
        RAISE EXCEPTION 'the checkpoint of iteration % of run % is not whole', $2, $1
            USING ERRCODE = 'data_corrupted';
    END IF;
    -- The workers' copy: as it was saved; the weights themselves if the source run had no changes;
    -- nothing if the target run has none. No change is stored for a fork: its workers begin with
    -- the whole weights.
    IF $1 <> $3 THEN
        DELETE
            FROM gan_state_piece p
            WHERE p.run = $3 AND (p.part = 4 OR p.part = 3 AND t.download_element = 'float32');
    END IF;
    IF t.download_element <> 'float32'
        AND NOT EXISTS (SELECT FROM gan_state_piece p WHERE p.run = $3 AND p.part = 3) THEN
        INSERT INTO gan_state_piece (run, slot, iteration, part, shard, piece, data)
            SELECT p.run, p.slot, p.iteration, 3, p.shard, p.piece, p.data
                FROM gan_state_piece p
                WHERE p.run = $3 AND p.part = 0 AND p.shard < t.shards
            ORDER BY p.shard, p.piece;
    END IF;
END
$$;

-- Opens the units of a run's current iteration after its history has changed: first positions that
-- were skipped, then those after the last averaged one. So the model learns from every image once.
CREATE FUNCTION gan_reopen_positions(run int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    used int8multirange;
BEGIN
    SELECT * INTO STRICT r FROM gan_run WHERE run = $1;
    SELECT coalesce(range_agg(h.positions), '{}') INTO used FROM gan_history h WHERE h.run = $1;
    UPDATE gan_run SET next_position = coalesce(upper(used), r.first_position) WHERE run = $1;
    INSERT INTO gan_work_unit (run, iteration, first_position, images)
        SELECT $1, r.iteration, p.place, least(r.images_per_unit, upper(hole) - p.place)
        FROM unnest(int8multirange(int8range(r.first_position,
            coalesce(upper(used), r.first_position))) - used) AS hole
        CROSS
            JOIN LATERAL generate_series(lower(hole), upper(hole) - 1,
                r.images_per_unit) AS p (place)
        ORDER BY p.place;
    PERFORM gan_open_units($1);
END
$$;

-- Sets the nonces of the two previous versions of the weights from the run's history.
CREATE FUNCTION gan_set_past_nonces(run int) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    UPDATE gan_run r
        SET weights_nonce_1 = (SELECT h.weights_nonce
            FROM gan_history h
            WHERE h.run = r.run AND h.iteration = r.iteration - 1),
                         weights_nonce_2 = (SELECT h.weights_nonce
                             FROM gan_history h
                             WHERE h.run = r.run AND h.iteration = r.iteration - 2)
        WHERE r.run = $1
$$;

-- Takes a run back to an iteration whose state is kept, and pauses it. Later steps move to
-- gan_abandoned; credit stays.
CREATE FUNCTION gan_rollback(run int, iteration int) RETURNS text
    LANGUAGE plpgsql
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET extra_float_digits = 1
        SET bytea_output = hex AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    taken_back int;
BEGIN
    -- (Not FOR UPDATE: a submission that holds its unit looks at the run for a foreign key, and
    -- would wait for us while we wait for its unit.)
    SELECT * INTO r FROM gan_run WHERE run = gan_the_run($1) FOR NO KEY UPDATE;
    IF r.state NOT IN ('running', 'paused', 'finished') THEN
        RAISE EXCEPTION 'run % ("%") is %', r.run, r.name, r.state
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'SELECT gan_fork(run, iteration) makes a new run of it.';
    END IF;
    PERFORM gan_require_checkpoint(r, $2);
    PERFORM gan_restore_checkpoint(r.run, $2, r.run);
    -- By name: after an update the columns of the two tables may have another order.
    INSERT
        INTO gan_abandoned SELECT a.*
        FROM gan_history h
        CROSS JOIN LATERAL jsonb_populate_record(NULL::gan_abandoned, to_jsonb(h)
            || jsonb_build_object('branch',
                1 + coalesce((SELECT max(b.branch) FROM gan_abandoned b WHERE b.run = r.run), 0),
                'abandoned_at', clock_timestamp())) AS a
        WHERE h.run = r.run AND h.iteration >= $2;
    GET DIAGNOSTICS taken_back = ROW_COUNT;
    DELETE FROM gan_history h WHERE h.run = r.run AND h.iteration >= $2;
    DELETE FROM gan_checkpoint c WHERE c.run = r.run AND c.iteration > $2;
    DELETE FROM gan_sheet s WHERE s.run = r.run AND s.iteration > $2;
    DELETE FROM gan_swd s WHERE s.run = r.run AND s.iteration > $2;
    -- A worker that computes one of these units gets "stale" and no credit: its result belongs to
    -- another branch.
    DELETE FROM gan_work_unit u WHERE u.run = r.run AND (u.iteration >= $2 OR u.state = 'aside');
    DELETE FROM gan_failure f WHERE f.run = r.run;
    DELETE FROM gan_audit a WHERE a.run = r.run AND a.iteration >= $2;
    -- A new nonce, so that two versions of an iteration's weights can't be confused.
    UPDATE gan_run
        SET iteration = $2, state = 'paused', paused_at = clock_timestamp(),
            iteration_started_at = clock_timestamp(),
            weights_nonce = gan_nonce() WHERE run = r.run;
    PERFORM gan_set_past_nonces(r.run);
    PERFORM gan_reopen_positions(r.run);
    PERFORM gan_wake(r.run);
    RETURN format('run %s ("%s") is back at iteration %s, %s steps were undone; it is paused: '
        'SELECT gan_start(%s)',
        r.run, r.name, $2, taken_back, r.run);
END
$$;

-- Refuses changes that don't fit the state of a checkpoint, or that gan_create_run doesn't know.
CREATE FUNCTION gan_require_changes(r gan_run, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    other text;
BEGIN
    PERFORM gan_require(jsonb_typeof($2) = 'object', 'changes', left($2::text, 64), 'an object',
        '''{"learning_rate": 0.0001}''');
    other := gan_unknown_option($2 - 'name');
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'gan_create_run has no parameter "%"', left(other, 64)
            USING ERRCODE = 'undefined_parameter', HINT = 'docs/instructor.md lists them.';
    END IF;
    SELECT n.option
        INTO other
        FROM gan_option n
        WHERE $2 ? n.option
            AND CASE n.fork
                WHEN 'same' THEN true
                WHEN 'sign' THEN (coalesce($2 ->> n.option, n.standard)::float8 > 0)
                    <> ((to_jsonb(r) ->> n.option)::float8 > 0) END
        ORDER BY n.place
        LIMIT 1;
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'a fork can''t have another %', other
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'The state of the checkpoint would not fit. SELECT gan_create_run(...) '
                    'makes a run from the beginning.';
    END IF;
END
$$;

-- Makes a run like another one, with some of gan_create_run's parameters changed. All checks are
-- gan_create_run's.
CREATE FUNCTION gan_create_like(r gan_run, changes jsonb) RETURNS int
    LANGUAGE plpgsql
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET extra_float_digits = 1
        SET bytea_output = hex AS $$
DECLARE
    options jsonb := to_jsonb(r);
    new_name text := coalesce(changes ->> 'name', left(r.name, 40) || ' fork '
        || (SELECT count(*) + 1 FROM gan_run f WHERE f.forked_from = r.run));
    made int;
BEGIN
    -- Values that depend on a changed option, or on the workers, are computed again.
    IF r.units_follow THEN
        options := options - 'units_per_iteration' - 'quorum';
    END IF;
    IF changes ?| ARRAY['learning_rate'] THEN
        options := options - 'generator_learning_rate' - 'discriminator_learning_rate';
    END IF;
    IF changes ? 'units_per_iteration' THEN
        options := options - 'quorum';
    END IF;
    IF changes ?| ARRAY['local_steps', 'batch'] AND r.local_steps > 0 THEN
        options := options - 'images_per_unit' - 'lease_seconds';
    END IF;
    options := options || changes;
    SELECT jsonb_object_agg(n.option, options -> n.option)
        INTO options
        FROM gan_option n
        WHERE options ->> n.option IS NOT NULL;
    made := gan_make_run(new_name, 'class', options);
    RETURN made;
END
$$;

-- Makes a new run from the state of another one at an iteration; changes is an object of
-- gan_create_run's parameters.
CREATE FUNCTION gan_fork(run int, iteration int, changes jsonb DEFAULT '{}') RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    f gan_run;
    made int;
BEGIN
    SELECT * INTO r FROM gan_run WHERE run = gan_the_run($1) FOR NO KEY UPDATE;
    PERFORM gan_require_changes(r, coalesce($3, '{}'));
    PERFORM gan_require_checkpoint(r, $2);
    made := gan_create_like(r, coalesce($3, '{}'));
    SELECT * INTO STRICT f FROM gan_run WHERE run = made;
    IF f.target_iterations <= $2 THEN
        RAISE EXCEPTION 'target_iterations is %, but must be above the iteration of the checkpoint '
            '(%)',
            f.target_iterations, $2
            USING ERRCODE = 'invalid_parameter_value',
                HINT = format('For example: gan_fork(%s, %s, ''{"target_iterations": %s}'')', r.run,
                    $2, 2 * $2 + 1000);
    END IF;
    PERFORM gan_restore_checkpoint(r.run, $2, f.run);
    UPDATE gan_run
        SET iteration = $2, forked_from = r.run, iteration_started_at = NULL,
            first_iteration = r.first_iteration,
        first_position = r.first_position, next_position = r.next_position WHERE run = f.run;
    -- The fork takes over the model's history, but no credit.
    INSERT
        INTO gan_history SELECT (jsonb_populate_record(h,
            jsonb_build_object('run', f.run, 'taken_in', coalesce(h.taken_in, r.run)))).*
        FROM gan_history h WHERE h.run = r.run AND h.iteration < $2;
    PERFORM gan_set_past_nonces(f.run), gan_reopen_positions(f.run);
    IF f.seed <> r.seed AND f.dataset_images IS NOT NULL THEN
        -- If the order changes, the fork begins a new epoch; otherwise images of the current epoch
        -- would be used twice.
        DELETE FROM gan_work_unit u WHERE u.run = f.run;
        UPDATE gan_run
            SET next_position = ceil(coalesce((SELECT upper(range_agg(h.positions))
                FROM gan_history h
                WHERE h.run = f.run),
                r.first_position)::numeric
                                                / f.dataset_images) * f.dataset_images
                                                    WHERE run = f.run;
        PERFORM gan_open_units(f.run);
    END IF;
    RETURN f.run;
END
$$;

COMMENT ON FUNCTION gan_make_checkpoint(int) IS 'Saves the current state of a run';
COMMENT ON FUNCTION gan_rollback(int, int)
    IS 'Takes a run back to an iteration whose state is kept, and pauses it';
COMMENT ON FUNCTION gan_fork(int, int, jsonb)
    IS 'Makes a new run from the state of another at an iteration, with changed parameters of '
        'gan_create_run; returns its number';
