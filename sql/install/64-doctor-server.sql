-- ---------------------------------------------------------------------------------------------------------------------
-- gan_doctor: what was set for the whole server or this database and is in the class's way
-- ---------------------------------------------------------------------------------------------------------------------

-- Settings as a new session gets them, whatever this one has changed.
CREATE FUNCTION gan_setting_of_new(name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT coalesce((SELECT substr(c.setting, length($1) + 2) FROM pg_db_role_setting d CROSS JOIN unnest(d.setconfig) AS c (setting)
                     WHERE starts_with(c.setting, $1 || '=') AND d.setrole = 0 AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                     ORDER BY d.setdatabase = 0 LIMIT 1),
                    (SELECT CASE WHEN s.source IN ('database', 'user', 'database user', 'global', 'client', 'session') THEN s.boot_val ELSE s.setting END FROM pg_settings s WHERE s.name = $1))
$$;

-- Tells whether a login has the settings of gan_login_settings in this database.
CREATE FUNCTION gan_is_settled(login oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM gan_login_settings() AS s WHERE NOT EXISTS (
        SELECT FROM pg_db_role_setting d WHERE d.setrole = $1 AND d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND s.name || '=' || s.value = ANY (d.setconfig)))
$$;

CREATE FUNCTION gan_doctor_server() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH encoding AS (
        SELECT pg_encoding_to_char(d.encoding) AS name, d.encoding <> 0 AND (pg_encoding_to_char(d.encoding) = 'UTF8' OR pg_encoding_max_length(d.encoding) = 1) AS fine
        FROM pg_database d WHERE d.datname = current_database()),
    path AS (
        SELECT gan_setting_of_new('search_path') AS now, btrim('@extschema@', '"') = ANY (SELECT btrim(p, ' "') FROM string_to_table(gan_setting_of_new('search_path'), ',') AS p) AS fine),
    in_the_way AS (
        SELECT string_agg(format('%s = %s', s.name, gan_setting_of_new(s.name)), ', ' ORDER BY s.name) AS names
        FROM gan_login_settings() AS s, path
        WHERE CASE s.name WHEN 'search_path' THEN NOT path.fine WHEN 'jit' THEN false ELSE gan_setting_of_new(s.name) <> s.value END),
    unsettled AS (
        SELECT string_agg(quote_ident(s.login), ', ' ORDER BY s.login) AS names, string_agg(format('SELECT @extschema@.gan_settle_login(%L);', s.login), ' ' ORDER BY s.login) AS sql
        FROM gan_student_login s, in_the_way WHERE s.may_login AND in_the_way.names IS NOT NULL AND NOT gan_is_settled(s.role)
            AND (EXISTS (SELECT FROM gan_worker w WHERE w.login = s.login)
                 OR NOT EXISTS (SELECT FROM pg_db_role_setting d WHERE d.setrole = s.role AND d.setdatabase <> 0))), -- those of another database's class
    checks (item, fine, state, finding, remedy) AS (
        SELECT 'encoding', fine, 'fix', name,
               format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8'' LOCALE ''C.UTF-8''; -- and move the class there by pg_dump; texts in %s can''t be told from garbage', current_database() || '_utf8', name) FROM encoding
        UNION ALL SELECT 'search_path', fine, 'warn', format('%s; the functions are in %s', now, '@extschema@'),
               format('ALTER DATABASE %I SET search_path = %s, %s; -- or write %s.gan_... each time', current_database(), '@extschema@', now, '@extschema@') FROM path
        UNION ALL SELECT 'settings that students need', unsettled.names IS NULL, 'fix',
               CASE WHEN unsettled.names IS NULL THEN 'they have them' ELSE format('in the way of %s: %s', unsettled.names, in_the_way.names) END, unsettled.sql FROM unsettled, in_the_way
        UNION ALL SELECT 'read-only', NOT gan_stays_read_only(), 'fix', CASE WHEN gan_stays_read_only() THEN 'the class stands still' ELSE 'no' END,
               CASE WHEN pg_is_in_recovery() THEN '-- this is a standby: connect to the primary' ELSE format('ALTER DATABASE %I RESET default_transaction_read_only; -- or whoever set it for the server or a role does that', current_database()) END
        UNION ALL SELECT 'session_replication_role', gan_setting_of_new('session_replication_role') IN ('origin', 'local'), 'fix', gan_setting_of_new('session_replication_role'),
               format('ALTER DATABASE %I SET session_replication_role = origin; -- otherwise nobody checks that rows belong together', current_database()))
    SELECT c.item, CASE WHEN fine THEN 'ok' ELSE c.state END, c.finding, CASE WHEN NOT fine THEN c.remedy END FROM checks c
$$;
