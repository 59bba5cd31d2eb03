-- -------------------------------------------------------------------------------------------------
-- Claims, and what is made of them
-- -------------------------------------------------------------------------------------------------

-- Where this session's last claim found its unit (gan_claim begins its search behind it), and
-- noting it.
CREATE FUNCTION gan_claim_mark(run int, iteration int) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';
CREATE FUNCTION gan_claim_mark_set(run int, iteration int, first_position bigint) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Says why there is no work, and when to ask again.
CREATE FUNCTION gan_no_work(r gan_run, OUT reason text, OUT message text, OUT retry_seconds float8)
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
    -- Only the safety net: waiting workers are woken by gan_wake.
    retry_seconds := CASE reason
        WHEN 'waiting' THEN 1
        WHEN 'finished' THEN 0
        WHEN 'stopped' THEN 0
        ELSE 2 END;
    IF reason = 'no_dataset' THEN
        message := format('run "%s" has no work yet: the instructor has not confirmed the class''s dataset',
            r.name);
    ELSIF reason = 'waiting' THEN
        SELECT count(*) FILTER (WHERE state = 'done'),
            count(*) FILTER (WHERE state = 'claimed' AND audits IS NULL)
            INTO done, claimed
            FROM gan_work_unit u WHERE u.run = r.run AND u.iteration = r.iteration;
        needed := gan_units_shown(r);
        message := CASE
            WHEN done >= needed
                THEN format('iteration %s is complete, waiting for the coordinator''s step',
                r.iteration)
                        ELSE format('iteration %s: %s of %s units are done, %s being computed', r.iteration,
                            done, needed, claimed) END;
    ELSE
        message := format('run "%s" %s', r.name,
            CASE reason
                WHEN 'not_started' THEN 'has not been started yet'
                WHEN 'paused' THEN 'is paused'
            WHEN 'finished' THEN format('is finished after %s iterations', r.iteration)
                ELSE format('was stopped after %s iterations', r.iteration) END);
    END IF;
END
$$;

-- (gan_claim forbids sorting, which the next three need: where nothing else is left, its price
-- would have them compiled, for seconds.)
--
-- Where units have different sizes: one that is meant for the worker; else one that is meant for
-- nobody or for somebody who isn't about; else anybody's, the smallest first if its worker is
-- faster, the largest first if it is slower. Returns it locked.
CREATE FUNCTION gan_pick_measured(me gan_worker, iteration int) RETURNS bigint
    LANGUAGE plpgsql
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET enable_sort = on
        SET jit = off AS $$
#variable_conflict use_column
DECLARE
    picked bigint;
BEGIN
    SELECT f.unit INTO picked
        FROM (SELECT p.unit
            FROM gan_work_unit p
            WHERE p.meant_for = me.worker AND p.iteration = $2 AND p.state = 'pending'
              ORDER BY p.first_position LIMIT 100) AS candidate
        CROSS JOIN LATERAL (SELECT u.unit FROM gan_work_unit u
                            WHERE u.unit = candidate.unit
                                AND coalesce(u.state = 'pending', false)
                                AND me.login <> ALL (coalesce(u.failed_by, '{}'))
                            FOR UPDATE SKIP LOCKED) AS f
        LIMIT 1;
    IF picked IS NULL THEN
        WITH about AS MATERIALIZED (SELECT w.worker, w.pace FROM gan_workers_about(me.run) AS w)
        SELECT f.unit INTO picked
            FROM (SELECT p.unit FROM gan_work_unit p LEFT JOIN about w ON w.worker = p.meant_for
                  WHERE p.run = me.run AND p.iteration = $2 AND p.state = 'pending'
                  ORDER BY w.worker IS NOT NULL,
                      CASE WHEN w.pace > me.pace THEN -p.images ELSE p.images END,
                      p.first_position) AS candidate
            CROSS JOIN LATERAL (SELECT u.unit FROM gan_work_unit u
                                WHERE u.unit = candidate.unit
                                    AND coalesce(u.state = 'pending', false)
                                    AND me.login <> ALL (coalesce(u.failed_by, '{}'))
                                FOR UPDATE SKIP LOCKED) AS f
            LIMIT 1;
    END IF;
    RETURN picked;
END
$$;

-- Where all that is free failed at this login: one of these, but only while nobody else is about
-- who could try it: at whom it has not failed yet, and who has not been sitting on a first unit.
-- Returns it locked.
CREATE FUNCTION gan_pick_failed(me gan_worker, iteration int) RETURNS bigint
    LANGUAGE plpgsql
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET enable_sort = on
        SET jit = off AS $$
#variable_conflict use_column
DECLARE
    others name[];
    picked bigint;
BEGIN
    IF EXISTS (SELECT
        FROM gan_work_unit u
        WHERE u.run = me.run AND u.iteration = $2 AND u.state = 'pending' AND u.audits IS NULL) THEN
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
            FROM gan_work_unit u
            WHERE u.run = me.run AND u.iteration = $2 AND u.state = 'pending' AND u.audits IS NULL
                AND others <@ coalesce(u.failed_by, '{}')
            ORDER BY u.attempts, u.first_position LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN picked;
END
$$;

-- When a unit is late: by its holder's own pace; where that is not known yet, twice what the class
-- needs, and at most the run's lease.
CREATE FUNCTION gan_late_at(u gan_work_unit, w gan_worker, longest float8) RETURNS timestamptz
    LANGUAGE plpgsql STABLE
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET enable_sort = on
        SET jit = off AS $$
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

-- Where nothing is free: makes a copy of the unit whose holder is latest, if one is late, and
-- returns it. (That somebody else would be sooner is no reason: a slow laptop that is as fast as
-- ever would never come to an end.)
CREATE FUNCTION gan_back_up(me gan_worker, iteration int) RETURNS bigint
    LANGUAGE plpgsql
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET enable_sort = on
        SET jit = off AS $$
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

-- Gives the worker what it holds already, under a new token: after a crash or a lost answer it goes
-- on with it. Takes from it what it has held too long, what belongs to an iteration that is over,
-- and what somebody else was sooner with.
CREATE FUNCTION gan_claim_again(me gan_worker, r gan_run) RETURNS gan_work_unit
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
BEGIN
    SELECT *
        INTO u
        FROM gan_work_unit w
        WHERE w.worker = me.worker AND w.state = 'claimed'
        FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF u.audits IS NULL
        AND EXISTS (SELECT
            FROM gan_work_unit o
            WHERE o.run = u.run AND o.first_position = u.first_position AND o.state = 'done') THEN
        PERFORM gan_note_beaten(u.unit);
        RETURN NULL;
    END IF;
    IF u.iteration <> r.iteration THEN
        PERFORM gan_put_back(u);
        RETURN NULL;
    END IF;
    IF u.lease_until <= statement_timestamp() THEN
        PERFORM gan_put_back_late(u);
        RETURN NULL;
    END IF;
    UPDATE gan_work_unit w
        SET token = gen_random_uuid(), weights_nonce = r.weights_nonce,
            lease_until = gan_lease_end(w.claimed_at, w.lease_seconds, r.lease_seconds)
        WHERE w.unit = u.unit RETURNING * INTO u;
    RETURN u;
END
$$;

-- A claim that a crash of the server takes back costs a unit's work and nothing else, so its commit
-- waits for no disk. A submission's does: an acknowledged one is durable, and with it all that was
-- written before it.
CREATE FUNCTION gan_claim(worker int)
    RETURNS TABLE (unit bigint, token uuid, iteration int, first_position bigint, images int,
        lease_seconds float8, reason text, message text, retry_seconds float8,
                  weights_nonce bigint, weights_nonce_1 bigint, weights_nonce_2 bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    seen record;
    r gan_run;
    lease float8;
    mark bigint;
    me gan_worker;
    picked bigint;
    held_back text; -- why this login gets none now
    held_back_seconds float8;
BEGIN
    PERFORM gan_require_autocommit('gan_claim'), set_config('synchronous_commit', 'off', true);
    IF gan_refusal_pending() THEN
        PERFORM gan_note_refusal();
    END IF;
    -- The worker's row stays locked until the end: it has one claim at a time.
    SELECT w.run, w.last_seen, w.pace, w.pace_mad, w.lapses, w.dataset_images, w.dataset_digest,
        t.suspended
        INTO seen
        FROM gan_worker w LEFT JOIN gan_trust t ON t.run = w.run AND t.login = w.login
        WHERE w.worker = $1 AND w.login = session_user FOR NO KEY UPDATE OF w;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login "%" has no worker %', session_user, coalesce($1::text, 'NULL')
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'Start the program again; if that does not help, tell your instructor.';
    END IF;
    -- (Seen in the future: the clock was set back.)
    IF seen.suspended IS NOT TRUE
        AND seen.last_seen NOT BETWEEN statement_timestamp() - interval '1 s' AND statement_timestamp() THEN
        UPDATE gan_worker w SET last_seen = statement_timestamp() WHERE w.worker = $1;
    END IF;
    SELECT * INTO STRICT r FROM gan_run g WHERE g.run = seen.run;
    -- The run's dataset may have been set after this worker had joined.
    IF r.dataset_digest IS NOT NULL AND seen.dataset_digest IS NOT NULL THEN
        PERFORM gan_require_dataset(r, seen.dataset_images, seen.dataset_digest);
    END IF;
    IF r.state = 'running' AND seen.suspended IS NOT TRUE AND r.dataset_digest IS NOT NULL THEN
        PERFORM FROM gan_work_unit u WHERE u.worker = $1 AND u.state = 'claimed';
        IF FOUND THEN
            SELECT * INTO me FROM gan_worker w WHERE w.worker = $1;
            SELECT u.unit, u.token, u.iteration, u.first_position, u.images, u.lease_seconds
                INTO unit, token, iteration, first_position, images, lease_seconds
                    FROM gan_claim_again(me, r) AS u;
        END IF;
        IF unit IS NULL THEN
            SELECT h.message, h.retry_seconds
                INTO held_back, held_back_seconds
                FROM gan_hold_back(r.run, session_user) AS h;
        END IF;
    END IF;
    IF r.state = 'running'
        AND seen.suspended IS NOT TRUE
        AND r.dataset_digest IS NOT NULL
        AND held_back IS NULL THEN
        IF unit IS NULL AND r.unit_sizing = 'measured' THEN
            SELECT * INTO me FROM gan_worker w WHERE w.worker = $1;
            picked := gan_pick_measured(me, r.iteration);
        END IF;
        lease := gan_lease_seconds(r.images_per_unit, seen.pace, seen.pace_mad, seen.lapses,
            r.lease_seconds);
        -- (Here and elsewhere, coalesce keeps the planner from looking for a unit in an index that
        -- only holds pending or claimed ones: at the last ANALYZE there may have been none of
        -- them.)
        --
        -- The next free unit behind this session's last one, then from the beginning. Rows that
        -- were claimed meanwhile leave dead index entries behind, for as long as anybody's old
        -- snapshot keeps them: this way a session passes each but once.
        mark := gan_claim_mark(r.run, r.iteration);
        WHILE unit IS NULL AND r.unit_sizing = 'equal' LOOP
            WITH next AS MATERIALIZED (
                SELECT free.unit
                FROM (SELECT p.unit FROM gan_work_unit p
                      WHERE p.run = r.run
                          AND p.iteration = r.iteration
                          AND p.state = 'pending'
                          AND p.first_position > mark
                      ORDER BY p.first_position LIMIT 100) AS candidate
                CROSS JOIN LATERAL (SELECT f.unit FROM gan_work_unit f
                                    WHERE f.unit = candidate.unit
                                        AND f.iteration = r.iteration
                                        AND coalesce(f.state = 'pending', false)
                                    AND (f.failed_by IS NULL OR session_user <> ALL (f.failed_by))
                                    FOR UPDATE SKIP LOCKED) AS free
                LIMIT 1)
            UPDATE gan_work_unit u
                SET state = 'claimed', worker = $1, token = gen_random_uuid(),
                    weights_nonce = r.weights_nonce, attempts = u.attempts + 1,
                    claimed_at = statement_timestamp(),
                    lease_seconds = lease,
                    lease_until = statement_timestamp() + make_interval(secs => lease)
                FROM next WHERE u.unit = next.unit
                RETURNING u.unit, u.token, u.iteration, u.first_position, u.images, u.lease_seconds
                INTO unit, token, iteration, first_position, images, lease_seconds;
            EXIT WHEN unit IS NOT NULL OR mark < 0;
            mark := -1;
        END LOOP;
        IF unit IS NULL THEN
            SELECT * INTO me FROM gan_worker w WHERE w.worker = $1;
            picked := coalesce(picked, gan_pick_hidden(r, session_user),
                gan_pick_failed(me, r.iteration), gan_back_up(me, r.iteration));
            UPDATE gan_work_unit u
                SET state = 'claimed', worker = $1, token = gen_random_uuid(),
                    weights_nonce = r.weights_nonce, attempts = u.attempts + 1,
                    claimed_at = statement_timestamp(),
                    lease_seconds = gan_lease_seconds(u.images, me.pace, me.pace_mad, me.lapses,
                        r.lease_seconds),
                    lease_until = statement_timestamp() + make_interval(secs => gan_lease_seconds(u.images,
                        me.pace, me.pace_mad, me.lapses, r.lease_seconds))
                WHERE u.unit = picked
                RETURNING u.unit, u.token, u.iteration, u.first_position, u.images, u.lease_seconds
                INTO unit, token, iteration, first_position, images, lease_seconds;
        END IF;
    END IF;
    IF unit IS NOT NULL THEN
        PERFORM gan_claim_mark_set(r.run, r.iteration, first_position);
        reason := 'work';
        message := format('unit %s of iteration %s', unit, iteration);
        retry_seconds := 0;
        weights_nonce := r.weights_nonce;
        weights_nonce_1 := r.weights_nonce_1;
        weights_nonce_2 := r.weights_nonce_2;
    ELSE
        lease_seconds := r.lease_seconds;
        SELECT n.reason, n.message, n.retry_seconds
            INTO reason, message, retry_seconds
            FROM gan_no_work(r) AS n;
        IF seen.suspended AND reason IN ('waiting', 'paused', 'no_dataset') THEN
            reason := 'suspended';
            message := format('what "%s" has computed is not what others computed of the same images; it gets no more units: ask the instructor',
                session_user);
            retry_seconds := 30;
        ELSIF held_back IS NOT NULL THEN
            message := held_back;
            retry_seconds := held_back_seconds;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION gan_renew(unit bigint, token uuid) RETURNS float8
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ends timestamptz;
BEGIN
    PERFORM gan_require_autocommit('gan_renew'), set_config('synchronous_commit', 'off', true);
    UPDATE gan_work_unit u
        SET lease_until = gan_lease_end(u.claimed_at, u.lease_seconds, r.lease_seconds)
        FROM gan_run r, gan_worker w
        WHERE u.unit = $1
            AND u.token = $2
            AND coalesce(u.state = 'claimed', false)
            AND u.lease_until > statement_timestamp()
            AND r.run = u.run
                AND u.iteration = r.iteration
                AND u.weights_nonce = r.weights_nonce
                AND r.state IN ('running', 'paused')
            AND w.worker = u.worker AND w.login = session_user
            AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit)
            AND (u.audits IS NOT NULL
                OR NOT EXISTS (SELECT
                    FROM gan_work_unit o
                    WHERE o.run = u.run
                        AND o.first_position = u.first_position
                        AND o.state = 'done'))
        RETURNING u.lease_until INTO ends;
    RETURN extract(epoch FROM ends - statement_timestamp());
END
$$;

CREATE FUNCTION gan_release(unit bigint, token uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    freed gan_work_unit;
    whose int;
BEGIN
    PERFORM gan_require_autocommit('gan_release'), set_config('synchronous_commit', 'off', true);
    IF gan_refusal_pending() THEN
        PERFORM gan_note_refusal();
    END IF;
    -- (In one statement where there is nothing but the unit itself to be looked after.)
    UPDATE gan_work_unit u
        SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_seconds = NULL,
            lease_until = NULL
        FROM gan_worker w
        WHERE u.unit = $1
            AND u.token = $2
            AND coalesce(u.state = 'claimed', false)
            AND w.worker = u.worker
            AND w.login = session_user
            AND u.backs_up IS NULL
                AND NOT EXISTS (SELECT FROM gan_work_unit copy WHERE copy.backs_up = u.unit)
        RETURNING u.run, u.iteration, w.worker INTO freed.run, freed.iteration, whose;
    IF NOT FOUND THEN
        SELECT u.* INTO freed FROM gan_work_unit u JOIN gan_worker w ON w.worker = u.worker
            WHERE u.unit = $1
                AND u.token = $2
                AND coalesce(u.state = 'claimed', false)
                AND w.login = session_user
                FOR UPDATE OF u;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        PERFORM gan_put_back(freed);
        whose := freed.worker;
    END IF;
    UPDATE gan_worker w
        SET returns = w.returns + 1
        FROM gan_run r
        WHERE r.run = freed.run AND r.checks_on AND w.worker = whose;
    -- Where another unit is free nobody waits. (Should somebody just be taking that one, those who
    -- wait find this one at their next poll.)
    IF NOT EXISTS (SELECT
        FROM gan_work_unit u
        WHERE u.run = freed.run
            AND u.iteration = freed.iteration
            AND u.state = 'pending'
            AND u.unit <> $1) THEN
        PERFORM gan_wake(freed.run);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION gan_claim(int)
    IS 'Worker: gives a unit with a lease, or the reason why there is none and when to ask again';
COMMENT ON FUNCTION gan_renew(bigint, uuid)
    IS 'Worker: extends a lease; NULL means that it is lost';
COMMENT ON FUNCTION gan_release(bigint, uuid) IS 'Worker: hands a unit back undone';
