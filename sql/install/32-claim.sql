-- ---------------------------------------------------------------------------------------------------------------------
-- Claims, and what is made of them
-- ---------------------------------------------------------------------------------------------------------------------

-- Where this session's last claim found its unit (gan_claim begins its search behind it), and noting it.
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
BEGIN
    reason := CASE r.state WHEN 'running' THEN 'waiting' WHEN 'created' THEN 'not_started' ELSE r.state END;
    -- Only the safety net: waiting workers are woken by gan_wake.
    retry_seconds := CASE reason WHEN 'waiting' THEN 1 WHEN 'finished' THEN 0 WHEN 'stopped' THEN 0 ELSE 2 END;
    IF reason = 'waiting' THEN
        SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'claimed') INTO done, claimed
            FROM gan_work_unit u WHERE u.run = r.run AND u.iteration = r.iteration;
        message := CASE WHEN done >= r.quorum THEN format('iteration %s is complete, waiting for the coordinator''s step', r.iteration)
                        ELSE format('iteration %s: %s of %s units are in, %s in work', r.iteration, done, r.quorum, claimed) END;
    ELSE
        message := format('run "%s" %s', r.name, CASE reason WHEN 'not_started' THEN 'has not been started yet' WHEN 'paused' THEN 'is paused'
            WHEN 'finished' THEN format('is finished after %s iterations', r.iteration) ELSE format('was stopped after %s iterations', r.iteration) END);
    END IF;
END
$$;

-- A claim that a crash of the server takes back costs a unit's work and nothing else, so its commit waits for no disk. A submission's
-- does: an acknowledged one is durable, and with it all that was written before it.
CREATE FUNCTION gan_claim(worker int)
    RETURNS TABLE (unit bigint, token uuid, iteration int, first_position bigint, images int, lease_seconds float8, reason text, message text, retry_seconds float8)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    seen timestamptz;
    mark bigint;
BEGIN
    PERFORM gan_require_autocommit('gan_claim'), set_config('synchronous_commit', 'off', true);
    -- The worker's row stays locked until the end: it has one claim at a time.
    SELECT w.last_seen INTO seen FROM gan_worker w WHERE w.worker = $1 AND w.login = session_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login "%" has no worker %', session_user, coalesce($1::text, 'NULL')
            USING ERRCODE = 'insufficient_privilege', HINT = 'Call gan_join first; it returns the number.';
    END IF;
    IF seen < statement_timestamp() - interval '1 s' THEN
        UPDATE gan_worker w SET last_seen = statement_timestamp() WHERE w.worker = $1;
    END IF;
    SELECT g.* INTO STRICT r FROM gan_worker w JOIN gan_run g ON g.run = w.run WHERE w.worker = $1;
    lease_seconds := r.lease_seconds;
    IF r.state = 'running' THEN
        PERFORM FROM gan_work_unit u WHERE u.worker = $1 AND u.state = 'claimed';
        IF FOUND THEN
            -- What the worker holds already comes first, under a new token: after a crash or a lost answer it goes on with it.
            UPDATE gan_work_unit u SET token = gen_random_uuid(), lease_until = statement_timestamp() + make_interval(secs => r.lease_seconds)
                WHERE u.worker = $1 AND u.state = 'claimed' AND u.iteration = r.iteration AND u.lease_until > statement_timestamp()
                RETURNING u.unit, u.token, u.iteration, u.first_position, u.images INTO unit, token, iteration, first_position, images;
            IF unit IS NULL THEN
                UPDATE gan_work_unit u SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL
                    WHERE u.worker = $1 AND u.state = 'claimed';
            END IF;
        END IF;
        -- (Here and elsewhere, coalesce keeps the planner from looking for a unit in an index that only holds pending or claimed
        -- ones: at the last ANALYZE there may have been none of them.)
        -- The next free unit behind this session's last one, then from the beginning. Rows that were claimed meanwhile leave dead
        -- index entries behind, for as long as anybody's old snapshot keeps them: this way a session passes each but once.
        mark := gan_claim_mark(r.run, r.iteration);
        WHILE unit IS NULL LOOP
            WITH next AS MATERIALIZED (
                SELECT free.unit
                FROM (SELECT p.unit FROM gan_work_unit p
                      WHERE p.run = r.run AND p.iteration = r.iteration AND p.state = 'pending' AND p.first_position > mark
                      ORDER BY p.first_position LIMIT 100) AS candidate
                CROSS JOIN LATERAL (SELECT f.unit FROM gan_work_unit f
                                    WHERE f.unit = candidate.unit AND f.iteration = r.iteration AND coalesce(f.state = 'pending', false)
                                    FOR UPDATE SKIP LOCKED) AS free
                LIMIT 1)
            UPDATE gan_work_unit u SET state = 'claimed', worker = $1, token = gen_random_uuid(), attempts = u.attempts + 1,
                    claimed_at = statement_timestamp(), lease_until = statement_timestamp() + make_interval(secs => r.lease_seconds)
                FROM next WHERE u.unit = next.unit
                RETURNING u.unit, u.token, u.iteration, u.first_position, u.images INTO unit, token, iteration, first_position, images;
            EXIT WHEN unit IS NOT NULL OR mark < 0;
            mark := -1;
        END LOOP;
    END IF;
    IF unit IS NOT NULL THEN
        PERFORM gan_claim_mark_set(r.run, r.iteration, first_position);
        reason := 'work';
        message := format('unit %s of iteration %s', unit, iteration);
        retry_seconds := 0;
    ELSE
        SELECT n.reason, n.message, n.retry_seconds INTO reason, message, retry_seconds FROM gan_no_work(r) AS n;
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION gan_renew(unit bigint, token uuid) RETURNS float8
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    seconds float8;
BEGIN
    PERFORM gan_require_autocommit('gan_renew'), set_config('synchronous_commit', 'off', true);
    UPDATE gan_work_unit u SET lease_until = statement_timestamp() + make_interval(secs => r.lease_seconds)
        FROM gan_run r, gan_worker w
        WHERE u.unit = $1 AND u.token = $2 AND coalesce(u.state = 'claimed', false) AND u.lease_until > statement_timestamp()
            AND r.run = u.run AND u.iteration = r.iteration AND r.state IN ('running', 'paused')
            AND w.worker = u.worker AND w.login = session_user
            AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit)
        RETURNING r.lease_seconds INTO seconds;
    RETURN seconds;
END
$$;

CREATE FUNCTION gan_release(unit bigint, token uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    freed record;
BEGIN
    PERFORM gan_require_autocommit('gan_release'), set_config('synchronous_commit', 'off', true);
    UPDATE gan_work_unit u SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL
        FROM gan_worker w
        WHERE u.unit = $1 AND u.token = $2 AND coalesce(u.state = 'claimed', false) AND w.worker = u.worker AND w.login = session_user
        RETURNING u.run, u.iteration INTO freed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Where another unit is free nobody waits. (Should somebody just be taking that one, those who wait find this one at their next poll.)
    IF NOT EXISTS (SELECT FROM gan_work_unit u WHERE u.run = freed.run AND u.iteration = freed.iteration AND u.state = 'pending' AND u.unit <> $1) THEN
        PERFORM gan_wake(freed.run);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION gan_claim(int) IS 'Worker: gives a unit with a lease, or the reason why there is none and when to ask again';
COMMENT ON FUNCTION gan_renew(bigint, uuid) IS 'Worker: extends a lease; NULL means that it is lost';
COMMENT ON FUNCTION gan_release(bigint, uuid) IS 'Worker: hands a unit back undone';
