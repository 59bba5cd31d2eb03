-- -------------------------------------------------------------------------------------------------
-- The step and the coordinator
-- -------------------------------------------------------------------------------------------------

-- Deletes the units of these iterations but for those that are set aside. A unit that somebody has
-- locked stays until a later step: the step waits for nobody.
CREATE FUNCTION gan_forget_units(run int, first int, last int) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    DELETE FROM gan_work_unit WHERE unit IN (
        SELECT u.unit
            FROM gan_work_unit u
            WHERE u.run = $1 AND u.iteration BETWEEN $2 AND $3 AND u.state <> 'aside'
            FOR UPDATE SKIP LOCKED)
$$;

-- Closes an iteration once its step is computed: stores the history and the credit, moves
-- unfinished units to the next iteration and opens it. scales: the factors by which the rule
-- multiplied the units; update_g, update_d: the length of the step relative to that of the weights;
-- rule_failure: why the rule in SQL was not used.
CREATE FUNCTION gan_close_iteration(run int, iteration int, units bigint[], norm_g float8,
    norm_d float8, digest bytea, accounts int DEFAULT NULL, scales float8[] DEFAULT '{}',
    update_g float8 DEFAULT NULL, update_d float8 DEFAULT NULL, rule_failure text DEFAULT '')
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
BEGIN
    SELECT * INTO STRICT r FROM gan_run WHERE run = $1;
    INSERT INTO gan_history (run, iteration, epoch, units, images, positions, workers,
            loss_d, loss_g, accuracy_real, accuracy_fake,
            gradient_norm_g, gradient_norm_d, weights_digest, weights_nonce,
            started_at, ended_at,
            aggregator, rule_failure, accounts,
            clipped, update_g, update_d,
            capped, opened)
        SELECT $1, $2,
            (coalesce((SELECT sum(h.images) FROM gan_history h WHERE h.run = $1), 0)
                + sum(u.images)) / r.dataset_images::float8,
            count(*), sum(u.images),
            range_agg(int8range(u.first_position, u.first_position + u.images)),
            count(DISTINCT u.worker),
            sum(u.images * u.loss_d) / sum(u.images), sum(u.images * u.loss_g) / sum(u.images),
            sum(u.images * u.accuracy_real) / sum(u.images),
            sum(u.images * u.accuracy_fake) / sum(u.images),
            $4, $5, $6, r.weights_nonce,
            least(r.iteration_started_at, clock_timestamp()), clock_timestamp(),
            CASE WHEN $11 = '' THEN r.aggregator ELSE r.fallback_aggregator END, nullif($11, ''),
                $7,
            (SELECT count(*) FROM unnest($8) AS s WHERE s < 1), $9, $10,
            coalesce(greatest($9, $10) > r.update_limit, false), r.units_per_iteration
        FROM gan_work_unit u WHERE u.unit = ANY ($3);
    UPDATE gan_work_unit u
        SET scale = touched.scale
        FROM unnest($3, $8) AS touched (unit, scale)
        WHERE u.unit = touched.unit AND touched.scale < 1;
    UPDATE gan_worker w
        SET units = w.units + done.units, images = w.images + done.images,
            paces = (done.paces || w.paces)[1:8], lapses = 0, returns = 0
        FROM (SELECT worker, count(*) AS units, sum(images) AS images,
                     array_agg(greatest(extract(epoch FROM submitted_at - claimed_at) / images,
                         1e-6)::float8
                         ORDER BY submitted_at DESC) AS paces
              FROM gan_work_unit WHERE unit = ANY ($3) GROUP BY worker) AS done
        WHERE w.worker = done.worker;
    PERFORM gan_carry_over($1, $2, $3);
    -- A hundred iterations are enough to answer "already" and to look back
    PERFORM gan_forget_units($1, 0, $2 - 101);
    DELETE FROM gan_failure f WHERE f.run = $1 AND f.iteration < $2 - 100
        AND NOT EXISTS (SELECT
            FROM gan_work_unit u
            WHERE u.run = $1
                AND u.iteration = f.iteration
                AND u.first_position = f.first_position
                AND u.state = 'aside');
    UPDATE gan_run SET iteration = $2 + 1, iteration_started_at = clock_timestamp(),
            weights_nonce = gan_nonce(), weights_nonce_1 = weights_nonce,
                weights_nonce_2 = weights_nonce_1, step_failures = 0,
            state = CASE WHEN $2 + 1 >= target_iterations THEN 'finished' ELSE state END
        WHERE run = $1;
    IF $2 + 1 < r.target_iterations THEN
        PERFORM gan_open_units($1);
    ELSE
        PERFORM gan_forget_units($1, $2 + 1, 2147483647);
    END IF;
    PERFORM gan_wake($1);
END
$$;

CREATE FUNCTION gan_aggregate(iteration int, run int DEFAULT NULL) RETURNS text
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- Gives out again units that are done but whose gradients are gone. Gradients are stored in
-- unlogged tables, which are empty after a crash of the server, after a restore without them and
-- after the promotion of a standby. It checks whether the first piece of each shard is there.
-- Between steps one unit is enough, because all gradients vanish together; before the step it
-- checks every unit that will enter it.
CREATE FUNCTION gan_reopen_vanished(run int, every boolean) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    current int := (SELECT r.iteration FROM gan_run r WHERE r.run = $1);
    reopened int := 0;
BEGIN
    IF NOT every AND NOT EXISTS (
        SELECT
            FROM (SELECT u.unit, u.token
                FROM gan_work_unit u
                WHERE u.run = $1 AND u.iteration = current AND u.state = 'done'
                ORDER BY u.first_position LIMIT 1) AS one
        WHERE (gan_uploaded(one.unit, one.token)).missing > 0) THEN
        RETURN 0;
    END IF;
    WITH vanished AS MATERIALIZED (
        SELECT u.unit
            FROM gan_work_unit u
            WHERE u.run = $1
                AND u.iteration = current
                AND u.state = 'done'
                AND (gan_uploaded(u.unit, u.token)).missing > 0
            ORDER BY u.unit FOR UPDATE SKIP LOCKED)
    UPDATE gan_work_unit u
        SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL,
            opened_at = clock_timestamp(),
            submitted_at = NULL, batch = NULL, loss_d = NULL, loss_g = NULL, accuracy_real = NULL,
                accuracy_fake = NULL
        FROM vanished WHERE u.unit = vanished.unit;
    GET DIAGNOSTICS reopened = ROW_COUNT;
    IF reopened > 0 THEN
        PERFORM gan_wake($1);
    END IF;
    RETURN reopened;
END
$$;

-- Prepares the step while the class computes, so that it takes less time
-- (src/extension/store/ahead.c).
CREATE FUNCTION gan_prepare_step(run int) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- One run's tick: src/extension/coordinate/tick.c.
CREATE FUNCTION gan_tick(run int DEFAULT NULL) RETURNS text
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET lock_timeout = 0 AS 'MODULE_PATHNAME';

-- Counts the open runs (of one run, or of all) and lists those for which a tick has something to
-- do; with every, all of them. It neither locks nor writes, so a coordinator can ask fifty times a
-- second without using up transaction numbers or disk time.
CREATE FUNCTION gan_due(run int, every boolean, OUT open int, OUT due int[])
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    right_now timestamptz := clock_timestamp(); -- a statement of the coordinator's lasts a minute
BEGIN
    SELECT count(*),
        array_agg(r.run ORDER BY r.run) FILTER (WHERE $2 OR (r.state IN ('running', 'paused') AND (
               (SELECT count(*) FILTER (WHERE u.state = 'done') >= least(r.quorum,
                   count(*) FILTER (WHERE u.state IN ('pending', 'claimed', 'done')))
                    AND bool_or(u.state = 'done')
                FROM gan_unit u
                    WHERE u.run = r.run AND u.iteration = r.iteration AND NOT u.is_check)
               AND NOT gan_checks_hold(r)
               OR EXISTS (SELECT
                   FROM gan_work_unit u
                   WHERE u.run = r.run
                       AND u.iteration = r.iteration
                       AND u.state IN ('pending', 'claimed')
                          AND (u.lease_until <= right_now OR u.replaces IS NOT NULL))
               OR (r.checks_on
                   AND EXISTS (SELECT
                       FROM gan_unit u
                       JOIN gan_worker w ON w.worker = u.worker
                       WHERE u.run = r.run
                           AND u.iteration = r.iteration
                           AND u.state IN ('claimed', 'done')
                           AND NOT u.is_check
                           AND w.login <> ALL (coalesce(u.drawn_for, '{}'))
                           AND (w.returns = 0 OR u.state = 'done'))))))
        INTO open, due
            FROM gan_run r
            WHERE r.state NOT IN ('finished', 'stopped') AND ($1 IS NULL OR r.run = $1);
END
$$;

-- For a coordinator that sleeps: how many runs need one, and in how many seconds it must wake up by
-- itself, because no session will wake it when a lease ends or when a unit that is still locked
-- counts as hoarded. With spot checks it wakes every second, because they may have to be drawn or
-- judged at any time.
CREATE FUNCTION gan_next_deadline(OUT runs int, OUT seconds float8)
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    right_now timestamptz := clock_timestamp();
    deadline timestamptz;
BEGIN
    SELECT count(DISTINCT r.run), min(d.at) FILTER (WHERE d.at > right_now)
        INTO runs, deadline
        FROM gan_run r
        LEFT JOIN gan_work_unit u ON u.run = r.run
            AND u.iteration = r.iteration
            AND u.state IN ('pending', 'claimed')
        CROSS JOIN LATERAL unnest(ARRAY[u.lease_until,
            greatest(u.opened_at, u.lease_until, r.iteration_started_at)
                + make_interval(secs => r.lease_seconds),
            CASE WHEN r.checks_on THEN right_now + interval '1 s' END]) AS d (at)
        WHERE r.state = 'running' OR (r.state = 'paused' AND u.state = 'claimed');
    seconds := coalesce(extract(epoch FROM deadline - right_now), 'Infinity');
    IF runs > 0 AND (SELECT d.due IS NOT NULL FROM gan_due(NULL, false) AS d) THEN
        seconds := least(seconds, 1); -- a tick failed, or another session had locked the run
    END IF;
END
$$;

-- Makes the server's coordinator look at this database's runs when the transaction commits; without
-- a coordinator it does nothing (src/extension/coordinate/shared.c).
CREATE FUNCTION gan_call_coordinator() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME';

-- The state of the server's own coordinator for this database: running, starting, idle (there is
-- nothing to coordinate), missing (it could not be started), off (gannsfriends.coordinator), not
-- loaded.
CREATE FUNCTION gan_background_coordinator() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME';

-- Tells whether a new session can't write. (A session that began while
-- default_transaction_read_only was on keeps that value even after it was switched off.) A setting
-- of the role in this database overrides one of the role, which overrides one of the database.
CREATE FUNCTION gan_stays_read_only() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT pg_is_in_recovery()
        OR coalesce((SELECT split_part(c.setting, '=', 2)::boolean
            FROM pg_db_role_setting d
            CROSS JOIN unnest(d.setconfig) AS c (setting)
                     WHERE starts_with(c.setting, 'default_transaction_read_only=')
                         AND d.setrole IN (0,
                             (SELECT oid FROM pg_roles WHERE rolname = session_user))
                         AND d.setdatabase IN (0,
                             (SELECT oid FROM pg_database WHERE datname = current_database()))
                     ORDER BY d.setrole = 0, d.setdatabase = 0 LIMIT 1),
                    (SELECT s.setting::boolean
                        AND s.source NOT IN ('database', 'user', 'database user', 'global')
                        FROM pg_settings s
                        WHERE s.name = 'default_transaction_read_only'))
$$;

-- Ticks runs until the time is over (src/extension/coordinate/): those that are due every 20 ms,
-- all of them every second. Each tick is a transaction of its own, and an error in one run doesn't
-- stop the others.
CREATE PROCEDURE gan_coordinate(max_seconds float8 DEFAULT NULL, run int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION gan_aggregate(int, int)
    IS 'The step: averages an iteration''s gradients or changes, applies the optimiser, merges '
        'batch norm, opens the next iteration; one transaction';
COMMENT ON FUNCTION gan_tick(int)
    IS 'Does what is due for a run: leases, the step; returns at once if another session does that';
COMMENT ON PROCEDURE gan_coordinate(float8, int)
    IS 'Ticks all runs for a number of seconds, or until all are over';
