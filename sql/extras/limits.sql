-- -------------------------------------------------------------------------------------------------
-- Settings of students' logins
-- -------------------------------------------------------------------------------------------------

-- The students: members of gan_student that are not superusers.
CREATE VIEW gan_student_login AS
    SELECT r.oid AS role, r.rolname AS login, r.rolcanlogin AS may_login,
        r.rolconnlimit AS connections,
           r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS privileged
    FROM pg_catalog.pg_roles r
        JOIN pg_catalog.pg_auth_members m ON m.member = r.oid
        JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
    WHERE g.rolname = 'gan_student' AND NOT r.rolsuper;

-- The settings of a student's login in this database. They are set for each login and not for the
-- whole server, because limits for students must not end the instructor's own psql, and a login
-- doesn't inherit settings from gan_student. Some of them only a superuser can set. The others are
-- what a worker's session needs, even if an administrator has set something else for the server,
-- the database or the role. (default_transaction_read_only is not among them: while a database is
-- read-only, it is read-only for students, too.)
CREATE FUNCTION gan_student_settings() RETURNS TABLE (setting text, value text, superuser boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- for servers without the watchdog
    VALUES ('idle_session_timeout', '60s', false),
           ('idle_in_transaction_session_timeout', '60s', false),
           -- a session must not fill the disk
           ('temp_file_limit', '1GB', true),
           -- nor fill the log with statements that fail
           ('log_min_error_statement', 'panic', true),
           -- workers call the functions by their names alone
           ('search_path', '@extschema@', false),
           -- otherwise concurrent claims fail
           ('default_transaction_isolation', 'read committed', false),
           ('default_transaction_deferrable', 'off', false),
           -- a slow line needs time for the weights
           ('statement_timeout', '0', false),
           -- a claim may have to wait for the end of a step
           ('lock_timeout', '0', false),
           -- numbers reach the workers unrounded
           ('extra_float_digits', '1', false),
           ('standard_conforming_strings', 'on', false),
           -- workers must not show messages for developers
           ('client_min_messages', 'notice', false),
           -- a refusal doesn't end the connection
           ('exit_on_error', 'off', false),
           ('transform_null_equals', 'off', false),
           ('plan_cache_mode', 'auto', false),
           -- short statements must not be compiled for seconds
           ('jit', 'off', false)
$$;

-- Gives a login those of these settings that the caller may set.
CREATE FUNCTION gan_limit_student(login text) RETURNS void
    LANGUAGE plpgsql
        SET search_path = pg_catalog, @extschema@, pg_temp
        SET quote_all_identifiers = off AS $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT s.setting, s.value FROM gan_student_settings() s
        WHERE NOT s.superuser
            OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper)
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %I = %s', login, current_database(),
            wanted.setting,
                       CASE wanted.setting
                           WHEN 'search_path' THEN wanted.value
                           ELSE quote_literal(wanted.value) END);
    END LOOP;
END
$$;

CREATE PROCEDURE gan_limit_students()
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT gan_limit_student(s.login) FROM gan_student_login s
$$;

-- Settings of students' logins: for this database, and for all databases.
CREATE VIEW gan_login_setting AS
    SELECT s.role, s.login, c.database, c.entry, pg_catalog.split_part(c.entry, '=', 1) AS setting
    FROM gan_student_login s
    JOIN (SELECT d.setrole, b.datname AS database, pg_catalog.unnest(d.setconfig) AS entry
          FROM pg_catalog.pg_db_role_setting d
              LEFT
                  JOIN pg_catalog.pg_database b ON b.oid = d.setdatabase) AS c ON c.setrole =
                      s.role;

-- Settings that logins lack here. Logins of another database's class are left out.
CREATE VIEW gan_lacking_limit AS
    SELECT s.login, w.setting, w.superuser
        FROM gan_student_login s
        CROSS JOIN gan_student_settings() w
    WHERE s.may_login AND NOT EXISTS (SELECT FROM gan_login_setting l
                      WHERE l.role = s.role
                          AND l.database = pg_catalog.current_database()
                          AND l.entry = w.setting || '=' || w.value)
        AND (EXISTS (SELECT FROM gan_worker m WHERE m.login = s.login)
             OR NOT EXISTS (SELECT
                 FROM gan_login_setting l
                 WHERE l.role = s.role AND l.database <> pg_catalog.current_database()));

-- Settings that logins have besides: the student or somebody else has set them.
CREATE VIEW gan_foreign_setting AS
    SELECT l.login, l.database, l.setting FROM gan_login_setting l
    WHERE l.database IS NULL
        OR l.database = pg_catalog.current_database()
        AND NOT EXISTS (SELECT FROM gan_student_settings() w WHERE w.setting = l.setting);

COMMENT ON VIEW gan_student_login IS 'Students'' logins, and which other rights they have';
COMMENT ON VIEW gan_login_setting IS 'Settings of students'' logins; not for students';
COMMENT ON VIEW gan_lacking_limit
    IS 'Which students'' logins lack which setting in this database; not for students';
COMMENT ON VIEW gan_foreign_setting
    IS 'Which students'' logins have settings that gan_enroll did not make; not for students';
COMMENT ON PROCEDURE gan_limit_students()
    IS 'Gives every student''s login the limits that gan_enroll gives a new one';
