\echo Use "CREATE EXTENSION gannsfriends" to load this file. \quit

-- Three roles, shared by all databases of the server: one owns everything and can't log in, one is what students are members of, one may
-- look at what everybody may see: pictures, figures, nick-names.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gan_owner', 'gan_student', 'gan_viewer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) role) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
        ELSIF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) role
                      AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolbypassrls)) THEN
            RAISE EXCEPTION 'role "%" exists and has more rights than it may have', role
                USING ERRCODE = 'duplicate_object',
                      HINT = pg_catalog.format('It must be NOLOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS. Rename or drop it: DROP ROLE %I.', role);
        END IF;
    END LOOP;
END
$$;
