-- -------------------------------------------------------------------------------------------------
-- Sessions: expelling a student, and ending sessions that block others
-- -------------------------------------------------------------------------------------------------

-- Tells whether students' sessions are guarded (docs/security.md): 'on', 'off' or 'not loaded'.
CREATE FUNCTION gan_guard() RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME';

-- Makes a login's claimed units, and the units that it submitted for steps not yet taken, pending
-- again. The login's sessions have ended, so these units are not locked for long.
CREATE FUNCTION gan_put_back_all(login name) RETURNS bigint
    LANGUAGE plpgsql STRICT
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u gan_work_unit;
    freed int[] := '{}';
BEGIN
    -- so that no step is under way
    PERFORM FROM gan_run r WHERE r.state IN ('running', 'paused') ORDER BY r.run FOR NO KEY UPDATE;
    FOR u IN SELECT d.*
        FROM gan_work_unit d
        JOIN gan_run r ON r.run = d.run
            AND r.iteration = d.iteration
            AND r.state IN ('running', 'paused')
        JOIN gan_worker w ON w.worker = d.worker
            WHERE d.state = 'done' AND w.login = $1
            ORDER BY d.unit
            FOR UPDATE OF d LOOP
        PERFORM gan_reopen_unit(u.unit, $1);
        freed := freed || u.run;
    END LOOP;
    FOR u IN SELECT c.*
        FROM gan_work_unit c
        JOIN gan_worker w ON w.worker = c.worker
        WHERE c.state = 'claimed' AND w.login = $1
        ORDER BY c.unit FOR UPDATE OF c LOOP
        PERFORM gan_put_back(u);
        freed := freed || u.run;
    END LOOP;
    PERFORM gan_wake(run) FROM (SELECT DISTINCT unnest(freed) AS run) AS woken;
    RETURN cardinality(freed);
END
$$;

-- Raises an error unless the login is a student's: gan_expel must not shut out anybody else.
CREATE FUNCTION gan_require_student(login name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
                   WHERE m.roleid = 'gan_student'::regrole
                       AND r.rolname = login
                       AND NOT r.rolsuper) THEN
        RAISE EXCEPTION 'there is no student "%"', coalesce(login::text, 'NULL')
            USING ERRCODE = 'undefined_object',
                HINT = 'The students are the members of gan_student: SELECT member::regrole FROM '
                    'pg_auth_members WHERE roleid = ''gan_student''::regrole.';
    END IF;
END
$$;

-- Ends a login's sessions and waits for each to end, at most half a second; returns their number.
CREATE FUNCTION gan_end_sessions(login name) RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH sent AS MATERIALIZED (SELECT pid, pg_terminate_backend(pid)
        FROM pg_stat_activity
        WHERE usename = login AND pid <> pg_backend_pid())
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 500) OR true) FROM sent
$$;

-- Shuts a student out: no login, sessions ended, units given back. It runs with the caller's
-- rights: the caller needs CREATEROLE and pg_signal_backend. The change of the role is committed
-- before the sessions are ended, so that they can't reconnect in between.
CREATE PROCEDURE gan_expel(login name)
    LANGUAGE plpgsql AS $$
DECLARE
    sessions bigint;
    units bigint;
BEGIN
    PERFORM @extschema@.gan_require_student(login);
    EXECUTE pg_catalog.format('ALTER ROLE %I NOLOGIN', login);
    COMMIT;
    sessions := @extschema@.gan_end_sessions(login);
    units := @extschema@.gan_put_back_all(login);
    COMMIT;
    RAISE NOTICE 'student "%" is out: % sessions ended, % units put back', login, sessions, units
        USING HINT = 'SELECT gan_enroll(...) with the same name lets the student in again, with a '
            'new password. Credit is kept.';
END
$$;

-- Ends students' sessions whose transaction, or wait for the next statement, lasts too long. The
-- coordinator calls it if the server has no watchdog (shared_preload_libraries). It runs with the
-- caller's rights: without pg_signal_backend and pg_read_all_stats it does nothing.
CREATE FUNCTION gan_end_hoarders(seconds float8 DEFAULT 60) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF NOT (SELECT rolsuper
        OR (pg_has_role('pg_signal_backend', 'usage') AND pg_has_role('pg_read_all_stats', 'usage'))
            FROM pg_roles WHERE rolname = current_user) THEN
        RETURN 0;
    END IF;
    RETURN (SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))
            FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
            WHERE pg_has_role(r.oid, 'gan_student', 'member')
                AND NOT r.rolsuper
                AND NOT pg_has_role(r.oid, 'gan_owner', 'member')
                AND least(a.xact_start,
                    greatest(a.backend_start, a.query_start,
                        a.state_change)) < clock_timestamp() - make_interval(secs => seconds));
END
$$;

COMMENT ON FUNCTION gan_guard()
    IS 'Whether students'' sessions are guarded: on, off, or not loaded (shared_preload_libraries)';
COMMENT ON PROCEDURE gan_expel(name)
    IS 'Shuts a student out: no login, sessions ended, units that were not averaged yet given '
        'back';
COMMENT ON FUNCTION gan_end_hoarders(float8)
    IS 'Ends students'' sessions whose transaction, or wait for the next statement, lasts longer';
