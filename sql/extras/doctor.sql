-- -------------------------------------------------------------------------------------------------
-- gan_doctor: checks what docs/security.md and docs/reliability.md leave to the instructor
-- -------------------------------------------------------------------------------------------------

-- A check is a function that returns rows of
--   item     what is checked
--   state    fix, warn or ok
--   finding  one short sentence for a person (about 70 characters)
--   remedy   NULL, or lines: each is one whole SQL statement, or a comment that begins with "--"
-- and is listed here. All run with the caller's rights: what the caller may not see is reported as
-- 'warn'.
CREATE FUNCTION gan_doctor_checks() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT * FROM gan_doctor_coordinator()
    UNION ALL SELECT * FROM gan_doctor_reach()
    UNION ALL SELECT * FROM gan_doctor_tls()
    UNION ALL SELECT * FROM gan_doctor_hba()
    UNION ALL SELECT * FROM gan_doctor_passwords()
    UNION ALL SELECT * FROM gan_doctor_guard()
    UNION ALL SELECT * FROM gan_doctor_watchdog()
    UNION ALL SELECT * FROM gan_doctor_rights()
    UNION ALL SELECT * FROM gan_doctor_roles()
    UNION ALL SELECT * FROM gan_doctor_limits()
    UNION ALL SELECT * FROM gan_doctor_class()
    UNION ALL SELECT * FROM gan_doctor_runs()
    UNION ALL SELECT * FROM gan_doctor_memory()
    UNION ALL SELECT * FROM gan_doctor_checksums()
    UNION ALL SELECT * FROM gan_doctor_server()
    UNION ALL SELECT * FROM gan_doctor_settings()
$$;

-- What to do; with everything => true also what is fine.
CREATE FUNCTION gan_doctor(everything boolean DEFAULT false)
    RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH checks AS (SELECT c.*, row_number() OVER () AS place FROM gan_doctor_checks() c),
    shown AS (SELECT * FROM checks c WHERE everything OR c.state <> 'ok'
              UNION ALL SELECT 'all', 'ok', format('%s checks, and nothing to do', count(*)), NULL,
                  0
                  FROM checks c
                  HAVING bool_and(c.state = 'ok'))
    SELECT s.item, s.state, s.finding, s.remedy
        FROM shown s
        ORDER BY array_position(ARRAY['fix', 'warn', 'ok'], s.state), s.place
$$;

-- Only the remedies, one statement or comment per row: to save and read first (\g), or to run
-- directly (\gexec). Reloading the configuration or restarting the server comes once, at the end.
CREATE FUNCTION gan_doctor_sql(also_warnings boolean DEFAULT true) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH found AS (SELECT d.*, row_number() OVER () AS place
        FROM gan_doctor() d
        WHERE d.remedy IS NOT NULL AND (d.state = 'fix' OR also_warnings)),
    lines (place, number, line) AS (
        SELECT f.place, 0, format('-- %s: %s', f.item, translate(f.finding, E'\r\n', '  '))
            FROM found f
        UNION ALL SELECT f.place, r.number, r.line
            FROM found f, string_to_table(f.remedy, E'\n') WITH ORDINALITY AS r (line, number)
            WHERE r.line <> 'SELECT pg_reload_conf();'
        UNION ALL SELECT DISTINCT 1000000, 0, 'SELECT pg_reload_conf();'
            FROM found f
            WHERE f.remedy ~ 'SELECT pg_reload_conf[(][)];|ALTER SYSTEM'),
    once AS (SELECT min(place) AS place, min(number) AS number, line
        FROM lines
        WHERE line !~ '^--'
        GROUP BY line
             UNION ALL SELECT place, number, line
                 FROM lines
                 WHERE line ~ '^--' AND line <> gan_restart_remedy()
             UNION ALL SELECT DISTINCT 1000001, 0, line
                 FROM lines
                 WHERE line = gan_restart_remedy())
    SELECT line FROM once ORDER BY place, number
$$;

COMMENT ON FUNCTION gan_doctor(boolean)
    IS 'What to fix on this server (docs/security.md): fix or warn, and the commands that help; '
        'everything => true also shows what is fine';
COMMENT ON FUNCTION gan_doctor_sql(boolean) IS
    E'The remedies of gan_doctor, one statement or comment per row: to read, or to run by \\gexec';
