-- ---------------------------------------------------------------------------------------------------------------------
-- Settings of students' sessions
-- ---------------------------------------------------------------------------------------------------------------------

-- What a worker's session needs. Somebody may have set any of these otherwise, for the whole server, the database or a role: then a worker
-- doesn't find the functions, or each claim fails. What is set for a login in one database goes before all of that.
-- (Not default_transaction_read_only: a database that is read-only for a while is so for students, too.)
CREATE FUNCTION gan_login_settings() RETURNS TABLE (name text, value text, why text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('search_path', '@extschema@', 'workers call the functions by their names alone'),
           ('default_transaction_isolation', 'read committed', 'claims fail while others claim'),
           ('default_transaction_deferrable', 'off', 'claims wait for each other'),
           ('statement_timeout', '0', 'a slow line never gets its weights'),
           ('lock_timeout', '0', 'claims fail during a step'),
           ('extra_float_digits', '1', 'numbers lose digits on their way to the workers'),
           ('standard_conforming_strings', 'on', 'texts have another meaning'),
           ('client_min_messages', 'notice', 'workers show what is for developers'),
           ('exit_on_error', 'off', 'each refusal ends the connection'),
           ('transform_null_equals', 'off', 'conditions have another meaning'),
           ('plan_cache_mode', 'auto', 'each claim is planned again'),
           ('jit', 'off', 'short statements are compiled, for seconds')
$$;

-- Sets them for a login, in this database. With the caller's rights: it takes CREATEROLE.
CREATE FUNCTION gan_settle_login(login name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    setting text;
BEGIN
    FOR setting IN SELECT format('%I = %s', s.name, CASE s.name WHEN 'search_path' THEN s.value ELSE quote_literal(s.value) END) FROM gan_login_settings() AS s LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %s', login, current_database(), setting);
    END LOOP;
END
$$;

COMMENT ON FUNCTION gan_settle_login(name) IS 'Gives a student''s login the settings that workers need in this database; gan_enroll does it';
