-- -------------------------------------------------------------------------------------------------
-- Logins and connection strings
-- -------------------------------------------------------------------------------------------------

-- The form in which the server stores a password (SCRAM-SHA-256).
CREATE FUNCTION gan_scram_verifier(password text) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME';

-- Tells whether a text can be a login: at most 63 bytes of letters of any script, digits, spaces
-- and _.@+-
CREATE FUNCTION gan_is_login(name text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

-- Percent-encodes a part of a URI: all bytes but plain letters, digits and -._~ become %XX. The
-- bytes are in the database's encoding, because the server compares names in it.
CREATE FUNCTION gan_percent(part text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(CASE WHEN b.byte < 128
        AND chr(b.byte) COLLATE "C" ~ '[A-Za-z0-9._~-]' THEN chr(b.byte)
                                    ELSE '%' || upper(lpad(to_hex(b.byte), 2, '0')) END, ''
                                        ORDER BY b.place), '')
    FROM (SELECT p.place, get_byte(e.bytes, p.place) AS byte
          FROM (SELECT convert_to(part, getdatabaseencoding()) AS bytes) AS e,
              generate_series(0, octet_length(e.bytes) - 1) AS p (place)) AS b
$$;

-- The login for a name: "Smith, Fritz" becomes Fritz Smith, an e-mail address is put in lower case,
-- and apostrophes are left out of both. Any other text is the login unchanged.
CREATE FUNCTION gan_login_of(name text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    login text := btrim(regexp_replace(name, ' +', ' ', 'g'));
BEGIN
    login := regexp_replace(login, '^([^,]+), ?([^,]+)$', E'\\2 \\1');
    IF login ~ '[ @]' THEN
        login := replace(login, '''', '');
    END IF;
    IF login ~ '@' THEN
        login := lower(login);
    END IF;
    PERFORM gan_require(gan_is_login(login)
        AND login COLLATE "C" !~* '^pg_'
        AND login NOT IN ('public', 'none'), 'name', quote_nullable(left(name, 64)),
                        'at most 63 bytes of letters, digits, spaces and _.@+-, begin with a '
                            'letter or digit, and not with "pg_"',
                            '''alice''');
    RETURN login;
END
$$;

-- Tells whether a text is an address in numbers.
CREATE FUNCTION gan_is_inet(address text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN address COLLATE "C" ~ '^[0-9A-Fa-f:.]+$'
        AND masklen(address::inet) = CASE WHEN address LIKE '%:%' THEN 128 ELSE 32 END;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN false;
END
$$;

-- Splits an address into host (without brackets) and port. NULL if it isn't an address.
CREATE FUNCTION gan_split_address(address text, OUT host text, OUT port int)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    part text[];
    fine boolean;
BEGIN
    address := btrim(address);
    IF address LIKE '[%' THEN -- an IPv6 address, with a port or without
        part := regexp_match(address, '^[[]([^]]+)[]](?::([0-9]{1,5}))?$');
        fine := part[1] LIKE '%:%'
            AND gan_is_inet(split_part(part[1], '%', 1))
            AND part[1] COLLATE "C" ~ '^[^%]+(%[A-Za-z0-9._-]+)?$';
    ELSIF address LIKE '/%' THEN -- the folder of a socket
        part := regexp_match(address, '^(/[^:]*)(?::([0-9]{1,5}))?$');
        fine := octet_length(part[1]) < 100 AND part[1] COLLATE "C" !~ '[[:cntrl:]]';
    ELSIF address LIKE '%:%:%' THEN -- an IPv6 address without brackets: all of it
        part := ARRAY[address, NULL];
        fine := gan_is_inet(split_part(address, '%', 1))
            AND address COLLATE "C" ~ '^[^%]+(%[A-Za-z0-9._-]+)?$';
    ELSE
        part := regexp_match(address, '^([^:]+)(?::([0-9]{1,5}))?$');
        fine := CASE
            WHEN part[1] COLLATE "C" ~ '(^|[.])[0-9]+$' THEN part[1] ~ '^[0-9]+([.][0-9]+){3}$'
            AND gan_is_inet(part[1])
                     ELSE length(part[1]) <= 253
                         AND part[1] COLLATE "C" ~
                             '^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?([.][A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*[.]?$' END;
    END IF;
    IF fine AND coalesce(part[2]::int BETWEEN 1 AND 65535, true) THEN
        host := part[1];
        port := coalesce(part[2]::int, current_setting('port')::int);
    END IF;
END
$$;

-- The hosts of a URI, as in postgresql://...@HERE/..., from what the instructor gives: a name or a
-- numeric address, with or without a port, the folder of a socket, or several of these, separated
-- by commas.
CREATE FUNCTION gan_uri_hosts(host text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    hosts text;
    fine boolean;
BEGIN
    SELECT string_agg(CASE
        WHEN a.host LIKE '%:%' THEN '[' || replace(a.host, '%', '%25') || ']'
        ELSE gan_percent(a.host) END
        || ':' || a.port,
        ','
        ORDER BY l.place),
           bool_and(a.host IS NOT NULL) INTO hosts, fine
        FROM string_to_table(host, ',') WITH ORDINALITY AS l (address, place),
            gan_split_address(l.address) AS a;
    PERFORM gan_require(fine, 'host', quote_nullable(left(host, 64)),
        'a name or an address, with or without :port; several separated by commas',
        '''db.example.org:5432''');
    RETURN hosts;
END
$$;

-- Creates a login in a group, or a new password for it; returns its connection string. It runs with
-- the caller's rights: the caller needs CREATEROLE.
CREATE FUNCTION gan_admit(login text, member_of name, connections int, hosts text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    password text := replace(gen_random_uuid()::text, '-', '');
    alike name := (SELECT r.rolname
        FROM pg_roles r
        WHERE r.rolname <> login AND lower(r.rolname) = lower(login)
        LIMIT 1);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = login) THEN
        IF alike IS NOT NULL THEN
            RAISE EXCEPTION 'there is a login "%" already, which differs from "%" by capitals '
                'alone',
                alike, login
                USING ERRCODE = 'duplicate_object',
                    HINT = 'Write it the same way if it is the same person, otherwise choose '
                        'another name.';
        END IF;
        EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION '
            'CONNECTION LIMIT %s PASSWORD %L IN ROLE %I',
                       login, connections, gan_scram_verifier(password), member_of);
    ELSIF EXISTS (SELECT
        FROM pg_auth_members m
        JOIN pg_roles r ON r.oid = m.member
        WHERE m.roleid = member_of::regrole AND r.rolname = login) THEN
        -- a student who was expelled may log in again
        EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', login, gan_scram_verifier(password));
        RAISE NOTICE '"%" is enrolled already: this is a new password, the old one no longer works',
            login;
    ELSE
        RAISE EXCEPTION 'there is a role "%" that is not a member of %', login, member_of
            USING ERRCODE = 'duplicate_object', HINT = 'Choose another name.';
    END IF;
    RETURN format('postgresql://%s:%s@%s/%s%s', gan_percent(login), password, hosts,
        gan_percent(current_database()),
                  CASE WHEN hosts LIKE '%,%' THEN '?target_session_attrs=read-write' END);
END
$$;

-- The server's address for students if the instructor gives none: the one at which the instructor
-- is connected.
CREATE FUNCTION gan_own_address() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(host(inet_server_addr()), 'localhost')
$$;

-- Raises a notice if the address can't be reached from another machine.
CREATE FUNCTION gan_note_local_address() RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF gan_own_address() COLLATE "C" ~ '^(localhost|127[.]|::1$)' THEN
        RAISE NOTICE 'this connection string works on the server''s own machine only'
            USING HINT = 'Give the name by which students reach the server: '
                'gan_enroll(''alice'', ''db.example.org'').';
    END IF;
END
$$;

CREATE FUNCTION gan_enroll_student(login text, hosts text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    connection text := gan_admit(login, 'gan_student', 4, hosts);
BEGIN
    PERFORM gan_limit_student(login);
    RETURN connection;
END
$$;

CREATE FUNCTION gan_enroll(name text, host text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    login text := gan_login_of(name);
    connection text := gan_enroll_student(login, gan_uri_hosts(coalesce(host, gan_own_address())));
BEGIN
    IF login <> name THEN
        RAISE NOTICE 'the login is "%"', login;
    END IF;
    IF host IS NULL THEN
        PERFORM gan_note_local_address();
    END IF;
    RETURN connection;
END
$$;

-- The same for a screen or an exporter, which may read what everybody may see.
CREATE FUNCTION gan_enroll_viewer(name text, host text DEFAULT 'localhost') RETURNS text
    LANGUAGE sql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT gan_admit(gan_login_of(name), 'gan_viewer', 16, gan_uri_hosts(host))
$$;

COMMENT ON FUNCTION gan_enroll(text, text)
    IS 'Creates a student''s login, or a new password for it; returns the connection string for '
        'gan_worker';
COMMENT ON FUNCTION gan_enroll_viewer(text, text)
    IS 'Creates a login that may read what everybody may see (gan_viewer); returns the connection '
        'string for gan_dashboard';
