-- -------------------------------------------------------------------------------------------------
-- Claims
-- -------------------------------------------------------------------------------------------------

-- Says why there is no work, and when to ask again.
CREATE FUNCTION gan_no_work(r gan_run, suspended boolean, OUT reason text, OUT message text,
    OUT retry_seconds float8)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    done bigint;
    claimed bigint;
    needed int;
BEGIN
    reason := CASE r.state
        WHEN 'running' THEN CASE WHEN r.dataset_digest IS NULL THEN 'no_dataset' ELSE 'waiting' END
        WHEN 'created' THEN 'not_started'
        ELSE r.state END;
    -- Only a safety net: gan_wake wakes waiting workers.
    retry_seconds := CASE reason
        WHEN 'waiting' THEN 1
        WHEN 'finished' THEN 0
        WHEN 'stopped' THEN 0
        ELSE 2 END;
    IF reason = 'no_dataset' THEN
        message := format('run "%s" has no work yet: the instructor has not confirmed the class''s '
            'dataset',
            r.name);
    ELSIF reason = 'waiting' THEN
        SELECT count(*) FILTER (WHERE state = 'done'),
            count(*) FILTER (WHERE state = 'claimed' AND NOT is_check)
            INTO done, claimed
            FROM gan_unit u WHERE u.run = r.run AND u.iteration = r.iteration;
        needed := gan_units_shown(r);
        message := CASE
            WHEN done >= needed
                THEN format('iteration %s is complete, waiting for the coordinator''s step',
                r.iteration)
                        ELSE format('iteration %s: %s of %s units are done, %s being computed',
                            r.iteration,
                            done, needed, claimed) END;
    ELSE
        message := format('run "%s" %s', r.name,
            CASE reason
                WHEN 'not_started' THEN 'has not been started yet'
                WHEN 'paused' THEN 'is paused'
            WHEN 'finished' THEN format('is finished after %s iterations', r.iteration)
                ELSE format('was stopped after %s iterations', r.iteration) END);
    END IF;
    IF suspended AND reason IN ('waiting', 'paused', 'no_dataset') THEN
        reason := 'suspended';
        message := format('the results of "%s" differ from those of other accounts for the same '
            'images; it gets no more units: ask the instructor',
            session_user);
        retry_seconds := 30;
    END IF;
END
$$;

-- Finds a free unit where units have different sizes: first one that is meant for this worker, then
-- one that is meant for nobody or for a worker that has left, then anybody's. A worker that is
-- faster than the one a unit is meant for gets the smallest first, a slower one the largest.
-- Returns the unit locked.
CREATE FUNCTION gan_pick_measured(me gan_worker, iteration int) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    picked bigint;
BEGIN
    SELECT u.unit
        INTO picked
        FROM gan_work_unit u
        WHERE u.meant_for = me.worker
            AND u.iteration = $2
            AND u.state = 'pending'
            AND me.login <> ALL (coalesce(u.failed_by, '{}'))
        ORDER BY u.first_position
        LIMIT 1
        FOR UPDATE SKIP LOCKED;
    IF picked IS NULL THEN
        WITH about AS MATERIALIZED (SELECT w.worker, w.pace FROM gan_workers_about(me.run) AS w)
        SELECT u.unit
            INTO picked
            FROM gan_work_unit u
            LEFT JOIN about w ON w.worker = u.meant_for
            WHERE u.run = me.run
                AND u.iteration = $2
                AND u.state = 'pending'
                AND me.login <> ALL (coalesce(u.failed_by, '{}'))
            ORDER BY w.worker IS NOT NULL,
                CASE WHEN w.pace > me.pace THEN -u.images ELSE u.images END,
                u.first_position
            LIMIT 1
            FOR UPDATE OF u SKIP LOCKED;
    END IF;
    RETURN picked;
END
$$;

-- Finds a free unit where all free units have failed at this login: one of these, but only while no
-- other active account could try it, that is, one at which it has not failed yet and which is not
-- stuck with its first unit. Returns the unit locked.
CREATE FUNCTION gan_pick_failed(me gan_worker, iteration int) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    others name[];
    picked bigint;
BEGIN
    IF EXISTS (SELECT
        FROM gan_unit u
        WHERE u.run = me.run AND u.iteration = $2 AND u.state = 'pending' AND NOT u.is_check) THEN
        SELECT coalesce(array_agg(DISTINCT w.login), '{}')
            INTO others
            FROM gan_workers_about(me.run) AS w
            WHERE w.login <> me.login
                AND NOT EXISTS (SELECT
                    FROM gan_trust t
                    WHERE t.run = me.run AND t.login = w.login AND t.suspended)
                AND NOT (EXISTS (SELECT
                    FROM gan_work_unit c
                    WHERE c.worker = w.worker AND c.state = 'claimed')
                    AND gan_accepted(me.run, w.login) = 0);
        SELECT u.unit
            INTO picked
            FROM gan_unit u
            WHERE u.run = me.run AND u.iteration = $2 AND u.state = 'pending' AND NOT u.is_check
                AND others <@ coalesce(u.failed_by, '{}')
            ORDER BY u.attempts, u.first_position LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN picked;
END
$$;

-- When a unit is late: by its holder's own pace or, while that is unknown, after twice the class's
-- median time. At most after the run's lease.
CREATE FUNCTION gan_late_at(u gan_work_unit, w gan_worker, longest float8) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    needs float8 := gan_late_seconds(u.images, w.pace, w.pace_mad);
BEGIN
    IF needs IS NULL THEN
        SELECT least(longest, 2 * gan_late_seconds(u.images, p.middle, p.spread)) INTO needs
            FROM (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY o.pace) AS middle,
                percentile_cont(0.5) WITHIN GROUP (ORDER BY o.pace_mad) AS spread
                  FROM gan_worker o WHERE o.run = u.run AND o.pace IS NOT NULL) AS p;
    END IF;
    RETURN u.claimed_at + make_interval(secs => greatest(1, coalesce(needs, longest)));
END
$$;

-- Where no unit is free: copies the unit whose holder is latest, if one is late, and returns the
-- copy. (It is not enough that another worker would finish sooner: a slow laptop that keeps its
-- usual pace would then never finish a unit.)
CREATE FUNCTION gan_back_up(me gan_worker, iteration int) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    made bigint;
BEGIN
    INSERT
        INTO gan_work_unit (run, iteration, first_position, images, meant_for, failed_by, backs_up)
        SELECT u.run, u.iteration, u.first_position, u.images, u.meant_for, u.failed_by, u.unit
        FROM gan_work_unit u
            JOIN gan_worker w ON w.worker = u.worker
            JOIN gan_run r ON r.run = u.run
        WHERE u.run = me.run
            AND u.iteration = $2
            AND u.state = 'claimed'
            AND u.backs_up IS NULL
            AND u.audits IS NULL
            AND u.worker <> me.worker
            AND gan_late_at(u, w, r.lease_seconds) < statement_timestamp()
            AND me.login <> ALL (coalesce(u.failed_by, '{}'))
            AND NOT EXISTS (SELECT FROM gan_work_unit copy WHERE copy.backs_up = u.unit)
            AND NOT EXISTS (SELECT
                FROM gan_work_unit o
                WHERE o.run = u.run AND o.first_position = u.first_position AND o.state = 'done')
        ORDER BY u.claimed_at + make_interval(secs => coalesce(u.images * w.pace, r.lease_seconds)),
            u.first_position
            LIMIT 1
        ON CONFLICT (backs_up) WHERE backs_up IS NOT NULL DO NOTHING
        RETURNING unit INTO made;
    RETURN made;
END
$$;

-- The functions of a claim (src/extension/claim/); find_free in claim.c looks for a free unit. A
-- claim commits without waiting for the disk: if a crash of the server undoes it, only the work on
-- one unit is lost.
CREATE FUNCTION gan_claim(worker int, OUT unit bigint, OUT token uuid, OUT iteration int,
    OUT first_position bigint, OUT images int, OUT lease_seconds float8, OUT reason text,
    OUT message text, OUT retry_seconds float8, OUT weights_nonce bigint,
    OUT weights_nonce_1 bigint, OUT weights_nonce_2 bigint)
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_renew(unit bigint, token uuid) RETURNS float8
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_release(unit bigint, token uuid) RETURNS boolean
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION gan_claim(int)
    IS 'Worker: gives a unit with a lease, or the reason why there is none and when to ask again';
COMMENT ON FUNCTION gan_renew(bigint, uuid)
    IS 'Worker: extends a lease; NULL means that it is lost';
COMMENT ON FUNCTION gan_release(bigint, uuid) IS 'Worker: gives a unit back undone';
