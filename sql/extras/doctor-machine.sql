-- -------------------------------------------------------------------------------------------------
-- gan_doctor's checks of the server: settings, guard, watchdog, memory, disk
-- -------------------------------------------------------------------------------------------------

-- Compares settings with their recommended values. Numbers are in the setting's own unit. It reads
-- reset_val, because a session on a Unix-domain socket shows its keepalives as 0. Settings for
-- students alone are in gan_student_settings().
CREATE FUNCTION gan_doctor_settings()
    RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH wanted (name, low, high, one_of, state, value, why) AS (VALUES
        ('fsync', NULL, NULL, '{on}'::text[], 'fix', 'on',
            'a crash of the machine may destroy the database'),
        ('full_page_writes', NULL, NULL, '{on}', 'fix', 'on',
            'a crash of the machine may damage pages'),
        ('synchronous_commit', NULL, NULL, '{on,remote_write,remote_apply}', 'fix', 'on',
            'a crash may lose accepted units'),
        ('autovacuum', NULL, NULL, '{on}', 'fix', 'on', 'tables and indexes grow'),
        ('track_activities', NULL, NULL, '{on}', 'fix', 'on', 'the watchdog sees nothing'),
        ('password_encryption', NULL, NULL, '{scram-sha-256}', 'fix', 'scram-sha-256',
            'new passwords are stored in a weak form'),
        ('log_parameter_max_length', 0, 1024, NULL, 'fix', '0',
            'slow uploads print megabytes into the log'),
        ('log_parameter_max_length_on_error', 0, 1024, NULL, 'fix', '0',
            'failed uploads print megabytes into the log'),
        ('tcp_keepalives_idle', 1, 60, NULL, 'fix', '10',
            'sessions of lost laptops stay for hours'),
        ('tcp_keepalives_interval', 1, 20, NULL, 'warn', '5', 'sessions of lost laptops stay long'),
        ('tcp_keepalives_count', 1, 9, NULL, 'warn', '3', 'sessions of lost laptops stay long'),
        ('client_connection_check_interval', 1, 30000, NULL, 'warn', '5s',
            'statements of lost laptops keep running'),
        ('authentication_timeout', 1, 20, NULL, 'warn', '10s',
            'connections without a login block others that long'),
        ('superuser_reserved_connections', 5, 1000, NULL, 'warn', '5',
            'students may take all connections, and you can''t get in'),
        ('shared_buffers', 32768, 2147483647, NULL, 'warn',
            format('%sMB', least(1024, greatest(256, gan_machine_memory() / 4))::int),
            'a quarter of the memory is better'),
        ('max_wal_size', 2048, 2147483647, NULL, 'warn', '4GB', 'checkpoints slow the steps down'),
        ('max_prepared_transactions', 0, 0, NULL, 'warn', '0',
            'a prepared transaction keeps its locks forever'))
    SELECT w.name, CASE WHEN fine THEN 'ok' ELSE w.state END,
           CASE WHEN fine THEN gan_readable_setting(s.reset_val, s.unit)
                WHEN s.pending_restart THEN 'changed, but the server was not restarted'
                ELSE format('it is %s: %s',
                    CASE
                        WHEN s.reset_val = '-1' THEN 'unlimited'
                        WHEN s.reset_val = '0' THEN CASE
                            WHEN w.name ~ '^tcp_' THEN 'the system''s'
                            ELSE 'off' END
                                                     ELSE gan_readable_setting(s.reset_val,
                                                         s.unit) END,
                                                         w.why) END,
           CASE
               WHEN NOT fine THEN concat_ws(E'\n',
                   CASE
                       WHEN NOT s.pending_restart THEN format('ALTER SYSTEM SET %I = %L;', w.name,
                           w.value) END,
                                             CASE s.context
                                                 WHEN 'postmaster' THEN gan_restart_remedy()
                                                 ELSE 'SELECT pg_reload_conf();' END) END
    FROM wanted w JOIN pg_settings s USING (name)
    CROSS
        JOIN LATERAL (SELECT CASE
            WHEN w.one_of IS NOT NULL THEN s.reset_val = ANY (w.one_of)
            ELSE s.reset_val::float8 BETWEEN w.low AND w.high END) AS judged (fine)
$$;

-- Whether students' statements are guarded.
CREATE FUNCTION gan_doctor_guard() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT 'guard', CASE gan_guard() WHEN 'on' THEN 'ok' ELSE 'fix' END,
           CASE
               WHEN gan_guard() = 'on' THEN 'on'
               WHEN gan_guard() = 'off' THEN 'it is off: students may send any SQL'
               WHEN s.pending_restart THEN 'changed, but the server was not restarted'
                ELSE 'the library is not loaded: students may send any SQL' END,
           CASE gan_guard()
               WHEN 'off'
                   THEN E'ALTER SYSTEM SET gannsfriends.guard = on;\nSELECT pg_reload_conf();'
               WHEN 'not loaded' THEN concat_ws(E'\n',
                   CASE WHEN NOT s.pending_restart THEN gan_preload_command() END,
                   gan_restart_remedy()) END
    FROM pg_settings s WHERE s.name = 'shared_preload_libraries'
$$;

-- Whether anything ends students' sessions that block others: the watchdog, or time-outs of their
-- logins, which a session may change.
CREATE FUNCTION gan_doctor_watchdog()
    RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT 'watchdog',
        CASE WHEN seconds BETWEEN 1 AND 60 THEN 'ok' WHEN seconds IS NULL
            AND limited THEN 'warn' ELSE 'fix' END,
           CASE
               WHEN seconds BETWEEN 1 AND 60
                   THEN format('ends silent sessions of students after %s s',
                   seconds)
                WHEN seconds > 60
                    THEN format('waits %s s: a student can block the class that long',
                    seconds)
                WHEN seconds = 0 THEN 'it is off: a student can block the class forever'
                WHEN limited THEN 'none: only time-outs, which students can change'
                ELSE 'none: a student can block the class forever' END,
           CASE WHEN seconds BETWEEN 1 AND 60 THEN NULL
                WHEN seconds IS NOT NULL
                    THEN E'ALTER SYSTEM SET gannsfriends.watchdog_seconds = 60;\nSELECT '
                        'pg_reload_conf();'
                ELSE concat_ws(E'\n', CASE WHEN NOT limited THEN 'CALL gan_limit_students();' END,
                    gan_preload_command(), gan_restart_remedy()) END
    FROM (SELECT (SELECT max(setting::int)
        FROM pg_settings
        WHERE name = 'gannsfriends.watchdog_seconds') AS seconds,
                 NOT EXISTS (SELECT
                     FROM gan_lacking_limit l
                     WHERE l.setting ~ '^idle') AS limited) AS w
$$;

-- Whether the machine has enough memory for all students, or the system refuses memory rather than
-- kill processes. PostgreSQL reads a message of up to 1 GB, and copies it once, before our code
-- sees it.
CREATE FUNCTION gan_doctor_memory() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    overcommit text;
    memory_gb float8 := gan_machine_memory() / 1024;
    sessions bigint := (SELECT coalesce(sum(CASE
        WHEN s.connections < 0 THEN current_setting('max_connections')::int
        ELSE s.connections END),
        0)
                        FROM gan_student_login s WHERE s.may_login);
    -- The guard limits a session's memory. Without it a message may take 1 GB, and is copied once.
    bound_mb float8 := (SELECT nullif(setting, '0')::float8
        FROM pg_settings
        WHERE name = 'gannsfriends.student_memory' AND gan_guard() = 'on');
    wanted_gb float8 := sessions * coalesce(bound_mb / 1024, 2);
BEGIN
    BEGIN
        overcommit := btrim(pg_read_file('/proc/sys/vm/overcommit_memory'), E' \n');
    EXCEPTION WHEN OTHERS THEN
        NULL; -- no superuser, or no Linux
    END;
    item := 'memory';
    finding := format('students'' %s sessions may take %s GB%s', sessions,
        round(wanted_gb::numeric, 1),
        coalesce(format('; the machine has %s GB', round(memory_gb::numeric, 1)), ''));
    state := CASE WHEN overcommit = '2' OR wanted_gb < memory_gb / 2 THEN 'ok' ELSE 'warn' END;
    remedy := CASE
        WHEN state <> 'ok'
            THEN E'-- in a shell: sudo sysctl -w vm.overcommit_memory=2\n-- and, with systemd: '
                'sudo systemctl set-property postgresql@15-main MemoryMax=12G' END;
    RETURN NEXT;
END
$$;

-- Whether damage by a bad disk is noticed.
CREATE FUNCTION gan_doctor_checksums()
    RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT 'data checksums', CASE WHEN present THEN 'ok' ELSE 'warn' END,
        CASE WHEN present THEN 'on' ELSE 'off: damage by a bad disk goes unnoticed' END,
           CASE
               WHEN NOT present
                   THEN format(E'-- in a shell: %s\n--   sudo -u postgres %s --enable -D %s\n--   '
                       '%s',
                   gan_server_command('stop'), gan_server_program('pg_checksums'),
                                             coalesce((SELECT setting
                                                 FROM pg_settings
                                                 WHERE name = 'data_directory'),
                                                 'DATA'),
                                                 gan_server_command('start')) END
    FROM (SELECT current_setting('data_checksums') = 'on') AS looked (present)
$$;
