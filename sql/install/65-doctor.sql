-- ---------------------------------------------------------------------------------------------------------------------
-- gan_doctor: what of docs/security.md and docs/reliability.md is left to the instructor, and how it is here
-- ---------------------------------------------------------------------------------------------------------------------

-- All of these run with the caller's rights: what the caller may not see is reported as 'warn'.

-- The students: members of gan_student that can do no more than that.
CREATE VIEW gan_student_login AS
    SELECT r.oid AS role, r.rolname AS login, r.rolcanlogin AS may_login, r.rolconnlimit AS connections,
           r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS privileged
    FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_auth_members m ON m.member = r.oid JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
    WHERE g.rolname = 'gan_student' AND NOT r.rolsuper;

-- One setting against what it should be. Numbers are compared in the setting's own unit; reset_val, because keepalives of a session by
-- Unix-domain socket show as 0.
CREATE FUNCTION gan_doctor_settings() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH wanted (name, low, high, one_of, state, value, why) AS (VALUES
        ('fsync', NULL, NULL, '{on}'::text[], 'fix', 'on', 'a crash of the machine may destroy the database'),
        ('full_page_writes', NULL, NULL, '{on}', 'fix', 'on', 'a crash of the machine may tear pages'),
        ('synchronous_commit', NULL, NULL, '{on,remote_write,remote_apply}', 'fix', 'on', 'an accepted unit may be lost'),
        ('autovacuum', NULL, NULL, '{on}', 'fix', 'on', 'tables and indexes grow'),
        ('track_activities', NULL, NULL, '{on}', 'fix', 'on', 'the watchdog sees nothing'),
        ('password_encryption', NULL, NULL, '{scram-sha-256}', 'fix', 'scram-sha-256', 'stored passwords can be guessed or replayed'),
        ('log_parameter_max_length', 0, 1024, NULL, 'fix', '0', 'slow uploads print megabytes into the log'),
        ('log_parameter_max_length_on_error', 0, 1024, NULL, 'fix', '0', 'failed uploads print megabytes into the log'),
        ('log_min_error_statement', NULL, NULL, '{log,fatal,panic}', 'warn', 'panic', 'students fill the log with statements that fail'),
        ('tcp_keepalives_idle', 1, 60, NULL, 'fix', '10', 'sessions of laptops that are gone stay for two hours'),
        ('tcp_keepalives_interval', 1, 20, NULL, 'warn', '5', 'the same'),
        ('tcp_keepalives_count', 1, 9, NULL, 'warn', '3', 'the same'),
        ('client_connection_check_interval', 1, 30000, NULL, 'warn', '5s', 'statements go on for clients that are gone'),
        ('authentication_timeout', 1, 20, NULL, 'warn', '10s', 'connections without a login block the others for so long'),
        ('superuser_reserved_connections', 5, 1000, NULL, 'warn', '5', 'when all connections are taken you need one'),
        ('shared_buffers', 32768, 2147483647, NULL, 'warn', '1GB', 'a quarter of the memory is what it should be'),
        ('max_wal_size', 2048, 2147483647, NULL, 'warn', '4GB', 'checkpoints come in mid-step'),
        ('temp_file_limit', 0, 10485760, NULL, 'warn', '1GB', 'a session may fill the disk with temporary files'),
        ('max_prepared_transactions', 0, 0, NULL, 'warn', '0', 'a transaction that is prepared holds its locks for ever'))
    SELECT w.name, CASE WHEN fine THEN 'ok' ELSE w.state END, format('%s%s', s.reset_val, coalesce(' ' || s.unit, '')),
           CASE WHEN NOT fine THEN format('ALTER SYSTEM SET %I = %L; SELECT pg_reload_conf(); -- %s%s', w.name, w.value, w.why,
                                          CASE s.context WHEN 'postmaster' THEN '; then restart the server' ELSE '' END) END
    FROM wanted w JOIN pg_settings s USING (name)
    CROSS JOIN LATERAL (SELECT CASE WHEN w.one_of IS NOT NULL THEN s.reset_val = ANY (w.one_of) ELSE s.reset_val::float8 BETWEEN w.low AND w.high END) AS judged (fine)
$$;

-- What watches students' sessions, and what does if nothing else does.
CREATE FUNCTION gan_doctor_guard() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT 'guard', CASE gan_guard() WHEN 'on' THEN 'ok' ELSE 'fix' END, gan_guard(),
           CASE gan_guard() WHEN 'off' THEN 'ALTER SYSTEM SET gannsfriends.guard = on; SELECT pg_reload_conf();'
               WHEN 'not loaded' THEN format('ALTER SYSTEM SET shared_preload_libraries = %s; -- then restart the server',
                                             concat_ws(', ', s.preloaded, quote_literal('gannsfriends'))) END
    FROM (SELECT string_agg(quote_literal(btrim(library)), ', ') FILTER (WHERE library <> '') AS preloaded
          FROM pg_settings, string_to_table(setting, ',') AS library WHERE name = 'shared_preload_libraries') AS s
    UNION ALL
    SELECT 'watchdog', CASE WHEN seconds BETWEEN 1 AND 60 THEN 'ok' WHEN timeouts THEN 'warn' ELSE 'fix' END,
           CASE WHEN seconds > 0 THEN format('%s s', seconds) WHEN timeouts THEN 'timeouts that a session may change' ELSE 'none' END,
           CASE WHEN seconds BETWEEN 1 AND 60 THEN NULL
                WHEN seconds IS NOT NULL THEN 'ALTER SYSTEM SET gannsfriends.watchdog_seconds = 60; SELECT pg_reload_conf();'
                ELSE 'ALTER SYSTEM SET idle_session_timeout = ''60s''; ALTER SYSTEM SET idle_in_transaction_session_timeout = ''60s''; SELECT pg_reload_conf(); -- or see guard' END
    FROM (SELECT max(setting::int) FILTER (WHERE name = 'gannsfriends.watchdog_seconds') AS seconds,
                 min(setting::int) FILTER (WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')) > 0 AS timeouts
          FROM pg_settings) AS w
$$;

-- What everybody may do in this database. With the guard on students don't get to it, and it is the second wall.
CREATE FUNCTION gan_doctor_rights() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH risky AS (
        SELECT count(*) AS n, string_agg(DISTINCT p.proname, ', ') AS names FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(pg_(try_)?advisory_.*|lo_.*|lo(read|write)|pg_sleep.*|pg_notify|set_config|pg_logical_emit_message|pg_export_snapshot)$'
            AND has_function_privilege('public', p.oid, 'EXECUTE')),
    writable AS (
        SELECT string_agg(quote_ident(nspname), ', ') AS names FROM pg_namespace
        WHERE has_schema_privilege('public', oid, 'CREATE') OR has_schema_privilege('gan_student', oid, 'CREATE')),
    languages AS (
        SELECT string_agg(quote_ident(lanname), ', ') AS names FROM pg_language WHERE lanpltrusted AND has_language_privilege('public', oid, 'USAGE')),
    others AS (
        SELECT string_agg(quote_ident(datname), ', ') AS names FROM pg_database
        WHERE datallowconn AND datname <> current_database() AND has_database_privilege('gan_student', oid, 'CONNECT')),
    second (state) AS (SELECT CASE gan_guard() WHEN 'on' THEN 'warn' ELSE 'fix' END),
    checks (item, fine, state, finding, remedy) AS (
        SELECT 'CONNECT for everybody', NOT has_database_privilege('public', current_database(), 'CONNECT'), 'fix', NULL,
               format('REVOKE CONNECT ON DATABASE %1$I FROM PUBLIC; GRANT CONNECT ON DATABASE %1$I TO gan_student, gan_viewer;', current_database())
        UNION ALL SELECT 'CONNECT for students', has_database_privilege('gan_student', current_database(), 'CONNECT'), 'fix', NULL,
               format('GRANT CONNECT ON DATABASE %I TO gan_student;', current_database())
        UNION ALL SELECT 'CONNECT for viewers', has_database_privilege('gan_viewer', current_database(), 'CONNECT'), 'fix', NULL,
               format('GRANT CONNECT ON DATABASE %I TO gan_viewer;', current_database())
        UNION ALL SELECT 'TEMPORARY for everybody', NOT has_database_privilege('gan_student', current_database(), 'TEMPORARY'), second.state, NULL,
               format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC;', current_database()) FROM second
        UNION ALL SELECT 'other databases', others.names IS NULL, 'warn', others.names,
               format('REVOKE CONNECT ON DATABASE %s FROM PUBLIC; -- students may connect there', others.names) FROM others
        UNION ALL SELECT 'CREATE in schemas', writable.names IS NULL, 'fix', writable.names,
               format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, gan_student;', writable.names) FROM writable
        UNION ALL SELECT 'languages', languages.names IS NULL, second.state, languages.names,
               format('REVOKE USAGE ON LANGUAGE %s FROM PUBLIC;', languages.names) FROM languages, second
        UNION ALL SELECT 'functions of PostgreSQL', risky.n = 0, second.state, format('%s: %s', risky.n, left(risky.names, 100)),
               'CALL gan_revoke_risky(); -- advisory locks, large objects, set_config, pg_notify, pg_sleep' FROM risky, second)
    SELECT c.item, CASE WHEN fine THEN 'ok' ELSE c.state END, coalesce(c.finding, CASE WHEN fine THEN 'as it should be' ELSE 'not as it should be' END),
           CASE WHEN NOT fine THEN c.remedy END FROM checks c
$$;

-- Takes from everybody, and leaves to gan_owner, the ready-made functions with which a session may harm others. Superusers keep them.
CREATE PROCEDURE gan_revoke_risky()
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(pg_(try_)?advisory_.*|lo_.*|lo(read|write)|pg_sleep.*|pg_notify|set_config|pg_logical_emit_message|pg_export_snapshot)$'
            AND has_function_privilege('public', p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO gan_owner', one);
    END LOOP;
END
$$;

-- The roles: who owns, and what students are besides students.
CREATE FUNCTION gan_doctor_roles() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH foreign_objects AS (
        SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, 0), ', ') AS names
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'gannsfriends'
        LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
        LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'p', 'v')
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND coalesce(p.proowner, c.relowner) <> 'gan_owner'::regrole),
    privileged AS (SELECT string_agg(quote_ident(login), ', ') AS names, string_agg(format('ALTER ROLE %I NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;', login), ' ') AS sql
                   FROM gan_student_login WHERE privileged),
    more_roles AS (SELECT string_agg(format('%I in %s', s.login, m.roleid::regrole), ', ') AS names, string_agg(format('REVOKE %s FROM %I;', m.roleid::regrole, s.login), ' ') AS sql
                   FROM gan_student_login s JOIN pg_auth_members m ON m.member = s.role WHERE m.roleid NOT IN ('gan_student'::regrole, 'gan_owner'::regrole)),
    superusers AS (SELECT string_agg(quote_ident(rolname), ', ') AS names, string_agg(format('REVOKE gan_student FROM %I;', rolname), ' ') AS sql
                   FROM pg_roles JOIN pg_auth_members m ON m.member = pg_roles.oid WHERE m.roleid = 'gan_student'::regrole AND rolsuper),
    unlimited AS (SELECT string_agg(quote_ident(login), ', ') AS names, string_agg(format('ALTER ROLE %I CONNECTION LIMIT 4;', login), ' ') AS sql
                  FROM gan_student_login WHERE may_login AND connections NOT BETWEEN 0 AND 8),
    configured AS (SELECT string_agg(DISTINCT quote_ident(s.login), ', ') AS names, string_agg(DISTINCT format('ALTER ROLE %I RESET ALL;', s.login), ' ') AS sql
                   FROM gan_student_login s JOIN pg_db_role_setting d ON d.setrole = s.role
                   CROSS JOIN unnest(d.setconfig) AS c (setting) WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                       AND (d.setdatabase = 0 OR c.setting NOT IN (SELECT l.name || '=' || l.value FROM gan_login_settings() AS l))),
    checks (item, names, state, remedy) AS (
        SELECT 'owner of the extension', names, 'fix', '-- after pg_dump: DROP EXTENSION gannsfriends; CREATE EXTENSION gannsfriends;' FROM foreign_objects
        UNION ALL SELECT 'privileges of students', names, 'fix', sql FROM privileged
        UNION ALL SELECT 'other roles of students', names, 'fix', sql FROM more_roles
        UNION ALL SELECT 'superusers among students', names, 'fix', sql FROM superusers
        UNION ALL SELECT 'connections of a student', names, 'fix', sql FROM unlimited
        UNION ALL SELECT 'settings of students', names, 'warn', sql || ' -- they set these themselves, or somebody did' FROM configured)
    SELECT item, CASE WHEN names IS NULL THEN 'ok' ELSE state END, coalesce(names, 'none to be put right'), CASE WHEN names IS NOT NULL THEN remedy END FROM checks
$$;

-- Who comes in from outside, and by what password.
CREATE FUNCTION gan_doctor_network() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    local_only boolean := current_setting('listen_addresses') ~ E'^(localhost|127\\.0\\.0\\.1|::1|, *)*$';
BEGIN
    item := 'TLS';
    finding := current_setting('ssl');
    state := CASE WHEN finding = 'on' OR local_only THEN 'ok' ELSE 'fix' END;
    remedy := CASE WHEN state <> 'ok' THEN 'ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf(); -- after putting server.crt and server.key into the data folder' END;
    RETURN NEXT;
    item := 'pg_hba.conf';
    IF NOT has_function_privilege('pg_hba_file_rules()', 'EXECUTE') THEN
        state := 'warn';
        finding := 'you may not see it';
        remedy := 'SELECT * FROM gan_doctor(); -- as a superuser';
    ELSE
        SELECT string_agg(format('line %s: %s %s %s', h.line_number, h.type, concat_ws('/', h.address, h.netmask), coalesce(h.auth_method, h.error)), '; ') INTO finding
            FROM pg_hba_file_rules h
            WHERE h.error IS NOT NULL OR h.auth_method IN ('trust', 'password', 'md5', 'ident') AND h.type <> 'local' AND NOT 'replication' = ANY (h.database)
                OR NOT local_only AND h.type IN ('host', 'hostnossl') AND h.auth_method = 'scram-sha-256' AND h.address NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost');
        state := CASE WHEN finding IS NULL THEN 'ok' ELSE 'fix' END;
        remedy := CASE WHEN finding IS NOT NULL THEN format('-- in %s: hostssl %s +gan_student all scram-sha-256, and nothing weaker; then: SELECT pg_reload_conf();', coalesce((SELECT setting FROM pg_settings WHERE name = 'hba_file'), 'pg_hba.conf'), current_database()) END;
        finding := coalesce(finding, 'no weak line');
    END IF;
    RETURN NEXT;
    item := 'stored passwords';
    IF NOT has_table_privilege('pg_authid', 'SELECT') THEN
        state := 'warn';
        finding := 'you may not see them';
        remedy := 'SELECT * FROM gan_doctor(); -- as a superuser';
    ELSE
        EXECUTE 'SELECT string_agg(s.login, '', ''), string_agg(format(''SELECT gan_enroll(%L);'', s.login), '' '') FROM gan_student_login s JOIN pg_authid a ON a.oid = s.role
                 WHERE s.may_login AND (a.rolpassword IS NULL OR a.rolpassword !~ ''^SCRAM-SHA-256'')' INTO finding, remedy;
        state := CASE WHEN finding IS NULL THEN 'ok' ELSE 'fix' END;
        finding := coalesce(finding, 'all by SCRAM');
    END IF;
    RETURN NEXT;
END
$$;

-- The class as it is now: room for it, addresses, the clock, old snapshots.
CREATE FUNCTION gan_doctor_class() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH room AS (
        SELECT (SELECT count(*) FROM gan_student_login WHERE may_login) AS students, current_setting('max_connections')::int AS connections),
    shared AS (
        SELECT string_agg(format('%s from %s addresses', login, addresses), ', ') AS names, string_agg(format('CALL gan_expel(%L);', login), ' ') AS sql
        FROM (SELECT s.login, count(DISTINCT a.client_addr) AS addresses FROM pg_stat_activity a JOIN gan_student_login s ON s.role = a.usesysid
              GROUP BY s.login HAVING count(DISTINCT a.client_addr) > 2) AS many),
    clock AS (
        SELECT greatest((SELECT max(claimed_at) FROM gan_work_unit), (SELECT max(ended_at) FROM gan_history), (SELECT max(last_seen) FROM gan_worker)) - clock_timestamp() AS ahead),
    snapshots AS (
        SELECT string_agg(format('session %s of %s since %s', pid, usename, date_trunc('second', xact_start)), ', ') AS names, string_agg(format('SELECT pg_terminate_backend(%s);', pid), ' ') AS sql
        FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND datname = current_database() AND xact_start < clock_timestamp() - interval '2 minutes'),
    checks (item, fine, state, finding, remedy) AS (
        SELECT 'max_connections', connections >= 2 * students + 20, 'warn', format('%s for %s students', connections, students),
               format('ALTER SYSTEM SET max_connections = %s; -- then restart the server', 4 * students + 20) FROM room
        UNION ALL SELECT 'addresses of a login', names IS NULL, 'warn', coalesce(names, 'no login comes from more than two'), sql || ' -- if the password is no secret any more; then gan_enroll' FROM shared
        UNION ALL SELECT 'clock', coalesce(ahead < interval '5 s', true), 'fix', CASE WHEN ahead >= interval '5 s' THEN format('the last event of the class is %s in the future', ahead) ELSE 'not behind the last event' END,
               '-- set the server''s clock; leases run on it. On Debian: timedatectl set-ntp true' FROM clock
        UNION ALL SELECT 'old snapshots', names IS NULL, 'warn', coalesce(names, 'none'), sql || ' -- while they last vacuum can clean nothing' FROM snapshots
        UNION ALL SELECT 'data checksums', current_setting('data_checksums') = 'on', 'warn', current_setting('data_checksums'),
               format('-- with the server stopped: pg_checksums --enable -D %s; without them a bad disk goes unnoticed', coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), 'DATA')))
    SELECT c.item, CASE WHEN fine THEN 'ok' ELSE c.state END, c.finding, CASE WHEN NOT fine THEN c.remedy END FROM checks c
$$;

-- Whether anything takes the steps: a pg_cron job that ran lately, or a session at it.
CREATE FUNCTION gan_doctor_coordinator() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    wanted boolean := EXISTS (SELECT FROM gan_run r WHERE r.state = 'running');
    at_it int := (SELECT count(*) FROM pg_stat_activity a WHERE a.state = 'active' AND a.query ~ 'gan_coordinate' AND a.pid <> pg_backend_pid());
    job bigint;
    active boolean;
    last timestamptz;
BEGIN
    item := 'coordinator';
    IF EXISTS (SELECT FROM pg_extension e JOIN pg_namespace n ON n.nspname = 'cron' WHERE e.extname = 'pg_cron' AND has_schema_privilege(n.oid, 'USAGE')) THEN
        EXECUTE 'SELECT j.jobid, j.active, (SELECT max(d.start_time) FROM cron.job_run_details d WHERE d.jobid = j.jobid AND d.status IN (''running'', ''succeeded'')) AS last
                 FROM cron.job j WHERE j.database = current_database() AND j.command ~ ''gan_(coordinate|tick)'' ORDER BY j.active DESC, j.jobid LIMIT 1' INTO job, active, last;
    END IF;
    IF job IS NOT NULL THEN
        finding := format('pg_cron job %s, %s, last run %s', job, CASE WHEN active THEN 'active' ELSE 'not active' END, coalesce(date_trunc('second', last)::text, 'never'));
        state := CASE WHEN active AND last > clock_timestamp() - interval '3 minutes' OR at_it > 0 THEN 'ok' WHEN wanted THEN 'fix' ELSE 'warn' END;
        remedy := CASE WHEN NOT active THEN format('UPDATE cron.job SET active = true WHERE jobid = %s;', job)
                       ELSE '-- see the end of cron.job_run_details and the server''s log; meanwhile: CALL gan_coordinate();' END;
    ELSE
        finding := CASE WHEN at_it > 0 THEN 'a session is at it, but nothing starts it again' ELSE 'none' END;
        state := CASE WHEN wanted AND at_it = 0 THEN 'fix' ELSE 'warn' END;
        remedy := CASE WHEN (SELECT setting FROM pg_settings WHERE name = 'cron.database_name') = current_database()
                       THEN 'CREATE EXTENSION IF NOT EXISTS pg_cron; SELECT cron.schedule(''gannsfriends'', ''* * * * *'', ''CALL gan_coordinate(58)'');'
                       ELSE format('-- in a terminal that stays: psql -c ''CALL gan_coordinate()''; better pg_cron: in postgresql.conf shared_preload_libraries and cron.database_name = ''%s''', current_database()) END;
    END IF;
    IF state = 'ok' THEN
        remedy := NULL;
    END IF;
    RETURN NEXT;
END
$$;

-- Whether the system refuses memory or kills for it. A message is read before anything of ours sees it, up to 1 GB, and copied once.
CREATE FUNCTION gan_doctor_memory() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    overcommit text;
    memory_gb float8;
    sessions bigint := (SELECT coalesce(sum(CASE WHEN s.connections < 0 THEN current_setting('max_connections')::int ELSE s.connections END), 0)
                        FROM gan_student_login s WHERE s.may_login);
BEGIN
    BEGIN
        overcommit := btrim(pg_read_file('/proc/sys/vm/overcommit_memory'), E' \n');
        memory_gb := substring(pg_read_file('/proc/meminfo') FROM 'MemTotal: +([0-9]+)')::float8 / 1048576;
    EXCEPTION WHEN OTHERS THEN
        NULL; -- no superuser, or no Linux
    END;
    item := 'memory';
    finding := format('students'' %s sessions may ask for %s GB%s; vm.overcommit_memory is %s', sessions, 2 * sessions,
                      coalesce(format(', the machine has %s', round(memory_gb::numeric, 1)), ''), coalesce(overcommit, 'unknown'));
    state := CASE WHEN overcommit = '2' OR 2 * sessions < memory_gb / 2 THEN 'ok' ELSE 'warn' END;
    remedy := CASE WHEN state <> 'ok' THEN '-- sysctl -w vm.overcommit_memory=2, and a limit on the server''s unit: systemctl set-property postgresql@15-main MemoryMax=...' END;
    RETURN NEXT;
END
$$;

CREATE FUNCTION gan_doctor() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT * FROM (SELECT * FROM gan_doctor_guard() UNION ALL SELECT * FROM gan_doctor_rights() UNION ALL SELECT * FROM gan_doctor_roles()
        UNION ALL SELECT * FROM gan_doctor_network() UNION ALL SELECT * FROM gan_doctor_coordinator() UNION ALL SELECT * FROM gan_doctor_class()
        UNION ALL SELECT * FROM gan_doctor_memory() UNION ALL SELECT * FROM gan_doctor_server()
        UNION ALL SELECT * FROM gan_doctor_settings()) AS d
    ORDER BY array_position(ARRAY['fix', 'warn', 'ok'], d.state)
$$;

-- The remedies alone, to be read and pasted.
CREATE FUNCTION gan_doctor_sql(also_warnings boolean DEFAULT true) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT string_agg(format(E'-- %s: %s\n%s', d.item, d.finding, d.remedy), E'\n') FROM gan_doctor() d
    WHERE d.state = 'fix' OR (also_warnings AND d.state = 'warn')
$$;

COMMENT ON VIEW gan_student_login IS 'Students'' logins, and what they may do besides';
COMMENT ON FUNCTION gan_doctor() IS 'Checks what the server''s configuration leaves open (docs/security.md): ok, warn or fix, and the command that helps';
COMMENT ON FUNCTION gan_doctor_sql(boolean) IS 'What gan_doctor would have you do, as SQL to be read and pasted';
COMMENT ON PROCEDURE gan_revoke_risky() IS 'Takes advisory locks, large objects, set_config, pg_notify and pg_sleep from everybody';
