-- -------------------------------------------------------------------------------------------------
-- A step that fails, and results that are refused: the unit to blame is found, named and given out
-- again, or the run pauses itself and says why
-- -------------------------------------------------------------------------------------------------

-- Checks a unit's result by itself: what is wrong with it (NULL: nothing), and whether it was
-- damaged after it arrived (src/extension/step/trace.c).
CREATE FUNCTION gan_check_result(run int, unit bigint, gradient_limit float8, OUT damaged boolean,
    OUT what text)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Computes the step from these units alone and throws the outcome away. Raises the error that the
-- step would raise.
CREATE FUNCTION gan_try_step(run int, units bigint[]) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Whether stored data caused an error. Every other cause is temporary: a cancelled statement, lack
-- of memory, a full disk, a lock.
CREATE FUNCTION gan_lies_in_data(state text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
    $$ SELECT left($1, 2) IN ('20', '21', '22', '23', 'P0') OR $1 IN ('XX001', 'XX002') $$;

-- Whether the step fails with these units; why is the error, NULL if it succeeds.
CREATE FUNCTION gan_step_fails(run int, units bigint[], OUT why text)
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    state text;
BEGIN
    PERFORM gan_try_step($1, $2);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, state = RETURNED_SQLSTATE;
    IF NOT gan_lies_in_data(state) THEN
        RAISE;
    END IF;
END
$$;

-- Finds units without which the step succeeds, where each unit is fine by itself. It takes the
-- shortest prefix of the units, in order, with which the step fails: the last unit of that prefix
-- is left out, and the search continues with the rest. The answer is empty if that would leave out
-- more than half of the units, or takes more than 60 tries: then the units are not to blame.
CREATE FUNCTION gan_find_guilty(run int, units bigint[])
    RETURNS TABLE (unit bigint, damaged boolean, what text)
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    left_over bigint[] := $2;
    units_found bigint[] := '{}';
    reasons text[] := '{}';
    tries int := 1;
    why text := gan_step_fails($1, $2);
    low int;  -- the length of a prefix that succeeds
    high int; -- of one that fails
    middle int;
    tried text;
BEGIN
    WHILE why IS NOT NULL LOOP
        low := 0;
        high := cardinality(left_over);
        WHILE high - low > 1 LOOP
            middle := (low + high) / 2;
            tried := gan_step_fails($1, left_over[1:middle]);
            tries := tries + 1;
            IF tried IS NULL THEN
                low := middle;
            ELSE
                high := middle;
                why := tried;
            END IF;
        END LOOP;
        units_found := units_found || left_over[high];
        reasons := reasons || why;
        left_over := left_over[1:high - 1] || left_over[high + 1:];
        IF cardinality(left_over) < cardinality(units_found) OR tries > 60 THEN
            RETURN;
        END IF;
        why := gan_step_fails($1, left_over);
        tries := tries + 1;
    END LOOP;
    RETURN QUERY SELECT f.unit, false, f.why FROM unnest(units_found, reasons) AS f (unit, why);
END
$$;

-- Pauses a run and stores the reason; the instructor reads it in gan_progress, gan_doctor and on
-- the dashboard.
CREATE FUNCTION gan_pause_itself(r gan_run, because text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE gan_run g
        SET state = 'paused', paused_at = coalesce(g.paused_at, clock_timestamp()),
            paused_because = $2
        WHERE g.run = r.run;
    PERFORM gan_note_incident(r.run, r.iteration, NULL, NULL, 'the run has paused itself: ' || $2),
        gan_wake(r.run);
END
$$;

-- Gives out again a unit that made a step fail. If its result was damaged after it arrived, its
-- account is not blamed.
CREATE FUNCTION gan_blame_unit(r gan_run, unit bigint, damaged boolean, what text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    whose name;
BEGIN
    SELECT * INTO STRICT u FROM gan_work_unit w WHERE w.unit = $2 FOR UPDATE;
    SELECT w.login INTO STRICT whose FROM gan_worker w WHERE w.worker = u.worker;
    IF NOT $3 THEN
        PERFORM gan_note_failure(u, 'step_failed', $4);
    END IF;
    PERFORM gan_reopen_unit($2, CASE WHEN NOT $3 THEN whose END);
    PERFORM gan_note_incident(r.run, r.iteration, $2, whose,
        format('the step of iteration %s failed because of unit %s of login "%s": %s; it is given '
            'out again',
            r.iteration, $2, whose, $4));
END
$$;

-- What the instructor can do if no unit is to blame.
CREATE FUNCTION gan_way_out(r gan_run) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE WHEN r.iteration > r.first_iteration
                THEN format('Go back to a checkpoint and take a smaller learning rate: SELECT '
                    'gan_rollback(...) or gan_fork(...); SELECT gan_start(%s) tries again',
                    r.run)
                ELSE format('Make a run with a smaller learning rate, a larger gradient_limit or '
                    'other weights to begin with; SELECT gan_start(%s) tries again',
                    r.run) END
$$;

-- Called after a step that failed because of stored data: finds the unit to blame and gives it out
-- again. If no unit is to blame, all units of the iteration are computed once more, and after the
-- third failure the run pauses itself.
CREATE FUNCTION gan_after_failed_step(r gan_run, state text, message text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    done bigint[];
    f record;
    found text[] := '{}';
    failures int;
BEGIN
    UPDATE gan_run g
        SET step_failures = g.step_failures + 1
        WHERE g.run = r.run
        RETURNING g.step_failures
        INTO failures;
    SELECT coalesce(array_agg(u.unit ORDER BY u.first_position), '{}')
        INTO done
        FROM gan_unit u
        WHERE u.run = r.run AND u.iteration = r.iteration AND u.state = 'done' AND NOT u.replaced;
    FOR f IN SELECT d.unit, c.damaged, c.what
        FROM unnest(done) AS d (unit)
        CROSS JOIN LATERAL gan_check_result(r.run, d.unit, r.gradient_limit) AS c
        WHERE c.what IS NOT NULL LOOP
        PERFORM gan_blame_unit(r, f.unit, f.damaged, f.what);
        found := found || f.unit::text;
    END LOOP;
    IF found = '{}' THEN
        FOR f IN SELECT g.unit, g.damaged, g.what FROM gan_find_guilty(r.run, done) AS g LOOP
            PERFORM gan_blame_unit(r, f.unit, f.damaged, f.what);
            found := found || f.unit::text;
        END LOOP;
    END IF;
    PERFORM gan_wake(r.run);
    IF found <> '{}' AND failures <= 3 + r.units_per_iteration THEN
        RETURN format('%s: iteration %s, the step failed (%s): unit %s is given out again', r.state,
            r.iteration, $3, array_to_string(found, ', '));
    ELSIF failures < 3 THEN
        PERFORM gan_reopen_unit(d) FROM unnest(done) AS d;
        PERFORM gan_note_incident(r.run, r.iteration, NULL, NULL,
            format('the step of iteration %s failed (%s) and no unit is to blame: all %s are '
                'computed once more',
                r.iteration, $3, cardinality(done)));
        RETURN format('%s: iteration %s, the step failed (%s): all units are given out again',
            r.state, r.iteration, $3);
    END IF;
    PERFORM gan_pause_itself(r,
        format('the step of iteration %s failed %s times, the last time because %s. %s',
            r.iteration, failures, $3, gan_way_out(r)));
    RETURN format('paused: the step of iteration %s failed %s times: see gan_progress', r.iteration,
        failures);
END
$$;

-- Takes the step. A step that fails leaves no changes behind.
CREATE FUNCTION gan_take_step(r gan_run) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    state text;
    message text;
BEGIN
    BEGIN
        RETURN gan_aggregate(r.iteration, r.run);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE;
        IF NOT gan_lies_in_data(state) THEN
            RAISE;
        END IF;
    END;
    RETURN gan_after_failed_step(r, state, message);
END
$$;

-- Forgets the refused results, so that a run that paused itself because of them can continue.
CREATE FUNCTION gan_forget_refusals(run int) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    DELETE
        FROM gan_failure f
        USING gan_run r
        WHERE r.run = $1
            AND r.paused_because IS NOT NULL
            AND f.run = $1
            AND f.iteration = r.iteration
            AND f.why <> 'lease_over';
    UPDATE gan_work_unit u
        SET failed_by = NULL
        FROM gan_run r
        WHERE r.run = $1
            AND r.paused_because IS NOT NULL
            AND u.run = $1
            AND u.iteration = r.iteration
            AND u.state = 'pending';
    UPDATE gan_worker w
        SET refusals = 0, refused_at = NULL
        FROM gan_run r
        WHERE r.run = $1 AND r.paused_because IS NOT NULL AND w.run = $1 AND w.refusals > 0
$$;

-- Pauses a run if the results of every account are refused: in this iteration as many in a row as
-- it has units, with none accepted in between, and no other account is left that holds a unit or
-- whose results were accepted before.
CREATE FUNCTION gan_pause_if_refused(r gan_run) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    since timestamptz;
    refused record;
    latest gan_failure;
BEGIN
    IF r.state <> 'running'
        OR NOT EXISTS (SELECT
            FROM gan_failure f
            WHERE f.run = r.run AND f.iteration = r.iteration AND f.why <> 'lease_over') THEN
        RETURN false;
    END IF;
    SELECT coalesce(max(u.submitted_at), '-infinity')
        INTO since
        FROM gan_work_unit u
        WHERE u.run = r.run AND u.iteration = r.iteration AND u.state IN ('done', 'checked');
    SELECT sum(f.times) AS times, array_agg(DISTINCT f.login) AS logins INTO refused
        FROM gan_failure f
            WHERE f.run = r.run
                AND f.iteration = r.iteration
                AND f.why <> 'lease_over'
                AND f.failed_at > since;
    IF coalesce(refused.times, 0) < r.units_per_iteration
       OR EXISTS (SELECT FROM gan_work_unit u JOIN gan_worker w ON w.worker = u.worker
                  WHERE u.run = r.run
                      AND u.iteration = r.iteration
                      AND u.state = 'claimed'
                      AND u.lease_until > clock_timestamp()
                      AND w.login <> ALL (refused.logins))
       OR EXISTS (SELECT
           FROM gan_workers_about(r.run) AS w
           WHERE w.login <> ALL (refused.logins) AND gan_accepted(r.run, w.login) > 0) THEN
        RETURN false;
    END IF;
    SELECT f.*
        INTO latest
        FROM gan_failure f
        WHERE f.run = r.run AND f.iteration = r.iteration AND f.why <> 'lease_over'
        ORDER BY f.failed_at DESC
        LIMIT 1;
    PERFORM gan_pause_itself(r,
        format('%s results of iteration %s in a row were refused, the last one (unit %s) because '
            '%s. %s',
            refused.times, r.iteration, latest.unit, latest.detail, gan_way_out(r)));
    RETURN true;
END
$$;
