-- -------------------------------------------------------------------------------------------------
-- gan_doctor's checks of settings of the server or the database that hinder the class
-- -------------------------------------------------------------------------------------------------

-- The value of a setting in a new session, even if this session has changed it.
CREATE FUNCTION gan_setting_of_new(name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT coalesce((SELECT substr(c.setting, length($1) + 2)
        FROM pg_db_role_setting d
        CROSS JOIN unnest(d.setconfig) AS c (setting)
                     WHERE starts_with(c.setting, $1 || '=')
                         AND d.setrole = 0
                         AND d.setdatabase IN (0,
                             (SELECT oid FROM pg_database WHERE datname = current_database()))
                     ORDER BY d.setdatabase = 0 LIMIT 1),
                    (SELECT CASE
                        WHEN s.source IN ('database', 'user', 'database user', 'global', 'client',
                            'session') THEN s.boot_val
                        ELSE s.setting END
                        FROM pg_settings s
                        WHERE s.name = $1))
$$;

-- Tells whether a new session finds the extension's functions by their names alone.
CREATE FUNCTION gan_is_in_path() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT btrim('@extschema@', '"') = ANY (SELECT btrim(p, ' "')
        FROM string_to_table(gan_setting_of_new('search_path'), ',') AS p)
$$;

-- Tells whether a student's session can't work here without its own value of a setting.
CREATE FUNCTION gan_hinders(name text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE WHEN $1 = 'search_path' THEN NOT gan_is_in_path()
                ELSE $1 IN ('default_transaction_isolation', 'statement_timeout', 'lock_timeout',
                    'exit_on_error')
                     AND gan_setting_of_new($1) <> (SELECT s.value
                         FROM gan_student_settings() s
                         WHERE s.setting = $1) END
$$;

-- What is wrong with the database itself.
CREATE FUNCTION gan_doctor_server() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH encoding AS (
        SELECT pg_encoding_to_char(d.encoding) AS name, pg_encoding_to_char(d.encoding) = 'UTF8'
            OR d.encoding <> 0
            AND pg_encoding_max_length(d.encoding) = 1 AS fine
        FROM pg_database d WHERE d.datname = current_database()),
    new AS (SELECT gan_setting_of_new('search_path') AS path,
        gan_setting_of_new('session_replication_role') AS replication,
        gan_stays_read_only() AS read_only),
    checks (item, fine, state, well, wrong, remedy) AS (
        SELECT 'encoding', fine, 'fix', 'the database is in ' || name,
            format('the database is in %s: names and messages get lost', name),
               format(E'CREATE DATABASE %I TEMPLATE template0 '
                   'ENCODING ''UTF8'' LOCALE ''C.UTF-8'';\n-- then move the class there by pg_dump '
                   'and pg_restore',
                   current_database() || '_utf8')
                   FROM encoding
        UNION ALL SELECT 'search_path', gan_is_in_path(), 'warn',
            'functions are found by their names', 'functions are only found as @extschema@.gan_...',
               format('ALTER DATABASE %I SET search_path = %s, %s;', current_database(),
                   '@extschema@', path)
                   FROM new
        UNION ALL SELECT 'read-only', NOT read_only, 'fix', 'the database can be written',
            'the database is read-only: the class waits',
               CASE
                   WHEN pg_is_in_recovery() THEN '-- this is a standby: connect to the primary'
                   ELSE format('ALTER DATABASE %I RESET default_transaction_read_only;',
                       current_database()) END
                   FROM new
        UNION ALL SELECT 'foreign keys', replication IN ('origin', 'local'), 'fix', 'are checked',
            'are not checked: session_replication_role is ' || replication,
               format('ALTER DATABASE %I SET session_replication_role = origin;',
                   current_database())
                   FROM new)
    SELECT c.item, CASE WHEN fine THEN 'ok' ELSE c.state END,
        CASE WHEN fine THEN c.well ELSE c.wrong END, CASE WHEN NOT fine THEN c.remedy END
        FROM checks c
$$;
