-- -------------------------------------------------------------------------------------------------
-- Rights: everything belongs to gan_owner; others may do nothing, except that students may call the
-- worker's functions
-- -------------------------------------------------------------------------------------------------

-- An update leaves existing objects alone. Otherwise their current rights, including grants by the
-- instructor, would count as part of the extension, and pg_dump would leave them out.
DO $$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT c.oid::regclass::text AS name, c.relkind
            FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_class'::regclass
            AND d.refclassid = 'pg_catalog.pg_extension'::regclass
            AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid
                FROM pg_catalog.pg_extension
                WHERE extname = 'gannsfriends')
                AND c.relkind IN ('r', 'p', 'v')
            AND c.relowner OPERATOR(pg_catalog.<>) 'gan_owner'::regrole
    LOOP
        EXECUTE pg_catalog.format('ALTER %s %s OWNER TO gan_owner',
            CASE object.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, object.name);
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', object.name);
    END LOOP;
    FOR object IN
        SELECT p.oid::regprocedure::text AS name, p.prokind, p.proname
            FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_proc p ON p.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass
            AND d.refclassid = 'pg_catalog.pg_extension'::regclass
            AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid
                FROM pg_catalog.pg_extension
                WHERE extname = 'gannsfriends')
            AND p.proowner OPERATOR(pg_catalog.<>) 'gan_owner'::regrole
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO gan_owner', object.name);
        EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', object.name);
    END LOOP;
END
$$;

-- If the tables were created in a tablespace (default_tablespace), the partitions of new runs go
-- there, too.
DO $$
DECLARE
    place text;
BEGIN
    FOR place IN SELECT DISTINCT t.spcname
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_tablespace t ON t.oid OPERATOR(pg_catalog.=) c.reltablespace
        WHERE c.oid IN ('gan_state_piece'::regclass, 'gan_gradient_piece'::regclass) LOOP
        EXECUTE pg_catalog.format('GRANT CREATE ON TABLESPACE %I TO gan_owner', place);
    END LOOP;
END
$$;

GRANT USAGE, CREATE ON SCHEMA @extschema@ TO gan_owner; -- partitions of new runs
GRANT USAGE ON SCHEMA @extschema@ TO gan_student;
GRANT EXECUTE ON FUNCTION gan_hello(), gan_run_config(text),
    gan_join(int, text, bigint, bytea, int, int, text, text, text, int), gan_claim(int),
    gan_renew(bigint, uuid),
    gan_release(bigint, uuid), gan_fetch_weights(int, int, int), gan_fetch_change(int, int, int),
        gan_upload(bigint, uuid, int, bytea),
    gan_submit(bigint, uuid, bigint, int, float8, float8, float8, float8), gan_credit(int),
        gan_standing(int, bigint) TO gan_student;
