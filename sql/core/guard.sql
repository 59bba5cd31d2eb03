\echo Use "CREATE EXTENSION gannsfriends" to load this file. \quit

-- Students' text is UTF-8 and is converted to the database's encoding and back, so every character
-- of that encoding must have a conversion. (An extension of 0.1.0 may be updated in any database:
-- it will work no worse than before.)
DO $$
DECLARE
    encoding int := (SELECT d.encoding
        FROM pg_catalog.pg_database d
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database());
    encoding_name text := pg_catalog.pg_encoding_to_char(encoding);
BEGIN
    IF pg_catalog.to_regclass('@extschema@.gan_run') IS NOT NULL
        OR encoding_name OPERATOR(pg_catalog.=) 'UTF8'
       OR (encoding_name OPERATOR(pg_catalog.<>) 'SQL_ASCII'
           AND pg_catalog.pg_encoding_max_length(encoding) OPERATOR(pg_catalog.=) 1) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'the encoding of database "%" is %, which gannsfriends can''t work with',
        pg_catalog.current_database(), encoding_name
        USING ERRCODE = 'feature_not_supported',
              DETAIL = 'It works in UTF8 and in every encoding of one byte a character (LATIN1, '
                  'WIN1252, ...) but SQL_ASCII.',
              HINT = 'Make a database for the class: CREATE DATABASE train TEMPLATE template0 '
                  'ENCODING ''UTF8'' LOCALE ''C.UTF-8''; and create the extension there.';
END
$$;

-- The C functions read and write these tables as heaps, so a different default_table_access_method
-- must not apply to them. (The setting lasts until the end of this script.)
SET LOCAL default_table_access_method = heap;

-- Four roles, shared by all databases of the server. gan_owner owns everything and can't log in;
-- students are members of gan_student; gan_viewer may see what everybody may see (pictures,
-- figures, nicknames); rules in SQL run as gan_nobody, which has no rights.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gan_owner', 'gan_student', 'gan_viewer', 'gan_nobody'] LOOP
        IF NOT EXISTS (SELECT
            FROM pg_catalog.pg_roles
            WHERE rolname OPERATOR(pg_catalog.=) role) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
        ELSIF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) role
                      AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolbypassrls)) THEN
            RAISE EXCEPTION 'role "%" exists and has more rights than it may have', role
                USING ERRCODE = 'duplicate_object',
                      HINT = pg_catalog.format('It must be NOLOGIN NOSUPERUSER NOCREATEROLE '
                          'NOBYPASSRLS. Rename or drop it: DROP ROLE %I.',
                          role);
        END IF;
    END LOOP;
END
$$;
