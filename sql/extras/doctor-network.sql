-- -------------------------------------------------------------------------------------------------
-- gan_doctor's checks of connections: whether students can reach the server, the lines of
-- pg_hba.conf, TLS and stored passwords
-- -------------------------------------------------------------------------------------------------

-- Whether the server listens on addresses of this machine only.
CREATE FUNCTION gan_listens_locally() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT current_setting('listen_addresses') ~ '^(localhost|127[.]0[.]0[.]1|::1|[, ])*$'
$$;

-- The command that adds the line for the class to pg_hba.conf.
CREATE FUNCTION gan_hba_command() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('-- in a shell: echo ''hostssl %s +gan_student,+gan_viewer all scram-sha-256'' | '
        'sudo tee -a %s',
        quote_ident(current_database()),
                  coalesce((SELECT setting FROM pg_settings WHERE name = 'hba_file'),
                      'pg_hba.conf'))
$$;

-- Whether a line of pg_hba.conf lets a student in from another machine, and no line before it
-- refuses. Only superusers can read these lines.
CREATE FUNCTION gan_hba_lets_in() RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT h.auth_method <> 'reject' FROM pg_hba_file_rules h
                     WHERE h.error IS NULL
                         AND h.type IN ('host',
                             CASE current_setting('ssl')
                                 WHEN 'on' THEN 'hostssl'
                                 ELSE 'hostnossl' END)
                         AND h.database && ARRAY['all', current_database()::text]
                         AND (h.user_name && ARRAY['all', '+gan_student', '+gan_viewer']
                             OR EXISTS (SELECT
                                 FROM gan_student_login s
                                 WHERE s.login = ANY (h.user_name)))
                         AND h.address !~ '^(127[.]|::1$|localhost$|samehost$)'
                             AND (h.auth_method <> 'reject' OR h.address IN ('all', '0.0.0.0'))
                     ORDER BY h.line_number LIMIT 1), false);
END
$$;

-- Whether a student on another machine can connect and is asked for the password.
CREATE FUNCTION gan_doctor_reach() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    deaf boolean := gan_listens_locally();
    changed boolean := (SELECT s.pending_restart
        FROM pg_settings s
        WHERE s.name = 'listen_addresses');
    let_in boolean;
BEGIN
    IF has_function_privilege('pg_hba_file_rules()', 'EXECUTE') THEN
        let_in := gan_hba_lets_in();
    END IF;
    item := 'reach';
    state := CASE WHEN deaf OR NOT let_in THEN 'fix' WHEN let_in THEN 'ok' ELSE 'warn' END;
    finding := CASE
        WHEN changed THEN 'listen_addresses is changed, but the server was not restarted'
                    WHEN deaf
                        AND let_in
                            THEN 'the server listens on this machine only: no student can connect'
                    WHEN deaf
                        THEN 'no student can connect: set listen_addresses and pg_hba.conf'
                    WHEN let_in THEN format('students can connect at port %s',
                        current_setting('port'))
                    WHEN NOT let_in
                        THEN 'no line of pg_hba.conf lets students in from other machines'
                    ELSE 'you may not see pg_hba.conf: only a superuser may' END;
    remedy := CASE
        WHEN state = 'fix' THEN concat_ws(E'\n',
            CASE WHEN deaf AND NOT changed THEN E'ALTER SYSTEM SET listen_addresses = ''*'';' END,
                                                     CASE
                                                         WHEN let_in IS NOT TRUE
                                                             THEN gan_hba_command() END,
                                                     CASE WHEN deaf
                                                         OR changed THEN gan_restart_remedy()
                                                             ELSE E'-- then: SELECT '
                                                                 'pg_reload_conf();' END)
                   WHEN state = 'warn' THEN '-- as a superuser: SELECT * FROM gan_doctor();' END;
    RETURN NEXT;
END
$$;

-- Lines of pg_hba.conf with an error, or with a weak way to log in.
CREATE FUNCTION gan_doctor_hba() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    weak text[];
BEGIN
    item := 'pg_hba.conf';
    IF NOT has_function_privilege('pg_hba_file_rules()', 'EXECUTE') THEN
        state := 'warn';
        finding := 'you may not see it';
        remedy := '-- as a superuser: SELECT * FROM gan_doctor();';
    ELSE
        SELECT array_agg(format('line %s (%s)', h.line_number,
            CASE
                WHEN h.error IS NOT NULL THEN 'an error'
                ELSE concat_ws(' ', h.type, h.auth_method) END)
            ORDER BY h.line_number)
            INTO weak
            FROM pg_hba_file_rules h
            WHERE h.error IS NOT NULL
                OR h.auth_method IN ('trust', 'password', 'md5', 'ident')
                AND h.type <> 'local'
                AND NOT 'replication' = ANY (h.database)
                OR NOT gan_listens_locally()
                    AND h.type IN ('host', 'hostnossl')
                    AND h.auth_method = 'scram-sha-256'
                    AND h.address NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost');
        state := CASE WHEN weak IS NULL THEN 'ok' ELSE 'fix' END;
        finding := coalesce('weak or without TLS: ' || gan_some_of(weak), 'no weak line');
        remedy := CASE
            WHEN weak IS NOT NULL
                THEN format(E'-- take these lines out of %s;\n-- the class needs only: hostssl '
                    '%s +gan_student,+gan_viewer all scram-sha-256\nSELECT pg_reload_conf();',
                                                         coalesce((SELECT setting
                                                             FROM pg_settings
                                                             WHERE name = 'hba_file'),
                                                             'pg_hba.conf'),
                                                             quote_ident(current_database())) END;
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION gan_doctor_tls() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT 'TLS', CASE WHEN on_or_local THEN 'ok' ELSE 'fix' END,
           CASE
               WHEN current_setting('ssl') = 'on' THEN 'on'
               WHEN on_or_local THEN 'off, and only this machine connects'
               ELSE 'off: others on the network can read the traffic' END,
           CASE
               WHEN NOT on_or_local
                   THEN E'-- make a certificate first: docs/instructor.md, "A certificate"\nALTER '
                       'SYSTEM SET ssl = on;\nSELECT pg_reload_conf();' END
    FROM (SELECT current_setting('ssl') = 'on' OR gan_listens_locally() AS on_or_local) AS looked
$$;

CREATE FUNCTION gan_doctor_passwords()
    RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    weak text[];
BEGIN
    item := 'stored passwords';
    IF NOT has_table_privilege('pg_authid', 'SELECT') THEN
        state := 'warn';
        finding := 'you may not see them';
        remedy := '-- as a superuser: SELECT * FROM gan_doctor();';
    ELSE
        EXECUTE 'SELECT array_agg(s.login::text), string_agg(format(''SELECT gan_enroll(%L);'', '
            's.login), chr(10)) FROM gan_student_login s JOIN pg_authid a ON a.oid = s.role
                 WHERE s.may_login AND (a.rolpassword IS NULL OR a.rolpassword !~ ''^SCRAM-SHA-256'')' INTO weak, remedy;
        state := CASE WHEN weak IS NULL THEN 'ok' ELSE 'fix' END;
        finding := coalesce('missing or in a weak form: ' || gan_some_of(weak), 'all are SCRAM');
    END IF;
    RETURN NEXT;
END
$$;
