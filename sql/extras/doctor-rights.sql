-- -------------------------------------------------------------------------------------------------
-- gan_doctor's checks of rights and roles
-- -------------------------------------------------------------------------------------------------

-- Functions of PostgreSQL with which a session can disturb others.
CREATE VIEW gan_risky_function AS
    SELECT p.oid AS function, p.proname AS name FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
        AND p.proname ~
            '^(pg_(try_)?advisory_.*|lo_.*|lo(read|write)|pg_sleep.*|pg_notify|set_config|pg_logical_emit_message|pg_export_snapshot)$'
        AND pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE');

-- Revokes them from everybody but gan_owner. Superusers keep them.
CREATE PROCEDURE gan_revoke_risky()
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT function FROM gan_risky_function LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO gan_owner', one);
    END LOOP;
END
$$;

-- What everybody may do in this database. With the guard on, students can't use these rights
-- anyway: this is a second line of defence.
CREATE FUNCTION gan_doctor_rights() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH risky (n) AS (SELECT count(*) FROM gan_risky_function),
    writable AS (
        SELECT string_agg(quote_ident(nspname), ', ') AS names FROM pg_namespace
        WHERE has_schema_privilege('public', oid, 'CREATE')
            OR has_schema_privilege('gan_student', oid, 'CREATE')),
    languages AS (
        SELECT string_agg(quote_ident(lanname), ', ') AS names
            FROM pg_language
            WHERE lanpltrusted AND has_language_privilege('public', oid, 'USAGE')),
    others AS (
        SELECT array_agg(quote_ident(datname)) AS list,
            string_agg(quote_ident(datname), ', ') AS names
            FROM pg_database
        WHERE datallowconn
            AND datname <> current_database()
            AND has_database_privilege('gan_student', oid, 'CONNECT')),
    second (state) AS (SELECT CASE gan_guard() WHEN 'on' THEN 'warn' ELSE 'fix' END),
    checks (item, fine, state, well, wrong, remedy) AS (
        SELECT 'CONNECT for everybody',
            NOT has_database_privilege('public', current_database(), 'CONNECT'), 'fix',
            'nobody but the class', 'every login of the server may connect here',
               format(E'REVOKE CONNECT ON DATABASE %1$I FROM PUBLIC;\nGRANT CONNECT ON DATABASE '
                   '%1$I TO gan_student, gan_viewer;',
                   current_database())
        UNION ALL SELECT 'CONNECT for students',
            has_database_privilege('gan_student', current_database(), 'CONNECT'), 'fix', 'yes',
            'students can''t connect',
               format('GRANT CONNECT ON DATABASE %I TO gan_student;', current_database())
        UNION ALL SELECT 'CONNECT for viewers',
            has_database_privilege('gan_viewer', current_database(), 'CONNECT'), 'fix', 'yes',
            'the dashboard can''t connect',
               format('GRANT CONNECT ON DATABASE %I TO gan_viewer;', current_database())
        UNION ALL SELECT 'TEMPORARY for everybody',
            NOT has_database_privilege('gan_student', current_database(), 'TEMPORARY'),
            second.state, 'no', 'students may fill the disk with temporary tables',
               format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC;', current_database())
                   FROM second
        UNION ALL SELECT 'other databases', others.names IS NULL, 'warn', 'closed to students',
            format('students may connect to %s', gan_some_of(others.list)),
               format('REVOKE CONNECT ON DATABASE %s FROM PUBLIC;', others.names) FROM others
        UNION ALL SELECT 'CREATE in schemas', writable.names IS NULL, 'fix', 'no',
            format('students may make objects in %s', writable.names),
               format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, gan_student;', writable.names)
                   FROM writable
        UNION ALL SELECT 'languages', languages.names IS NULL, second.state, 'none for students',
            format('students may write programs in %s', languages.names),
               format('REVOKE USAGE ON LANGUAGE %s FROM PUBLIC;', languages.names)
                   FROM languages, second
        UNION ALL SELECT 'functions of PostgreSQL', risky.n = 0, second.state,
            'none that can disturb others',
            format('%s functions that can disturb others are open to students', risky.n),
               'CALL gan_revoke_risky();' FROM risky, second)
    SELECT c.item, CASE WHEN fine THEN 'ok' ELSE c.state END,
        CASE WHEN fine THEN c.well ELSE c.wrong END, CASE WHEN NOT fine THEN c.remedy END
        FROM checks c
$$;

-- The roles: the owner of the extension, and what else students are or may do.
CREATE FUNCTION gan_doctor_roles() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH foreign_objects AS (
        SELECT array_agg(DISTINCT pg_describe_object(d.classid, d.objid, 0)) AS names
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'gannsfriends'
        LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
        LEFT
            JOIN pg_class c ON d.classid = 'pg_class'::regclass
                AND c.oid = d.objid
                AND c.relkind IN ('r', 'p', 'v')
        WHERE d.refclassid = 'pg_extension'::regclass
            AND d.deptype = 'e'
            AND coalesce(p.proowner, c.relowner) <> 'gan_owner'::regrole),
    privileged AS (SELECT array_agg(login) AS names,
        string_agg(format('ALTER ROLE %I NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;',
            login),
            E'\n') AS sql
                   FROM gan_student_login WHERE privileged),
    more_roles AS (SELECT array_agg(format('%s in %s', s.login, m.roleid::regrole)) AS names,
        string_agg(format('REVOKE %s FROM %I;', m.roleid::regrole, s.login), E'\n') AS sql
                   FROM gan_student_login s
                       JOIN pg_auth_members m ON m.member = s.role
                       WHERE m.roleid NOT IN ('gan_student'::regrole, 'gan_owner'::regrole)),
    superusers AS (SELECT array_agg(rolname) AS names,
        string_agg(format('REVOKE gan_student FROM %I;', rolname), E'\n') AS sql
                   FROM pg_roles
                       JOIN pg_auth_members m ON m.member = pg_roles.oid
                       WHERE m.roleid = 'gan_student'::regrole AND rolsuper),
    unlimited AS (SELECT array_agg(login) AS names,
        string_agg(format('ALTER ROLE %I CONNECTION LIMIT 4;', login), E'\n') AS sql
                  FROM gan_student_login WHERE may_login AND connections NOT BETWEEN 0 AND 8),
    configured AS (SELECT array_agg(DISTINCT format('%s: %s', login, setting)) AS names,
                          string_agg(DISTINCT format('ALTER ROLE %I%s RESET %I;', login,
                              ' IN DATABASE ' || quote_ident(database), setting),
                              E'\n') AS sql
                   FROM gan_foreign_setting),
    checks (item, names, state, wrong, remedy) AS (
        SELECT 'owner of the extension', names, 'fix', 'not owned by gan_owner: %s',
            '-- after pg_dump: DROP EXTENSION gannsfriends; CREATE EXTENSION gannsfriends;'
            FROM foreign_objects
        UNION ALL SELECT 'privileges of students', names, 'fix', 'may do more than a student: %s',
            sql
            FROM privileged
        UNION ALL SELECT 'other roles of students', names, 'fix',
            'are members of other roles: %s', sql
            FROM more_roles
        UNION ALL SELECT 'superusers among students', names, 'fix',
            'are superusers and students: %s', sql
            FROM superusers
        UNION ALL SELECT 'connections of a student', names, 'fix', 'may take all connections: %s',
            sql
            FROM unlimited
        UNION ALL SELECT 'settings of students', names, 'warn', 'not set by gan_enroll: %s', sql
            FROM configured)
    SELECT item, CASE WHEN names IS NULL THEN 'ok' ELSE state END,
        CASE
            WHEN names IS NULL THEN 'nothing to change'
            ELSE format(wrong, gan_some_of(names::text[])) END,
           CASE WHEN names IS NOT NULL THEN remedy END FROM checks
$$;

-- Limits that gan_enroll gives every student's login.
CREATE FUNCTION gan_doctor_limits() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT 'limits of students',
        CASE WHEN names IS NULL THEN 'ok' WHEN in_the_way THEN 'fix' ELSE 'warn' END,
           CASE
               WHEN names IS NULL THEN 'every login has them'
               ELSE 'time-outs or limits are missing for ' || gan_some_of(names) END,
           CASE
               WHEN names IS NOT NULL THEN 'CALL gan_limit_students();'
                   || CASE WHEN by_superuser THEN ' -- as a superuser' ELSE '' END END
    FROM (SELECT array_agg(DISTINCT login::text) AS names, bool_or(superuser) AS by_superuser,
        bool_or(gan_hinders(setting)) AS in_the_way
        FROM gan_lacking_limit) AS l
$$;

COMMENT ON VIEW gan_risky_function
    IS 'Functions of PostgreSQL that everybody may call and that can disturb others; not for '
        'students';
COMMENT ON PROCEDURE gan_revoke_risky()
    IS 'Takes advisory locks, large objects, set_config, pg_notify and pg_sleep from everybody';
