-- -------------------------------------------------------------------------------------------------
-- gan_doctor's checks of the class as it is now: connections, addresses, the clock, old snapshots,
-- the coordinator
-- -------------------------------------------------------------------------------------------------

CREATE FUNCTION gan_doctor_class() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH room AS (
        SELECT (SELECT count(*) FROM gan_student_login WHERE may_login) AS students,
            current_setting('max_connections')::int AS connections),
    shared AS (
        SELECT array_agg(format('%s from %s', login, addresses)) AS names,
            string_agg(format('CALL gan_expel(%L);', login), E'\n') AS sql
        FROM (SELECT s.login, count(DISTINCT a.client_addr) AS addresses
            FROM pg_stat_activity a
            JOIN gan_student_login s ON s.role = a.usesysid
              GROUP BY s.login HAVING count(DISTINCT a.client_addr) > 2) AS many),
    clock AS (
        SELECT greatest((SELECT max(claimed_at) FROM gan_work_unit),
            (SELECT max(ended_at) FROM gan_history),
            (SELECT max(last_seen) FROM gan_worker)) - clock_timestamp() AS ahead),
    snapshots AS (
        SELECT array_agg(format('session %s of %s', pid, usename)) AS names,
            string_agg(format('SELECT pg_terminate_backend(%s);', pid), E'\n') AS sql
        FROM pg_stat_activity
            WHERE backend_xmin IS NOT NULL
                AND datname = current_database()
                AND xact_start < clock_timestamp() - interval '2 minutes'),
    checks (item, fine, state, finding, remedy) AS (
        SELECT 'max_connections', connections >= 2 * students + 20, 'warn',
            format('%s connections for %s students', connections, students),
               format(E'ALTER SYSTEM SET max_connections = %s;\n%s', 4 * students + 20,
                   gan_restart_remedy())
                   FROM room
        UNION ALL SELECT 'addresses of a login', names IS NULL, 'warn',
            coalesce('many addresses: ' || gan_some_of(names), 'no login comes from more than two'),
               sql || E'\n-- if others know the password; then gan_enroll again' FROM shared
        UNION ALL SELECT 'clock', coalesce(ahead < interval '5 s', true), 'fix',
               CASE
                   WHEN ahead >= interval '5 s'
                       THEN format('the clock is %s behind the class''s last event',
                       date_trunc('second', ahead))
                   ELSE 'not behind the last event' END,
               '-- leases end by the machine''s clock, so set it: sudo timedatectl set-ntp true'
                   FROM clock
        UNION ALL SELECT 'old snapshots', names IS NULL, 'warn',
            coalesce('vacuum waits for ' || gan_some_of(names), 'none'), sql
            FROM snapshots)
    SELECT c.item, CASE WHEN fine THEN 'ok' ELSE c.state END, c.finding,
        CASE WHEN NOT fine THEN c.remedy END
        FROM checks c
$$;

-- The pg_cron job that takes the steps, and how it went the last time (the last by its number,
-- because an execution that didn't begin has no time). No row if there is no such job, or if the
-- caller may not read pg_cron's tables.
CREATE FUNCTION gan_cron_job()
    RETURNS TABLE (job bigint, active boolean, last_fine timestamptz, fails boolean, failure text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT
        FROM pg_extension e
        JOIN pg_namespace n ON n.nspname = 'cron'
        WHERE e.extname = 'pg_cron' AND has_schema_privilege(n.oid, 'USAGE')) THEN
        RETURN QUERY EXECUTE 'SELECT j.jobid, j.active, max(d.start_time) FILTER (WHERE d.status '
            'IN (''running'', ''succeeded'')),
                coalesce(max(d.runid) FILTER (WHERE d.status = ''failed'') > coalesce(max(d.runid) FILTER (WHERE d.status IN (''running'',
                    ''succeeded'')),
                    0),
                    false),
                (array_agg(d.return_message
                    ORDER BY d.runid DESC) FILTER (WHERE d.status = ''failed''))[1]
            FROM cron.job j
                LEFT
                    JOIN cron.job_run_details d ON d.jobid = j.jobid
                        AND d.runid > (SELECT coalesce(max(k.runid), 0) - 10000
                            FROM cron.job_run_details k)
            WHERE j.database = current_database() AND j.command ~ ''gan_(coordinate|tick)'' GROUP BY j.jobid, j.active ORDER BY j.active DESC, j.jobid LIMIT 1';
    END IF;
END
$$;

-- What to do about a job that fails, by pg_cron's error message.
CREATE FUNCTION gan_cron_remedy(failure text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE
        WHEN failure ~* 'connection failed'
            THEN E'ALTER SYSTEM SET cron.use_background_workers = on;\n'
            || gan_restart_remedy()
                WHEN failure ~* 'could not start background process|job startup timeout'
                    THEN format(E'ALTER SYSTEM SET max_worker_processes = %s;\n%s',
                        current_setting('max_worker_processes')::int + 8, gan_restart_remedy())
                ELSE '-- look at the end of cron.job_run_details and of the server''s log' END
           || E'\n-- until then, in a terminal: CALL gan_coordinate();'
$$;

-- How to give this database a coordinator that starts by itself: pg_cron if it is loaded, else the
-- server's own.
CREATE FUNCTION gan_coordinator_setup() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE
        WHEN gan_background_coordinator() = 'off'
            THEN E'ALTER SYSTEM SET gannsfriends.coordinator = on;\nSELECT pg_reload_conf();'
        WHEN cron.home = current_database()
            THEN E'CREATE EXTENSION IF NOT EXISTS pg_cron;\nSELECT '
                'cron.schedule(''gannsfriends'', ''* * * * *'', ''CALL gan_coordinate(58)'');'
        WHEN cron.home IS NOT NULL
            THEN format(E'-- pg_cron works in database %1$s. There: CREATE EXTENSION IF NOT EXISTS '
                'pg_cron;\n-- SELECT cron.schedule_in_database(''gannsfriends'', ''* * * * '
                '*'', ''CALL gan_coordinate(58)'', %2$L);',
                cron.home, current_database())
        ELSE concat_ws(E'\n', gan_preload_command(), gan_restart_remedy(),
            '-- until then, in a terminal: CALL gan_coordinate();') END
    FROM (SELECT max(setting) FILTER (WHERE name = 'cron.database_name') AS home
        FROM pg_settings) AS cron
$$;

-- Whether anything takes the steps: the server itself, a pg_cron job that ran recently, or a
-- session.
CREATE FUNCTION gan_doctor_coordinator()
    RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    wanted boolean := EXISTS (SELECT FROM gan_run r WHERE r.state = 'running');
    by_hand boolean := EXISTS (SELECT
        FROM pg_stat_activity a
        WHERE a.state = 'active' AND a.query ~ 'gan_coordinate' AND a.pid <> pg_backend_pid());
    launched boolean := EXISTS (SELECT
        FROM pg_stat_activity a
        WHERE a.backend_type ~ 'pg_cron' OR a.application_name ~ 'pg_cron');
    background text := gan_background_coordinator();
    cron record;
BEGIN
    SELECT * INTO cron FROM gan_cron_job();
    item := 'coordinator';
    IF background IN ('running', 'starting', 'idle') THEN
        state := 'ok';
        finding := 'the server coordinates by itself'
            || CASE WHEN wanted THEN '' ELSE ', as soon as a run is started' END;
    ELSIF background = 'missing' AND NOT by_hand AND cron.job IS NULL THEN
        state := 'fix';
        finding := 'the server should coordinate by itself, but does not';
        remedy := format(E'ALTER SYSTEM SET max_worker_processes = %s;\n%s\n-- if that does not '
            'help, look at the server''s log',
            current_setting('max_worker_processes')::int + 8, gan_restart_remedy());
    ELSIF cron.job IS NULL THEN
        state := CASE WHEN wanted AND NOT by_hand THEN 'fix' ELSE 'warn' END;
        finding := CASE
            WHEN by_hand THEN 'a session takes the steps; when it ends, they stop'
            ELSE 'no coordinator is running, so no steps are taken' END;
        remedy := gan_coordinator_setup();
    ELSIF NOT cron.active THEN
        state := CASE WHEN wanted AND NOT by_hand THEN 'fix' ELSE 'warn' END;
        finding := format('pg_cron''s job %s is switched off', cron.job);
        remedy := format('UPDATE cron.job SET active = true WHERE jobid = %s;', cron.job);
    ELSIF cron.fails THEN
        state := 'fix';
        finding := format('pg_cron''s job %s fails: %s', cron.job,
            left(translate(cron.failure, E'\r\n', '  '), 60));
        remedy := gan_cron_remedy(cron.failure);
    ELSIF by_hand OR cron.last_fine > clock_timestamp() - interval '3 minutes' THEN
        state := 'ok';
        finding := format('pg_cron''s job %s runs', cron.job);
    ELSIF cron.last_fine IS NULL
        AND (launched OR pg_postmaster_start_time() > clock_timestamp() - interval '1 minute') THEN
        state := 'warn';
        finding := format('pg_cron''s job %s has not run yet; it does so within a minute',
            cron.job);
        remedy := '-- in a minute: SELECT * FROM gan_doctor();';
    ELSE
        state := CASE WHEN wanted THEN 'fix' ELSE 'warn' END;
        finding := format('pg_cron''s job %s %s', cron.job,
            coalesce('last ran at ' || date_trunc('second', cron.last_fine), 'never ran'));
        remedy := gan_cron_remedy('');
    END IF;
    RETURN NEXT;
END
$$;
