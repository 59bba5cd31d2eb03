-- -------------------------------------------------------------------------------------------------
-- Spot checks: a second account computes a share of the units, and the results are compared; what
-- that tells about accounts
-- -------------------------------------------------------------------------------------------------

-- (BOINC's adaptive replication: the share of an account's units that are computed twice falls with
-- the checks in a row that agreed.)
CREATE TABLE gan_trust (
    run          int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    login        name NOT NULL,
    -- trusted by the instructor: not checked, and right if others differ
    trusted      boolean NOT NULL DEFAULT false,
    -- units that others computed again, by verdict:
    checked      int NOT NULL DEFAULT 0 CHECK (checked >= 0),
    agreed       int NOT NULL DEFAULT 0 CHECK (agreed >= 0),
    -- this account was wrong, as the one that was checked or the one that checked
    disagreed    int NOT NULL DEFAULT 0 CHECK (disagreed >= 0),
    unclear      int NOT NULL DEFAULT 0 CHECK (unclear >= 0),   -- unclear which was wrong
    streak       int NOT NULL DEFAULT 0 CHECK (streak >= 0),    -- checks in a row that agreed
    -- units of others that it computed again, correctly
    checks       int NOT NULL DEFAULT 0 CHECK (checks >= 0),
    check_images bigint NOT NULL DEFAULT 0 CHECK (check_images >= 0),
    suspended    boolean NOT NULL DEFAULT false,
    suspended_at timestamptz,
    PRIMARY KEY (run, login),
    CHECK (NOT suspended OR suspended_at IS NOT NULL)
);

-- A row for each unit that is, or was, computed again.
CREATE TABLE gan_audit (
    run            int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    unit           bigint NOT NULL,
    iteration      int NOT NULL CHECK (iteration >= 0),
    first_position bigint NOT NULL CHECK (first_position >= 0),
    opened_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- results of different accounts that were compared
    results        int NOT NULL DEFAULT 0 CHECK (results >= 0),
    -- between the two results that differ most: relative L2 error, and cosine
    error          float8,
    cosine         float8,
    verdict        text CHECK (verdict IN ('agreed', 'wrong', 'unclear', 'abandoned')),
    -- the accounts that were wrong; if that is unclear, all
    logins         name[] NOT NULL DEFAULT '{}',
    decided_at     timestamptz,
    PRIMARY KEY (unit, iteration),
    CHECK ((verdict IS NULL) = (decided_at IS NULL))
);
CREATE INDEX gan_audit_open ON gan_audit (run) WHERE verdict IS NULL;
CREATE INDEX gan_audit_iteration ON gan_audit (run, iteration);
CREATE INDEX gan_work_unit_audits ON gan_work_unit (audits) WHERE audits IS NOT NULL;

SELECT pg_catalog.pg_extension_config_dump('gan_trust', '');
SELECT pg_catalog.pg_extension_config_dump('gan_audit', '');

-- Compares the results of two units of the same images, iteration and weights
-- (src/extension/extras/audit.c).
CREATE FUNCTION gan_compare_results(run int, iteration int, one bigint, other bigint,
    OUT error float8, OUT cosine float8)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Whether two results come from the same work. Honest float32 gradients differ by rounding, which
-- ReLU's kinks and small minibatches amplify: by up to 0.016 between two kinds of processor. With
-- local steps the difference grows, because Adam's first steps follow the sign of a gradient. An
-- int8 upload is rounded and also contains the rounding error of its worker's last unit: up to 0.08
-- (docs/security.md). Made-up results differ by 1 or more, so the limits are generous: suspending
-- an honest account is worse than finding a cheat later.
CREATE FUNCTION gan_results_agree(local_steps int, upload_element text, error float8, cosine float8)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN $1 > 0 THEN $3 <= 0.5
        AND $4 >= 0.85 WHEN $2 = 'int8' THEN $3 <= 0.25
        AND $4 >= 0.96 ELSE $3 <= 0.1
        AND $4 >= 0.99 END
$$;

-- The share of an account's units that is checked.
CREATE FUNCTION gan_check_share(streak int, trusted boolean, audit_minimum float8) RETURNS float8
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
    $$ SELECT CASE WHEN $2
        OR $3 <= 0 THEN 0 ELSE greatest($3, 1.0::float8 / (1 + coalesce($1, 0))) END $$;

-- Draws whether a unit is checked. It uses a cryptographic random number, because a student can set
-- the seed of random() in their session.
CREATE FUNCTION gan_draws_check(streak int, trusted boolean, audit_minimum float8) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    RETURN (gan_nonce() & 1073741823) / 1073741824.0::float8 < gan_check_share($1, $2, $3);
END
$$;

-- Decides, when an iteration opens, whether it has spot checks. With fewer than three active
-- accounts there is no majority, and after more than 40 local steps honest results of
-- different processors may differ too much.
CREATE FUNCTION gan_turn_checks(run int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE gan_run r
        SET checks_on = NOT r.checks_on
        WHERE r.run = $1
            AND r.checks_on IS DISTINCT FROM (r.audit_minimum > 0
                AND r.local_steps * CASE r.unit_sizing WHEN 'measured' THEN 4 ELSE 1 END <= 40
                AND (
        SELECT count(DISTINCT w.login) FROM gan_workers_about($1) AS w
        WHERE NOT EXISTS (SELECT
            FROM gan_trust t
            WHERE t.run = $1 AND t.login = w.login AND t.suspended)) >= 3);
END
$$;

-- Makes a unit of the same images for an account that is not one of these.
CREATE FUNCTION gan_copy_to_check(unit bigint, not_by name[]) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    INSERT INTO gan_work_unit (run, iteration, first_position, images, failed_by, audits)
        SELECT u.run, u.iteration, u.first_position, u.images, $2, u.unit
            FROM gan_work_unit u
            WHERE u.unit = $1
$$;

-- Opens a spot check of a unit. If another unit of the iteration is still free, that one moves to
-- the next iteration, so that an iteration with spot checks is no more work and takes no longer.
CREATE FUNCTION gan_open_check(r gan_run, unit bigint, login name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT
        INTO gan_audit (run, unit, iteration, first_position) SELECT u.run, u.unit, u.iteration,
            u.first_position
        FROM gan_work_unit u
        WHERE u.unit = $2
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN; -- somebody is already checking it
    END IF;
    PERFORM gan_copy_to_check($2, ARRAY[$3]);
    UPDATE gan_work_unit w
        SET iteration = r.iteration + 1
        WHERE r.iteration + 1 < r.target_iterations AND w.unit IN (
        SELECT u.unit
            FROM gan_unit u
            WHERE u.run = r.run
                AND u.iteration = r.iteration
                AND u.state = 'pending'
                AND u.attempts = 0
                AND num_nonnulls(u.backs_up, u.replaces) = 0
                AND NOT u.is_check
                AND NOT u.replaced
            ORDER BY u.first_position DESC LIMIT 1 FOR UPDATE SKIP LOCKED);
END
$$;

-- Withdraws spot checks that nobody has begun and whose unit was given back, so that there is no
-- result to compare. A unit that was moved to the next iteration for such a check comes back.
CREATE FUNCTION gan_withdraw_checks(r gan_run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a gan_audit;
BEGIN
    FOR a IN SELECT c.*
        FROM gan_audit c
        JOIN gan_work_unit u ON u.unit = c.unit
            AND u.iteration = c.iteration
            AND u.state = 'pending'
        WHERE c.run = r.run AND c.iteration = r.iteration AND c.verdict IS NULL
            AND NOT EXISTS (SELECT
                FROM gan_work_unit k
                WHERE k.audits = c.unit AND k.iteration = c.iteration AND k.state <> 'pending') LOOP
        DELETE FROM gan_work_unit w WHERE w.unit IN (
            SELECT k.unit
                FROM gan_work_unit k
                WHERE k.audits = a.unit
                    AND k.iteration = a.iteration
                    AND k.state = 'pending'
                FOR UPDATE SKIP LOCKED);
        -- just claimed
        CONTINUE
            WHEN EXISTS (SELECT
                FROM gan_work_unit k
                WHERE k.audits = a.unit AND k.iteration = a.iteration);
        DELETE FROM gan_audit c WHERE c.unit = a.unit AND c.iteration = a.iteration;
        PERFORM gan_take_from_next(r);
    END LOOP;
END
$$;

-- Takes back a unit that a spot check moved to the next iteration; returns it locked.
CREATE FUNCTION gan_take_from_next(r gan_run) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    taken bigint;
BEGIN
    UPDATE gan_work_unit w SET iteration = r.iteration WHERE w.unit = (
        SELECT u.unit
            FROM gan_unit u
            WHERE u.run = r.run
                AND u.iteration = r.iteration + 1
                AND u.state = 'pending'
                AND NOT u.is_check
            ORDER BY u.first_position LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING w.unit INTO taken;
    RETURN taken;
END
$$;

-- Finds a unit for a login that finds none because the last free one was moved to the next
-- iteration for a spot check of its own work, which nobody has begun. It gets that unit; otherwise
-- it could tell that it is checked.
CREATE FUNCTION gan_pick_hidden(r gan_run, login name) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF r.checks_on
        AND EXISTS (SELECT
            FROM gan_work_unit k
            WHERE k.run = r.run
                AND k.iteration = r.iteration
                AND k.state = 'pending'
                               AND k.audits IS NOT NULL AND $2 = ANY (k.failed_by)
                               AND NOT EXISTS (SELECT
                                   FROM gan_work_unit o
                                   WHERE o.audits = k.audits
                                       AND o.iteration = k.iteration
                                       AND o.unit <> k.unit)) THEN
        RETURN gan_take_from_next(r);
    END IF;
    RETURN NULL;
END
$$;

-- Draws which units are checked, once for each login that holds one. This happens in the
-- coordinator's tick, so that a login can't notice it by a notification, by statistics or by the
-- duration of its own calls. If a login has given units back since its last finished one, its units
-- are only drawn once it has begun to upload: claims alone must not make work for others.
CREATE FUNCTION gan_draw_checks(r gan_run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u record;
    free boolean;
    drawn boolean := false;
BEGIN
    IF NOT r.checks_on THEN
        RETURN;
    END IF;
    PERFORM gan_withdraw_checks(r);
    free := EXISTS (SELECT
        FROM gan_work_unit w
        WHERE w.run = r.run AND w.iteration = r.iteration AND w.state = 'pending');
    FOR u IN SELECT w.unit, m.login, m.login = ANY (w.checked_for) AS again,
        gan_draws_check(t.streak, t.trusted, r.audit_minimum) AS checks
        FROM gan_unit w
            JOIN gan_worker m ON m.worker = w.worker
            LEFT JOIN gan_trust t ON t.run = m.run AND t.login = m.login
        WHERE w.run = r.run
            AND w.iteration = r.iteration
            AND w.state IN ('claimed', 'done')
            AND NOT w.is_check
            AND (m.login <> ALL (coalesce(w.drawn_for, '{}'))
                 OR (m.login = ANY (w.checked_for)
                     AND NOT EXISTS (SELECT
                         FROM gan_audit c
                         WHERE c.unit = w.unit AND c.iteration = w.iteration)))
            AND (w.state = 'done'
                OR NOT EXISTS (SELECT
                    FROM gan_worker o
                    WHERE o.run = m.run AND o.login = m.login AND o.returns > 0)
                 OR (gan_uploaded(w.unit, w.token)).parts > 0)
        ORDER BY w.first_position FOR UPDATE OF w SKIP LOCKED LOOP
        drawn := true;
        IF u.again IS NOT TRUE THEN
            UPDATE gan_work_unit w SET drawn_for = array_append(w.drawn_for, u.login),
                    checked_for = CASE
                        WHEN u.checks THEN array_append(w.checked_for, u.login)
                        ELSE w.checked_for END
                        WHERE w.unit = u.unit;
        END IF;
        IF u.again OR u.checks THEN
            PERFORM gan_open_check(r, u.unit, u.login);
        END IF;
    END LOOP;
    -- wakes waiting workers whether or not there is a check: they must not notice that, either
    IF drawn AND NOT free THEN
        PERFORM gan_wake(r.run);
    END IF;
END
$$;

-- The submitted results of a case: one for each account, the one to be averaged first. Suspended
-- accounts are left out.
CREATE FUNCTION gan_audit_results(a gan_audit)
    RETURNS TABLE (unit bigint, login name, averaged boolean, trusted boolean, images int)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT f.unit, f.login, f.averaged, f.trusted, f.images FROM (
        SELECT DISTINCT ON (w.login) u.unit, w.login, u.state = 'done' AS averaged,
            coalesce(t.trusted, false) AS trusted, u.images::int
        FROM gan_work_unit u
            JOIN gan_worker w ON w.worker = u.worker
            LEFT JOIN gan_trust t ON t.run = u.run AND t.login = w.login
        WHERE u.run = a.run
            AND u.iteration = a.iteration
            AND u.first_position = a.first_position
            AND u.state IN ('done', 'checked')
            AND t.suspended IS NOT TRUE AND (gan_uploaded(u.unit, u.token)).missing = 0
        ORDER BY w.login, u.state = 'done' DESC, u.unit) AS f
        ORDER BY f.averaged DESC, f.unit;
END
$$;

-- Records the outcome of a check for the accounts that were right.
CREATE FUNCTION gan_note_right(run int, login name, averaged boolean, images int) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    INSERT INTO gan_trust AS t (run, login, checked, agreed, streak, checks, check_images)
        VALUES ($1, $2, $3::int, $3::int, $3::int, 1 - $3::int, CASE WHEN $3 THEN 0 ELSE $4 END)
        ON CONFLICT (run, login)
            DO UPDATE
            SET checked = t.checked + excluded.checked, agreed = t.agreed + excluded.agreed,
            streak = t.streak + excluded.streak, checks = t.checks + excluded.checks,
                check_images = t.check_images + excluded.check_images
$$;

-- Where there is no majority, records that for all accounts of the case: each will be checked as if
-- it were new.
CREATE FUNCTION gan_note_unclear(run int, logins name[]) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    INSERT INTO gan_trust AS t (run, login, unclear) SELECT $1, l, 1 FROM unnest($2) AS l
        ON CONFLICT (run, login) DO UPDATE SET unclear = t.unclear + 1, streak = 0
$$;

-- Suspends accounts: they get no more units.
CREATE FUNCTION gan_suspend(run int, logins name[], averaged name) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    INSERT INTO gan_trust AS t (run, login, checked, disagreed, suspended, suspended_at)
        SELECT $1, l, coalesce(l = $3, false)::int, 1, true, clock_timestamp() FROM unnest($2) AS l
        ON CONFLICT (run, login)
            DO UPDATE
            SET checked = t.checked + excluded.checked, disagreed = t.disagreed + 1, streak = 0,
                suspended = true, suspended_at = excluded.suspended_at
$$;

-- Gives out again the units that suspended accounts hold or have submitted for this iteration, so
-- that none of them is averaged.
CREATE FUNCTION gan_drop_suspended(r gan_run) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    whose name;
    dropped int := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM gan_trust t WHERE t.run = r.run AND t.suspended) THEN
        RETURN 0;
    END IF;
    FOR u IN SELECT w.*
        FROM gan_work_unit w
        JOIN gan_worker m ON m.worker = w.worker
        JOIN gan_trust t ON t.run = m.run AND t.login = m.login AND t.suspended
        WHERE w.run = r.run AND w.iteration = r.iteration AND w.state IN ('claimed', 'done')
            ORDER BY w.unit
            FOR UPDATE OF w SKIP LOCKED LOOP
        SELECT m.login INTO STRICT whose FROM gan_worker m WHERE m.worker = u.worker;
        IF u.state = 'claimed' THEN
            PERFORM gan_put_back(u);
        ELSE
            PERFORM gan_reopen_unit(u.unit, whose);
        END IF;
        dropped := dropped + 1;
    END LOOP;
    IF dropped > 0 THEN
        PERFORM gan_wake(r.run);
    END IF;
    RETURN dropped;
END
$$;

-- Stores a verdict and carries out its consequences.
CREATE FUNCTION gan_decide(a gan_audit, verdict text, logins name[] DEFAULT '{}',
    results int DEFAULT 0, error float8 DEFAULT NULL, cosine float8 DEFAULT NULL,
                           averaged name DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE gan_audit c
        SET verdict = $2, logins = $3, results = $4, error = $5, cosine = $6,
            decided_at = clock_timestamp()
        WHERE c.unit = a.unit AND c.iteration = a.iteration;
    IF $2 = 'unclear' THEN
        PERFORM gan_note_unclear(a.run, $3);
    ELSIF $2 = 'wrong' THEN
        PERFORM gan_suspend(a.run, $3, $7);
        RAISE WARNING 'run %: unit % was computed by % accounts, and % was wrong', a.run,
            a.unit, $4, array_to_string($3, ', ')
            USING DETAIL = format('Relative error up to %s, cosine down to %s.', $5::numeric(20, 6),
                $6::numeric(20, 6)),
                  HINT = 'The account gets no more units. Look at gan_trust_report; SELECT '
                      'gan_forgive(login) lifts it.';
    END IF;
END
$$;

-- Asks a third (or fourth ...) account to compute a unit on which the others differ; false if no
-- other account is active, or four have computed it already.
CREATE FUNCTION gan_ask_another(a gan_audit, logins name[]) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    not_by name[];
BEGIN
    SELECT $2 || array_agg(DISTINCT m.login) FILTER (WHERE m.login <> ALL ($2)) INTO not_by
        FROM gan_work_unit u
            JOIN gan_worker m ON m.worker = u.worker
            WHERE u.run = a.run
                AND u.iteration = a.iteration
                AND u.first_position = a.first_position;
    IF (SELECT count(*)
        FROM gan_work_unit u
        WHERE u.audits = a.unit AND u.iteration = a.iteration) >= 4
       OR NOT EXISTS (SELECT FROM gan_workers_about(a.run) AS w WHERE w.login <> ALL (not_by)
                      AND NOT EXISTS (SELECT
                          FROM gan_trust t
                          WHERE t.run = a.run AND t.login = w.login AND t.suspended)) THEN
        RETURN false;
    END IF;
    PERFORM gan_copy_to_check(a.unit, not_by), gan_wake(a.run);
    RETURN true;
END
$$;

-- Judges one case once all its copies are submitted, or when no more will come (last). Two accounts
-- that agree are right, and so is one that the instructor trusts.
CREATE FUNCTION gan_judge_check(r gan_run, a gan_audit, last boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    units bigint[];
    logins name[];
    averaged boolean[];
    trusted boolean[];
    images int[];
    n int;
    apart record;
    agree boolean[];
    votes int[];
    best int;
    wrong name[] := '{}';
    error float8 := 0;
    cosine float8 := 1;
BEGIN
    SELECT array_agg(f.unit), array_agg(f.login), array_agg(f.averaged), array_agg(f.trusted),
        array_agg(f.images), count(*)
        INTO units, logins, averaged, trusted, images, n FROM gan_audit_results(a) AS f;
    IF n = 0 OR NOT averaged[1] THEN -- it was put back meanwhile
        IF last THEN
            PERFORM gan_decide(a, 'abandoned');
        END IF;
        RETURN;
    END IF;
    votes := array_fill(0, ARRAY[n]);
    agree := array_fill(false, ARRAY[n, n]);
    FOR i IN 1..n LOOP
        agree[i][i] := true;
        FOR j IN i + 1..n LOOP
            SELECT * INTO apart FROM gan_compare_results(r.run, a.iteration, units[i], units[j]);
            error := greatest(error, apart.error);
            cosine := least(cosine, apart.cosine);
            IF gan_results_agree(r.local_steps, r.upload_element, apart.error, apart.cosine) THEN
                agree[i][j] := true;
                agree[j][i] := true;
                votes[i] := votes[i] + 1;
                votes[j] := votes[j] + 1;
            END IF;
        END LOOP;
    END LOOP;
    SELECT k
        INTO best
        FROM generate_series(1, n) AS k
        WHERE n > 1 AND (trusted[k] OR votes[k] > 0)
        ORDER BY trusted[k] DESC, votes[k] DESC, k
        LIMIT 1;
    IF best IS NULL THEN
        IF last OR NOT gan_ask_another(a, logins) THEN
            PERFORM gan_decide(a, CASE WHEN n > 1 THEN 'unclear' ELSE 'abandoned' END,
                CASE WHEN n > 1 THEN logins ELSE '{}' END, n, error, cosine);
        END IF;
        RETURN;
    END IF;
    FOR k IN 1..n LOOP
        IF agree[best][k] THEN
            PERFORM gan_note_right(r.run, logins[k], averaged[k], images[k]);
        ELSE
            wrong := wrong || logins[k];
        END IF;
    END LOOP;
    PERFORM gan_decide(a, CASE WHEN wrong = '{}' THEN 'agreed' ELSE 'wrong' END, wrong, n, error,
        cosine, logins[1]);
END
$$;

-- Judges the cases of the current iteration that can be judged now.
CREATE FUNCTION gan_judge_checks(r gan_run) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a gan_audit;
BEGIN
    FOR a IN SELECT c.*
        FROM gan_audit c
        WHERE c.run = r.run AND c.verdict IS NULL AND c.iteration = r.iteration
            AND EXISTS (SELECT
                FROM gan_work_unit u
                WHERE u.run = c.run
                    AND u.iteration = c.iteration
                    AND u.first_position = c.first_position
                    AND u.state = 'done')
            AND NOT EXISTS (SELECT
                FROM gan_work_unit u
                WHERE u.audits = c.unit
                    AND u.iteration = c.iteration
                    AND u.state IN ('pending', 'claimed'))
        ORDER BY c.unit LOOP
        PERFORM gan_judge_check(r, a, false);
    END LOOP;
    PERFORM gan_drop_suspended(r);
END
$$;

-- Whether the step waits for spot checks, so that wrong results do not get into the model. It
-- waits, from the last submission on, up to twice as long as the slowest unit of the iteration
-- took, and no longer than a lease.
CREATE FUNCTION gan_checks_hold(r gan_run) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last timestamptz;
    slowest interval;
BEGIN
    IF NOT EXISTS (SELECT
        FROM gan_audit c
        JOIN gan_work_unit u ON u.audits = c.unit AND u.iteration = c.iteration
                   WHERE c.run = r.run
                       AND c.verdict IS NULL
                       AND c.iteration = r.iteration
                       AND u.state IN ('pending', 'claimed')
                       AND EXISTS (SELECT
                           FROM gan_work_unit o
                           WHERE o.run = c.run
                               AND o.first_position = c.first_position
                               AND o.iteration = c.iteration
                               AND o.state = 'done')) THEN
        RETURN false;
    END IF;
    SELECT max(u.submitted_at), max(u.submitted_at - u.claimed_at) INTO last, slowest
        FROM gan_work_unit u
            WHERE u.run = r.run AND u.iteration = r.iteration AND u.state IN ('done', 'checked');
    RETURN clock_timestamp() BETWEEN last - interval '1 s' AND last +
        least(make_interval(secs => r.lease_seconds),
        greatest(interval '2 s', 2 * slowest));
END
$$;

-- Ends an iteration's cases with its step. A worker that still computes a copy is told that its
-- images are done, and loses nothing.
CREATE FUNCTION gan_end_checks(run int, iteration int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a gan_audit;
    u gan_work_unit;
    r gan_run;
BEGIN
    IF NOT EXISTS (SELECT FROM gan_audit c WHERE c.run = $1 AND c.iteration = $2) THEN
        RETURN;
    END IF;
    SELECT * INTO STRICT r FROM gan_run g WHERE g.run = $1;
    FOR a IN SELECT c.*
        FROM gan_audit c
        WHERE c.run = $1 AND c.verdict IS NULL AND c.iteration = $2
        ORDER BY c.unit LOOP
        PERFORM gan_judge_check(r, a, true);
    END LOOP;
    FOR u IN SELECT *
        FROM gan_work_unit w
        WHERE w.run = $1
            AND w.iteration = $2
            AND w.audits IS NOT NULL
            AND w.state IN ('pending', 'claimed')
        FOR UPDATE SKIP LOCKED LOOP
        IF u.state = 'claimed' THEN
            PERFORM gan_note_beaten(u.unit);
        ELSE
            DELETE FROM gan_work_unit w WHERE w.unit = u.unit;
        END IF;
    END LOOP;
    -- verdicts stay
    DELETE
        FROM gan_audit c
        WHERE c.run = $1 AND c.iteration < $2 - 1000 AND c.verdict IN ('agreed', 'abandoned');
END
$$;

-- Declares a login trusted: its results are right even if others differ.
CREATE FUNCTION gan_trust_login(login name, run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int := gan_the_run($2);
BEGIN
    PERFORM gan_require($1 IS NOT NULL, 'login', NULL, 'given', '''alice''');
    INSERT
        INTO gan_trust AS t (run, login, trusted)
        VALUES (wanted, $1, true)
        ON CONFLICT (run, login)
        DO UPDATE
        SET trusted = true, suspended = false, suspended_at = NULL;
    PERFORM gan_wake(wanted);
    RETURN format('%s is trusted in run %s', $1, wanted);
END
$$;

-- Lets a suspended login work again. It is checked like a new one, and is no longer trusted.
CREATE FUNCTION gan_forgive(login name, run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int := gan_the_run($2);
BEGIN
    UPDATE gan_trust t
        SET suspended = false, suspended_at = NULL, trusted = false, streak = 0
        WHERE t.run = wanted AND t.login = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'nothing is known of login "%" in run %', coalesce($1::text, 'NULL'), wanted
            USING ERRCODE = 'undefined_object',
                HINT = 'SELECT * FROM gan_trust_report lists the accounts.';
    END IF;
    PERFORM gan_wake(wanted);
    RETURN format('%s gets units of run %s again', $1, wanted);
END
$$;

-- Sets the share of units that is always checked; from the next iteration on.
CREATE FUNCTION gan_set_audit_minimum(share float8, run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int := gan_the_run($2);
BEGIN
    PERFORM gan_require($1 BETWEEN 0 AND 1, 'share', $1::text, 'between 0 (no spot checks) and 1',
        '0.05');
    UPDATE gan_run r
        SET audit_minimum = $1, checks_on = r.checks_on AND $1 > 0
        WHERE r.run = wanted;
    RETURN format('at least %s %% of the units of run %s are checked if three accounts are active',
        round((100 * $1)::numeric, 1), wanted);
END
$$;

-- For the instructor: what spot checks have found out about each account.
CREATE VIEW gan_trust_report AS
    SELECT r.run, a.login, a.units, coalesce(t.checked, 0) AS checked,
        coalesce(t.agreed, 0) AS agreed, coalesce(t.disagreed, 0) AS disagreed,
           coalesce(t.unclear, 0) AS unclear,
               gan_check_share(t.streak, coalesce(t.trusted, false),
                   r.audit_minimum) AS share_checked,
           coalesce(t.checks, 0) AS checks, coalesce(t.check_images, 0) AS check_images,
               coalesce(t.trusted, false) AS trusted,
           coalesce(t.suspended, false) AS suspended, t.suspended_at
    FROM gan_run r
    JOIN (SELECT w.run, w.login, sum(w.units)::bigint AS units
        FROM gan_worker w
        GROUP BY w.run, w.login) AS a ON a.run = r.run
    LEFT JOIN gan_trust t ON t.run = a.run AND t.login = a.login
    ORDER BY r.run, coalesce(t.suspended, false) DESC, a.login;

COMMENT ON TABLE gan_trust IS 'What spot checks have found out about each account';
COMMENT ON TABLE gan_audit
    IS 'Units that a second account computed, and whether the results agreed';
COMMENT ON VIEW gan_trust_report
    IS 'For the instructor: each account''s units and spot checks, the share that is checked, '
        'whether it is suspended';
COMMENT ON FUNCTION gan_trust_login(name, int)
    IS 'Declares a login trusted: its results are right even if others differ';
COMMENT ON FUNCTION gan_forgive(name, int) IS 'Gives a suspended login work again';
COMMENT ON FUNCTION gan_set_audit_minimum(float8, int)
    IS 'Sets the share of units that is always spot-checked';
COMMENT ON FUNCTION gan_compare_results(int, int, bigint, bigint)
    IS 'How far two results of the same images differ: relative L2 error and cosine, the worst '
        'of G, D and statistics';
