-- The claim's plan, and the coordinator's care for units that are locked
\set QUIET 1
\pset format unaligned
\pset tuples_only true
BEGIN;
SELECT plan(9);

SELECT gan_create_run('claims', seed => 1, channels => 1, image_size => 32, latent => 2, generator_features => 1, discriminator_features => 1,
                      images_per_unit => 5, units_per_iteration => 4096, lease_seconds => 10) AS run \gset
SELECT gan_start(:run) \g /dev/null
ANALYZE gan_work_unit;
PREPARE claim AS SELECT p.unit FROM gan_work_unit p WHERE p.run = $1 AND p.iteration = $2 AND p.state = 'pending' ORDER BY p.first_position LIMIT 1 FOR UPDATE OF p SKIP LOCKED;
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS
    $$ DECLARE line text; plan text := ''; BEGIN FOR line IN EXECUTE 'EXPLAIN ' || query LOOP plan := plan || line || E'\n'; END LOOP; RETURN plan; END $$;
SELECT matches(plan_of(format('EXECUTE claim(%s, 0)', :run)), 'Index Scan using gan_work_unit_(pending|iteration)', 'a claim reads an index of this iteration''s units');
SELECT doesnt_match(plan_of(format('EXECUTE claim(%s, 0)', :run)), 'Seq Scan|Sort', 'and scans or sorts nothing');

SELECT is((SELECT count(*) FROM gan_work_unit WHERE run = :run), 4096::bigint, 'an iteration opens all its units');
SELECT is((SELECT range_agg(int8range(first_position, first_position + images)) FROM gan_work_unit WHERE run = :run), '{[0,20480)}'::int8multirange, 'their positions follow each other');

-- A unit whose lease is over goes back
INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version) VALUES (:run, 'ann', 'x', 1, 1, '', '') RETURNING worker \gset
SELECT min(unit) AS unit FROM gan_work_unit WHERE run = :run \gset
UPDATE gan_work_unit SET state = 'claimed', worker = :worker, token = gen_random_uuid(), attempts = 1, claimed_at = now(), lease_until = now() WHERE unit = :unit;
SELECT is(gan_expire_leases(:run), 1, 'one lease is over');
SELECT is((SELECT state || attempts FROM gan_work_unit WHERE unit = :unit), 'pending1', 'its unit can be claimed again, and the attempt is remembered');
SELECT throws_ok(format('INSERT INTO gan_history SELECT %s, 0, 0, 1, 1, ''{}'', 1, 0, 0, 0, 0, 0, 0, repeat(''x'', 32)::bytea, now(), now() FROM generate_series(1, 2)', :run),
                 '23505', NULL, 'no iteration can be stepped twice');
SELECT throws_ok(format('UPDATE gan_work_unit SET state = ''claimed'', worker = %s, token = gen_random_uuid(), attempts = 1, claimed_at = now(), lease_until = now() WHERE run = %s AND unit < %s + 2', :worker, :run, :unit),
                 '23505', NULL, 'no worker can hold two units');
SELECT is(gan_replace_hoarded(:run), 0, 'nothing is replaced while nothing is locked by others');
SELECT * FROM finish();
ROLLBACK;
