-- What the catalog says of rights: every row found here would be a hole
\set QUIET 1
\pset format unaligned
\pset tuples_only true
BEGIN;
SELECT plan(15);

CREATE TEMP VIEW routines AS
    SELECT p.* FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
        AND e.extname = 'gannsfriends';
CREATE TEMP VIEW relations AS
    SELECT c.* FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
        AND e.extname = 'gannsfriends';

SELECT cmp_ok((SELECT count(*) FROM routines)::int, '>', 20, 'the routines are found');
SELECT cmp_ok((SELECT count(*) FROM relations WHERE relkind IN ('r', 'p'))::int, '>=', 6,
    'the tables are found');
SELECT is_empty($$SELECT oid::regprocedure FROM routines WHERE proacl IS NULL
    OR proacl::text ~ '[{,]=X'$$, 'PUBLIC may execute nothing');
SELECT is_empty($$SELECT oid::regprocedure FROM routines WHERE prosecdef
    AND (proconfig IS NULL OR NOT proconfig::text ~ 'search_path=pg_catalog, \w+, pg_temp')$$,
    'every SECURITY DEFINER has a pinned search_path');
SELECT is_empty($$SELECT p.oid::regprocedure FROM routines p JOIN pg_roles r ON r.oid = p.proowner
    WHERE r.rolsuper OR r.rolcanlogin$$, 'no routine belongs to a superuser or to a login');
SELECT is_empty($$SELECT c.oid::regclass FROM relations c JOIN pg_roles r ON r.oid = c.relowner
    WHERE c.relkind IN ('r', 'p', 'v') AND (r.rolsuper OR r.rolcanlogin)$$,
    'no table belongs to a superuser or to a login');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE c.relname LIKE 'gan\_%'
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND c.relname NOT IN ('gan_progress', 'gan_learning_curve', 'gan_leaderboard', 'gan_cluster',
        'gan_sheet_list')
    AND (has_table_privilege('gan_student', c.oid,
        'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        OR has_any_column_privilege('gan_student', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))$$,
        'students have no right on any table, nor on a view that is not for everybody');
SELECT set_eq($$SELECT proname::text FROM routines
    WHERE has_function_privilege('gan_student', oid, 'EXECUTE')
    AND NOT has_function_privilege('gan_viewer', oid, 'EXECUTE')$$,
    ARRAY['gan_hello', 'gan_run_config', 'gan_join', 'gan_claim', 'gan_renew', 'gan_release',
        'gan_fetch_weights', 'gan_fetch_change', 'gan_upload', 'gan_submit', 'gan_credit',
        'gan_reference_wanted', 'gan_contribute_reference', 'gan_set_nickname', 'gan_standing'],
    'students may call the worker''s functions and what everybody may, nothing else');
SELECT set_eq($$SELECT proname::text FROM routines
    WHERE has_function_privilege('gan_viewer', oid, 'EXECUTE')$$,
    ARRAY['gan_sheet_png', 'gan_iteration_report', 'gan_dashboard_runs', 'gan_dashboard',
    'gan_dashboard_curves'],
    'everybody may call these');
SELECT is_empty($$SELECT oid::regprocedure FROM routines
    WHERE has_function_privilege('gan_student', oid, 'EXECUTE') AND NOT prosecdef$$,
    'and all of these run as their owner');
SELECT is_empty($$SELECT oid::regclass FROM relations c WHERE relkind IN ('r', 'p', 'S')
    AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'gannsfriends'
    AND c.oid = ANY (e.extconfig))$$, 'pg_dump keeps every table and sequence');
SELECT is_empty($$SELECT oid::regprocedure FROM routines WHERE obj_description(oid, 'pg_proc') IS
    NULL AND (has_function_privilege('gan_student', oid, 'EXECUTE')
    OR proname IN ('gan_create_run', 'gan_start', 'gan_pause', 'gan_stop', 'gan_aggregate',
    'gan_verify', 'gan_inspect', 'gan_verify', 'gan_inspect', 'gan_tick', 'gan_coordinate',
    'gan_generate', 'gan_enroll', 'gan_ledger', 'gan_drop_run', 'gan_set_policy', 'gan_observe',
    'gan_say', 'gan_export', 'gan_import'))$$, 'every function for people has a comment');
SELECT is_empty($$SELECT oid::regclass FROM relations WHERE relkind IN ('r', 'p', 'v')
    AND obj_description(oid, 'pg_class') IS NULL$$, 'every table and view has a comment');
SELECT is((SELECT rolcanlogin OR rolsuper OR rolcreaterole FROM pg_roles
    WHERE rolname = 'gan_owner'), false, 'gan_owner can do nothing but own');
SELECT is_empty($$SELECT attrelid::regclass, attname FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname ~ '^gan_(state|gradient)_piece'
    AND c.relkind IN ('r', 'p') AND a.atttypid = 'bytea'::regtype AND a.attstorage <> 'p'$$,
    'blobs are stored in line, uncompressed');
SELECT * FROM finish();
ROLLBACK;
