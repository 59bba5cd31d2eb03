-- Drops the views and functions of the previous version; the rest of this script creates them
-- again. Functions that table columns depend on stay. (All tables are locked first, so that no
-- worker and no coordinator gets in between.)
DO $$
DECLARE
    doomed text;
BEGIN
    SELECT string_agg(c.oid::regclass::text, ', ') INTO doomed FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'gannsfriends') AND c.relkind IN ('r', 'p');
    EXECUTE 'LOCK TABLE ' || doomed || ' IN ACCESS EXCLUSIVE MODE';
    SELECT string_agg(c.oid::regclass::text, ', ') INTO doomed FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'gannsfriends') AND c.relkind = 'v';
    EXECUTE 'DROP VIEW ' || doomed;
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO doomed FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'gannsfriends')
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend u WHERE u.refclassid = 'pg_catalog.pg_proc'::regclass AND u.refobjid = p.oid
                            AND u.classid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_attrdef'::regclass, 'pg_catalog.pg_constraint'::regclass));
    EXECUTE 'DROP ROUTINE ' || doomed;
END
$$;
