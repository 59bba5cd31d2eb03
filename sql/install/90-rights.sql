-- ---------------------------------------------------------------------------------------------------------------------
-- Rights: everything belongs to gan_owner, nobody else may do anything, students may call the worker's functions
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT c.oid::regclass::text AS name, c.relkind FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'gannsfriends') AND c.relkind IN ('r', 'p', 'v')
    LOOP
        EXECUTE pg_catalog.format('ALTER %s %s OWNER TO gan_owner', CASE object.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, object.name);
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', object.name);
    END LOOP;
    FOR object IN
        SELECT p.oid::regprocedure::text AS name, p.prokind, p.proname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'gannsfriends')
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO gan_owner', object.name);
        EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', object.name);
    END LOOP;
END
$$;

GRANT USAGE, CREATE ON SCHEMA @extschema@ TO gan_owner; -- partitions of new runs
GRANT USAGE ON SCHEMA @extschema@ TO gan_student;
GRANT EXECUTE ON FUNCTION gan_run_config(text), gan_join(int, text, bigint, bytea, int, int, text, text), gan_claim(int), gan_renew(bigint, uuid),
    gan_release(bigint, uuid), gan_fetch_weights(int, int, int), gan_fetch_change(int, int, int), gan_upload(bigint, uuid, int, bytea),
    gan_submit(bigint, uuid, bigint, int, float8, float8, float8, float8), gan_credit(int) TO gan_student;
GRANT EXECUTE ON FUNCTION gan_reference_wanted(int), gan_contribute_reference(int, int, bytea) TO gan_student;

-- What everybody may see holds no login, no host and no password.
GRANT USAGE ON SCHEMA @extschema@ TO gan_viewer;
GRANT gan_viewer TO gan_student;
GRANT SELECT ON gan_progress, gan_learning_curve, gan_leaderboard, gan_cluster, gan_sheet_list TO gan_viewer;
GRANT EXECUTE ON FUNCTION gan_sheet_png(int, int), gan_iteration_report(int, int) TO gan_viewer;
GRANT EXECUTE ON FUNCTION gan_set_nickname(text) TO gan_student;
