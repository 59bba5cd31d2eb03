-- ---------------------------------------------------------------------------------------------------------------------
-- Students' logins
-- ---------------------------------------------------------------------------------------------------------------------

-- Makes a login for a student and returns its connection string. Runs with the caller's rights: it takes CREATEROLE.
CREATE FUNCTION gan_enroll(name text, host text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    password text := replace(gen_random_uuid()::text, '-', '');
    the_host text := coalesce(host, host(inet_server_addr()), 'localhost');
BEGIN
    PERFORM gan_require(name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,62}$' AND name !~* '^pg_', 'name', quote_nullable(left(name, 64)),
                        'at most 63 letters, digits, underscores, dots or dashes, begin with a letter, and not with "pg_"', '''alice''');
    PERFORM gan_require(the_host ~ '^[A-Za-z0-9._:-]{1,255}$', 'host', quote_nullable(left(the_host, 64)), 'a host name or address', '''db.example.org''');
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 4 PASSWORD %L IN ROLE gan_student', name, password);
    ELSIF EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = 'gan_student'::regrole AND m.member = quote_ident(name)::regrole) THEN
        EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', name, password); -- whoever was expelled is in again
        RAISE NOTICE 'student "%" is enrolled already: this is a new password, the old one no longer works', name;
    ELSE
        RAISE EXCEPTION 'there is a role "%" that is not a student', name USING ERRCODE = 'duplicate_object', HINT = 'Choose another name.';
    END IF;
    PERFORM gan_limit_student(name);
    RETURN format('postgresql://%s:%s@%s:%s/%s', name, password, CASE WHEN the_host LIKE '%:%' THEN '[' || the_host || ']' ELSE the_host END,
                  current_setting('port'), replace(replace(current_database(), '%', '%25'), ' ', '%20'));
END
$$;

COMMENT ON FUNCTION gan_enroll(text, text) IS 'Makes a student''s login, or a new password for it; returns the connection string for gan_worker';
