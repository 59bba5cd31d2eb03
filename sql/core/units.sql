-- -------------------------------------------------------------------------------------------------
-- Units: opened, put back, copied, set aside
-- -------------------------------------------------------------------------------------------------

-- The units, with the properties that many queries need.
CREATE VIEW gan_unit AS
    SELECT u.unit, u.run, u.iteration, u.first_position, u.images, u.state, u.attempts, u.worker,
        u.token, u.weights_nonce, u.opened_at, u.claimed_at, u.lease_until, u.failed_by,
            u.meant_for,
        u.backs_up, u.replaces, u.audits, u.drawn_for, u.checked_for,
        -- it stayed locked, and another unit was opened in its place
        EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit) AS replaced,
        -- another unit of the same positions was submitted first
        EXISTS (SELECT
            FROM gan_work_unit o
            WHERE o.run = u.run
                AND o.first_position = u.first_position
                AND o.state = 'done'
                AND o.unit <> u.unit) AS done_elsewhere,
        -- it computes another unit a second time, and is never averaged
        u.audits IS NOT NULL AS is_check
    FROM gan_work_unit u;

-- A worker that is deleted takes its units along; what they did is computed again.
CREATE FUNCTION gan_forget_worker() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    DELETE FROM gan_work_unit u WHERE u.worker = OLD.worker;
    RETURN NULL;
END
$$;

CREATE TRIGGER gan_forget_worker AFTER DELETE ON gan_worker
    FOR EACH ROW EXECUTE FUNCTION gan_forget_worker();

-- The seconds after which a worker is late with a unit: 1.5 times (median + 4 MAD) of its own time
-- for this number of images.
CREATE FUNCTION gan_late_seconds(images int, pace float8, pace_mad float8) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1.5::float8 * images * (pace + 4 * pace_mad);

-- The lease on a unit, in seconds: the same time, but at least 5 s and at most the run's
-- lease_seconds. It is doubled for each of the worker's leases that ended since its last unit, so
-- that a laptop that has become slower can finish. A worker that has not finished a unit yet gets
-- the run's lease_seconds.
CREATE FUNCTION gan_lease_seconds(images int, pace float8, pace_mad float8, lapses int,
    longest float8)
    RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN least(longest,
        greatest(5,
            coalesce(gan_late_seconds(images, pace, pace_mad),
                longest)) * (1 << least(lapses, 20)));

-- How long a unit may be held in all, however often its lease is renewed.
CREATE FUNCTION gan_hold_seconds(lease_seconds float8, longest float8) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN greatest(longest, 10 * lease_seconds);

-- When a lease ends that begins or is renewed now.
CREATE FUNCTION gan_lease_end(claimed_at timestamptz, lease_seconds float8, longest float8)
    RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN least(statement_timestamp() + make_interval(secs => lease_seconds),
        claimed_at + make_interval(secs => gan_hold_seconds(lease_seconds, longest)));

-- The active workers: those that asked within the last 10 s (waiting workers ask every second or
-- two), or hold a unit.
CREATE FUNCTION gan_workers_about(run int) RETURNS SETOF gan_worker
    LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
    SELECT w.*
        FROM gan_worker w
        WHERE w.run = $1
            AND (w.last_seen BETWEEN clock_timestamp() - interval '10 s'
                AND clock_timestamp() + interval '1 s'
        OR EXISTS (SELECT
            FROM gan_work_unit u
            WHERE u.worker = w.worker
                AND u.state = 'claimed'
                AND u.lease_until > clock_timestamp()));
END;

-- Deals units to workers of these speeds, and divides a total by weights into whole numbers between
-- two bounds (src/extension/claim/shares.c).
CREATE FUNCTION gan_deal(speeds float8[], units int) RETURNS int[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION gan_divide(weights float8[], total bigint, low int, high int) RETURNS int[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

-- Divides this number of minibatches (or the nearest number that the bounds allow) into units for
-- the active workers. A worker of unknown speed counts as one of median speed.
CREATE FUNCTION gan_size_units(r gan_run, units int, minibatches bigint)
    RETURNS TABLE (place bigint, meant_for int, steps int)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    bounds record;
    workers int[];
    speeds float8[];
    meant int[];
    weights float8[];
BEGIN
    SELECT * INTO bounds FROM gan_unit_bounds(r.local_steps, r.batch);
    WITH about AS MATERIALIZED (SELECT w.worker, w.pace FROM gan_workers_about(r.run) AS w)
    SELECT array_agg(a.worker ORDER BY a.worker),
           array_agg(1 / coalesce(a.pace,
               (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY pace) FROM about), 1)
               ORDER BY a.worker)
        INTO workers, speeds FROM about a;
    SELECT array_agg(d.worker ORDER BY d.n, k), array_agg(d.speed / d.dealt ORDER BY d.n, k)
        INTO meant, weights
        FROM unnest(workers, speeds, gan_deal(speeds, units)) WITH ORDINALITY AS d (worker, speed,
            dealt, n)
        CROSS JOIN LATERAL generate_series(1, d.dealt) AS k;
    IF meant IS NULL THEN -- nobody is there yet
        meant := array_fill(NULL::int, ARRAY[units]);
        weights := array_fill(1::float8, ARRAY[units]);
    END IF;
    RETURN QUERY SELECT s.place, s.meant_for, s.steps
        FROM unnest(meant,
            gan_divide(weights,
                greatest(units::bigint * bounds.low,
                    least(units::bigint * bounds.high, minibatches)),
                bounds.low, bounds.high))
            WITH ORDINALITY AS s (meant_for, steps, place);
END
$$;

-- Opens the missing units of the run's current iteration. Every position belongs to one unit only.
-- Units that were set aside are not replaced, unless no other unit is left: an iteration must
-- average something.
CREATE FUNCTION gan_open_units(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
    there record;
    missing int;
    opened bigint;
BEGIN
    PERFORM gan_turn_checks(run), gan_follow_workers(run);
    SELECT * INTO STRICT r FROM gan_run WHERE gan_run.run = run FOR NO KEY UPDATE;
    SELECT count(*) AS units, coalesce(sum(s.images), 0) AS images,
        coalesce(bool_or(s.live), true) AS live
        INTO there
        FROM (SELECT min(u.images) AS images, bool_or(u.state <> 'aside') AS live
            FROM gan_unit u
              WHERE u.run = run AND u.iteration = r.iteration AND NOT u.is_check
                  GROUP BY u.first_position) AS s;
    missing := r.units_per_iteration - CASE WHEN there.live THEN there.units ELSE 0 END;
    IF missing <= 0 THEN
        RETURN 0;
    END IF;
    IF r.unit_sizing = 'measured' THEN
        WITH new AS (
            INSERT INTO gan_work_unit (run, iteration, first_position, images, meant_for)
                SELECT run, r.iteration,
                    r.next_position + r.batch * (sum(s.steps) OVER (ORDER BY s.place) - s.steps),
                    r.batch * s.steps, s.meant_for
                FROM gan_size_units(r, missing,
                    r.units_per_iteration::bigint * r.local_steps - CASE
                        WHEN there.live THEN there.images / r.batch
                        ELSE 0 END) AS s
                RETURNING images)
        SELECT sum(new.images) INTO opened FROM new;
    ELSE
        INSERT INTO gan_work_unit (run, iteration, first_position, images)
            SELECT run, r.iteration, r.next_position + k::bigint * r.images_per_unit,
                r.images_per_unit
            FROM generate_series(0, missing - 1) AS k;
        opened := missing::bigint * r.images_per_unit;
    END IF;
    UPDATE gan_run SET next_position = next_position + opened WHERE gan_run.run = run;
    RETURN missing;
END
$$;

-- Stores the seconds that a worker needed for an image, or has needed so far. If the worker's row
-- is locked, the sample is dropped: there will be others.
CREATE FUNCTION gan_note_pace(worker int, seconds float8) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    UPDATE gan_worker SET paces = (greatest($2, 1e-6) || paces)[1:8]
        WHERE worker IN (SELECT w.worker
            FROM gan_worker w
            WHERE w.worker = $1
            FOR NO KEY UPDATE SKIP LOCKED)
$$;

-- Marks a claimed unit as beaten: another unit of the same positions is done. The time that its
-- worker has spent so far is stored as a sample, so that a worker that has become slower is
-- noticed. The caller has the unit locked.
CREATE FUNCTION gan_note_beaten(unit bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
BEGIN
    UPDATE gan_work_unit w
        SET state = 'beaten', lease_until = NULL
        WHERE w.unit = $1
        RETURNING *
        INTO u;
    PERFORM gan_note_pace(u.worker,
        extract(epoch FROM clock_timestamp() - u.claimed_at) / u.images);
END
$$;

-- Stores that the work on a unit failed at the login that holds it, once for each attempt. detail
-- says why in words. The caller has the unit locked.
CREATE FUNCTION gan_note_failure(u gan_work_unit, why text, detail text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    whose name;
BEGIN
    SELECT w.login INTO STRICT whose FROM gan_worker w WHERE w.worker = u.worker;
    INSERT
        INTO gan_failure AS f (run, first_position, login, unit, iteration, worker, attempt, why,
            detail)
        VALUES (u.run, u.first_position, whose, u.unit, u.iteration, u.worker, u.attempts, $2, $3)
        ON CONFLICT (run, first_position, login) DO UPDATE
            SET times = f.times + 1, unit = excluded.unit, iteration = excluded.iteration,
                worker = excluded.worker, attempt = excluded.attempt,
                why = excluded.why, detail = excluded.detail, failed_at = excluded.failed_at
            WHERE (f.unit, f.attempt) <> (excluded.unit, excluded.attempt);
    IF FOUND AND $2 <> 'lease_over' THEN
        UPDATE gan_worker SET refusals = refusals + 1, refused_at = clock_timestamp()
            WHERE worker IN (SELECT w.worker
                FROM gan_worker w
                WHERE w.worker = u.worker
                FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
    UPDATE gan_work_unit w
        SET failed_by = array_append(w.failed_by, whose)
        WHERE w.unit = u.unit AND whose <> ALL (coalesce(w.failed_by, '{}'));
    PERFORM gan_call_coordinator(); -- it may have to be set aside
END
$$;

-- Takes a claimed unit from its holder; why says what failed, if anything did. If another account
-- holds a unit of the same positions, that unit takes its place. The caller has the unit locked.
CREATE FUNCTION gan_put_back(held gan_work_unit, why text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    copy bigint;
BEGIN
    -- Read the unit again: a caller with a list of units may already have put back the one of which
    -- this is a copy.
    SELECT * INTO STRICT u FROM gan_work_unit w WHERE w.unit = held.unit;
    IF u.audits IS NOT NULL THEN -- the unit that a spot check repeats is not affected
        UPDATE gan_work_unit w SET failed_by = CASE WHEN why IS NULL THEN w.failed_by
                ELSE array_append(w.failed_by,
                    (SELECT m.login FROM gan_worker m WHERE m.worker = u.worker)) END
                    WHERE w.unit = u.unit;
    ELSIF why IS NOT NULL THEN
        PERFORM gan_note_failure(u, why);
    END IF;
    IF u.backs_up IS NULL THEN
        -- Both are locked before one is deleted, so that two sessions can't delete both.
        SELECT c.unit
            INTO copy
            FROM gan_work_unit c
            WHERE c.backs_up = u.unit AND c.state IN ('claimed', 'done')
            FOR UPDATE SKIP LOCKED;
        UPDATE gan_work_unit c SET backs_up = NULL WHERE c.unit = copy;
    END IF;
    IF u.backs_up IS NOT NULL OR copy IS NOT NULL THEN
        DELETE FROM gan_work_unit w WHERE w.unit = u.unit;
    ELSE
        -- opened_at is now: the next claim locks the unit for a moment, which must not count as
        -- hoarding.
        UPDATE gan_work_unit w
            SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
                lease_seconds = NULL, lease_until = NULL,
                opened_at = clock_timestamp()
            WHERE w.unit = u.unit;
    END IF;
END
$$;

-- Makes a unit that is done pending again; failed_at is the login that must not get it again. The
-- caller has the unit locked.
CREATE FUNCTION gan_reopen_unit(unit bigint, failed_at name DEFAULT NULL) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    UPDATE gan_work_unit w
        SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_seconds = NULL,
            lease_until = NULL,
            opened_at = clock_timestamp(), submitted_at = NULL, batch = NULL, loss_d = NULL,
                loss_g = NULL, accuracy_real = NULL, accuracy_fake = NULL,
            failed_by = CASE WHEN $2 IS NULL
                OR $2 = ANY (w.failed_by) THEN w.failed_by ELSE array_append(w.failed_by, $2) END
        WHERE w.unit = $1
$$;

-- Takes back a unit whose lease ended. If the server was down meanwhile, it does not count as the
-- worker's failure.
CREATE FUNCTION gan_put_back_late(u gan_work_unit) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF u.claimed_at < pg_postmaster_start_time() THEN
        PERFORM gan_put_back(u);
        RETURN;
    END IF;
    UPDATE gan_worker SET lapses = least(lapses + 1, 20)
        WHERE worker IN (SELECT w.worker
            FROM gan_worker w
            WHERE w.worker = u.worker
            FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM gan_put_back(u, 'lease_over');
END
$$;

-- Puts back units whose lease ended. Locked rows are skipped: the coordinator waits for no other
-- session.
CREATE FUNCTION gan_expire_leases(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    expired int := 0;
BEGIN
    -- A claim in the future was made before the clock was set back.
    UPDATE gan_work_unit w
        SET claimed_at = clock_timestamp(),
            lease_until = clock_timestamp() + make_interval(secs => coalesce(w.lease_seconds,
                r.lease_seconds))
        FROM gan_run r WHERE r.run = $1 AND w.unit IN (
            SELECT f.unit
                FROM gan_work_unit f
                WHERE f.run = $1
                    AND f.state = 'claimed'
                    AND f.claimed_at > clock_timestamp() + interval '1 s'
            ORDER BY f.unit FOR UPDATE SKIP LOCKED);
    -- (clock_timestamp: a statement of the coordinator's lasts a minute.)
    FOR u IN SELECT *
        FROM gan_work_unit w
        WHERE w.run = $1 AND w.state = 'claimed' AND w.lease_until <= clock_timestamp()
        ORDER BY w.unit FOR UPDATE SKIP LOCKED LOOP
        PERFORM gan_put_back_late(u);
        expired := expired + 1;
    END LOOP;
    IF expired > 0 THEN
        PERFORM gan_wake($1);
    END IF;
    RETURN expired;
END
$$;

-- Moves the leases by the jump of the clock that gan_coordinate has noticed, as if the clock had
-- not jumped. Each lease is moved only once, even if several coordinators have noticed the jump:
-- its claim is then as far in the past as before.
CREATE FUNCTION gan_move_leases(run int, jump interval) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    moved int;
BEGIN
    UPDATE gan_work_unit u
        SET claimed_at = u.claimed_at + $2, lease_until = u.lease_until + $2
        WHERE u.unit IN (
        SELECT w.unit FROM gan_work_unit w WHERE w.state = 'claimed' AND ($1 IS NULL OR w.run = $1)
            AND w.claimed_at + $2 <= clock_timestamp()
                AND ($2 > interval '0' OR w.claimed_at > clock_timestamp())
        ORDER BY w.unit FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved;
END
$$;

-- Opens a replacement for every unit that stays locked past its lease, because an open transaction
-- hoards it.
CREATE FUNCTION gan_replace_hoarded(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    free record;
    replaced int;
    right_now timestamptz := clock_timestamp();
BEGIN
    -- A unit that is no longer locked is not needed: its substitute is. If it was itself a
    -- substitute, the substitute now stands for the first one, which must not count again.
    FOR free IN SELECT u.unit, u.replaces, later.unit AS substitute
        FROM gan_work_unit later
        JOIN gan_work_unit u ON u.unit = later.replaces
        WHERE later.run = $1 AND later.replaces IS NOT NULL
        FOR UPDATE OF u, later SKIP LOCKED LOOP
        DELETE FROM gan_work_unit w WHERE w.unit = free.unit;
        UPDATE gan_work_unit w SET replaces = coalesce(free.replaces, w.replaces)
            WHERE w.unit = free.substitute; -- the report still says what it replaced
    END LOOP;
    WITH overdue AS MATERIALIZED (
        SELECT u.unit
            FROM gan_unit u
            JOIN gan_run r ON r.run = u.run AND r.iteration = u.iteration
        WHERE u.run = $1 AND u.state IN ('pending', 'claimed') AND NOT u.is_check
            -- (A time in the future is from before the clock was set back, and is ignored.)
            AND greatest(CASE WHEN u.opened_at <= right_now THEN u.opened_at END,
                CASE WHEN u.claimed_at <= right_now THEN u.lease_until END,
                         r.iteration_started_at) + make_interval(secs => r.lease_seconds) <
                             right_now
            AND NOT u.replaced
            AND NOT u.done_elsewhere),
    free AS MATERIALIZED (
        SELECT u.unit
            FROM gan_work_unit u
            WHERE u.unit IN (SELECT unit FROM overdue)
            FOR UPDATE SKIP LOCKED)
    INSERT
        INTO gan_work_unit (run, iteration, first_position, images, meant_for, failed_by, replaces)
        SELECT u.run, u.iteration, u.first_position, u.images, u.meant_for, u.failed_by, u.unit
            FROM gan_work_unit u
        WHERE u.unit IN (SELECT unit FROM overdue EXCEPT SELECT unit FROM free);
    GET DIAGNOSTICS replaced = ROW_COUNT;
    IF replaced > 0 THEN
        PERFORM gan_wake($1);
    END IF;
    RETURN replaced;
END
$$;

-- Sets aside the units that failed at 3 logins, or 10 times in all. (One login alone can reach 10
-- failures only while no other is active; otherwise it doesn't get the unit again.) Only logins
-- with accepted work count, because anybody can fail on purpose. The iteration ends without these
-- units.
CREATE FUNCTION gan_put_aside(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    put int := 0;
    told text;
BEGIN
    FOR u IN SELECT w.*
        FROM gan_work_unit w
        JOIN gan_run r ON r.run = w.run AND r.iteration = w.iteration
        WHERE w.run = $1 AND w.state = 'pending' AND w.audits IS NULL AND w.first_position IN (
            SELECT f.first_position
                FROM gan_failure f
                WHERE f.run = $1
                GROUP BY f.first_position
                HAVING count(*) >= 3 OR sum(f.times) >= 10)
            AND (SELECT count(*) >= 3 OR sum(f.times) >= 10 FROM gan_failure f
                 WHERE f.run = $1
                     AND f.first_position = w.first_position
                     AND gan_accepted($1, f.login) > 0)
        ORDER BY w.unit FOR UPDATE OF w SKIP LOCKED LOOP
        UPDATE gan_work_unit w SET state = 'aside' WHERE w.unit = u.unit;
        put := put + 1;
        SELECT string_agg(format('%s: %s (%s)', f.login, f.why, f.times), ', ' ORDER BY f.login)
            INTO told
            FROM gan_failure f WHERE f.run = $1 AND f.first_position = u.first_position;
        RAISE WARNING 'unit % of run % is set aside, it failed too often: %', u.unit, u.run, told
            USING DETAIL = format('The run continues without its images, positions %s to %s.',
                u.first_position, u.first_position + u.images - 1),
                  HINT = format('Look at gan_set_aside; SELECT gan_retry_unit(%s) has it tried '
                      'again.',
                      u.unit);
    END LOOP;
    IF put > 0 THEN
        PERFORM gan_open_units($1); -- opens some if nothing is left
        PERFORM gan_wake($1);
    END IF;
    RETURN put;
END
$$;

-- Gives out again, in the current iteration, a unit that was set aside.
CREATE FUNCTION gan_retry_unit(unit bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    r gan_run;
BEGIN
    SELECT *
        INTO r
        FROM gan_run g
        WHERE g.run = (SELECT w.run FROM gan_work_unit w WHERE w.unit = $1)
        FOR NO KEY UPDATE;
    SELECT * INTO u FROM gan_work_unit w WHERE w.unit = $1 AND w.state = 'aside' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unit % is not set aside', coalesce($1::text, 'NULL')
            USING ERRCODE = 'undefined_object',
                HINT = 'SELECT unit FROM gan_set_aside lists the units that are.';
    END IF;
    IF r.state IN ('finished', 'stopped') THEN
        RAISE EXCEPTION 'run % ("%") is %', r.run, r.name, r.state
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    DELETE FROM gan_failure f WHERE f.run = u.run AND f.first_position = u.first_position;
    UPDATE gan_work_unit w
        SET state = 'pending', iteration = r.iteration, meant_for = NULL, failed_by = NULL,
            opened_at = clock_timestamp()
        WHERE w.unit = $1;
    PERFORM gan_wake(r.run);
    RETURN format('unit %s is given out again in iteration %s', $1, r.iteration);
END
$$;

-- Settles the other units of the positions that a step averages: their holders were beaten.
CREATE FUNCTION gan_settle_beaten(run int, iteration int, averaged bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
BEGIN
    FOR u IN SELECT *
        FROM gan_work_unit w
        WHERE w.run = $1 AND w.iteration = $2 AND w.state IN ('pending', 'claimed') AND EXISTS (
            SELECT
                FROM gan_work_unit o
                WHERE o.run = $1
                    AND o.first_position = w.first_position
                    AND o.state = 'done'
                    AND o.unit = ANY ($3))
        FOR UPDATE SKIP LOCKED LOOP
        IF u.state = 'claimed' THEN
            PERFORM gan_note_beaten(u.unit);
        ELSE
            DELETE FROM gan_work_unit w WHERE w.unit = u.unit;
        END IF;
    END LOOP;
END
$$;

-- Moves an iteration's units that were not averaged to the next iteration, so that their images are
-- not lost. Of two units of the same positions only one is kept; units that are set aside stay
-- where they are.
CREATE FUNCTION gan_carry_over(run int, iteration int, averaged bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    left_over bigint[];
    moved int;
BEGIN
    PERFORM gan_end_checks($1, $2);
    PERFORM gan_settle_beaten($1, $2, $3);
    DELETE FROM gan_work_unit WHERE unit IN (
        SELECT u.unit
            FROM gan_work_unit u
            WHERE u.run = $1
                AND u.iteration = $2
                AND u.state IN ('pending', 'claimed')
                AND EXISTS (SELECT
                    FROM gan_unit o
                    WHERE o.run = $1
                        AND o.iteration = $2
                        AND o.first_position = u.first_position
                        AND o.unit < u.unit
                        AND o.state IN ('pending', 'claimed')
                        AND NOT o.replaced)
            FOR UPDATE SKIP LOCKED);
    SELECT array_agg(u.unit)
        INTO left_over
        FROM gan_unit u
        WHERE u.run = $1
            AND u.iteration = $2
            AND u.state IN ('pending', 'claimed', 'done')
            AND u.unit <> ALL ($3)
            AND NOT u.is_check
            AND NOT u.replaced
            AND NOT EXISTS (SELECT
                FROM gan_work_unit o
                WHERE o.run = $1
                    AND o.first_position = u.first_position
                    AND o.state = 'done'
                    AND o.unit = ANY ($3));
    UPDATE gan_work_unit u
        SET iteration = $2 + 1, state = 'pending', backs_up = NULL, worker = NULL, token = NULL,
            claimed_at = NULL, lease_seconds = NULL, lease_until = NULL, submitted_at = NULL,
            batch = NULL, loss_d = NULL, loss_g = NULL, accuracy_real = NULL, accuracy_fake = NULL
        WHERE u.unit IN (
            SELECT w.unit FROM gan_work_unit w WHERE w.unit = ANY (left_over)
            FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved < cardinality(left_over) THEN -- the step waits for nobody
        RAISE EXCEPTION 'a unit of iteration % is being submitted right now', $2
            USING ERRCODE = 'lock_not_available', HINT = 'Try again.';
    END IF;
END
$$;

-- How many units must be done before the step: the quorum, or all that are left.
CREATE FUNCTION gan_units_needed(r gan_run) RETURNS int
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT greatest(1, least(r.quorum, count(DISTINCT u.first_position)))
        FROM gan_unit u
        WHERE u.run = r.run
            AND u.iteration = r.iteration
            AND u.state <> 'aside'
            AND NOT u.is_check);
END
$$;

-- The same number as others may see it, including the units that spot checks moved to the next
-- iteration. From the true number, a student could tell whether a claimed unit is checked.
CREATE FUNCTION gan_units_shown(r gan_run) RETURNS int
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT greatest(1, least(r.quorum, count(DISTINCT u.first_position)))::int FROM gan_unit u
        WHERE u.run = r.run
            AND u.iteration BETWEEN r.iteration AND r.iteration + r.checks_on::int
            AND (u.iteration = r.iteration OR u.state = 'pending')
            AND u.state <> 'aside' AND NOT u.is_check
$$;

-- The units of the current iteration, one for each range of positions: of a unit and its copy the
-- one that is further along. Units that spot checks moved to the next iteration are shown as free.
CREATE VIEW gan_current_unit AS
    SELECT DISTINCT ON (u.run, u.first_position) u.run, u.unit, u.iteration, u.first_position,
        u.images, u.state, u.attempts, u.worker, u.claimed_at
        FROM gan_run r
    JOIN gan_unit u ON u.run = r.run
        AND u.iteration BETWEEN r.iteration AND r.iteration + r.checks_on::int
        AND (u.iteration = r.iteration OR u.state = 'pending')
    WHERE u.state <> 'beaten'
        AND NOT u.replaced
    ORDER BY u.run, u.first_position,
        array_position(ARRAY['done', 'claimed', 'pending', 'aside'], u.state), u.unit;

COMMENT ON VIEW gan_unit
    IS 'Units, and whether another one was opened in their place, was done first, or they are spot '
        'checks; not for students';
COMMENT ON VIEW gan_current_unit
    IS 'Units of the current iteration as others may see them, one for the same positions; not for '
        'students';
COMMENT ON FUNCTION gan_retry_unit(bigint)
    IS 'Gives out again, in the current iteration, a unit that was set aside';
