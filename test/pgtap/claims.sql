-- The claim's plan, and the coordinator's care for units that are locked
\set QUIET 1
\pset format unaligned
\pset tuples_only true
BEGIN;
SELECT plan(14);

SELECT gan_create_run('claims', seed => 1, channels => 1, image_size => 32, latent => 2,
    generator_features => 1, discriminator_features => 1,
                      local_steps => 0, images_per_unit => 5, units_per_iteration => 4096,
                          lease_seconds => 10) AS run \gset
SELECT gan_start(:run) \g /dev/null
ANALYZE gan_work_unit;
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS
    $$ DECLARE line text; plan text := ''; BEGIN FOR line IN EXECUTE 'EXPLAIN ' || query LOOP plan
        := plan || line || E'\n'; END LOOP; RETURN plan; END $$;
-- The very statement of gan_claim, as it stands in the source; planned for any parameters, as it is
-- there
\set search `sed -n '/find_free = {/,/SKIP LOCKED/p' src/extension/claim/claim.c | grep -o '"[^"]*"' | tr -d '"\n'`
SELECT matches(:'search'::text, '^SELECT u.unit FROM gan_work_unit u .* FOR UPDATE SKIP LOCKED$',
    'the search is in claim.c');
SET LOCAL plan_cache_mode = force_generic_plan;
PREPARE search(int, int, bigint) AS :search;
SELECT plan_of(format('EXECUTE search(%s, 0, -1)', :run)) AS plan \gset
SELECT matches(:'plan'::text, 'LockRows.*Index Scan using gan_work_unit_pending',
    'a claim finds units in the order of their positions, and locks them as it goes');
SELECT doesnt_match(:'plan'::text, 'Seq Scan|Sort', 'it scans and sorts nothing');
-- Statistics from a time at which nothing was free, or everything, change nothing
UPDATE gan_work_unit SET state = 'aside' WHERE run = :run;
ANALYZE gan_work_unit;
UPDATE gan_work_unit SET state = 'pending' WHERE run = :run;
SELECT plan_of(format('EXECUTE search(%s, 0, -1)', :run)) AS plan \gset
SELECT matches(:'plan'::text, 'Index Scan using gan_work_unit_pending',
    'nor where statistics say that nothing is free');
SELECT doesnt_match(:'plan'::text, 'Seq Scan|Sort', 'or scans and sorts then');
ANALYZE gan_work_unit;

SELECT is((SELECT count(*) FROM gan_work_unit WHERE run = :run), 4096::bigint,
    'an iteration opens all its units');
SELECT is((SELECT range_agg(int8range(first_position, first_position + images)) FROM gan_work_unit
    WHERE run = :run), '{[0,20480)}'::int8multirange, 'their positions follow each other');

-- A unit whose lease is over goes back
INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version)
    VALUES (:run, 'ann', 'x', 1, 1, '', '') RETURNING worker \gset
SELECT min(unit) AS unit FROM gan_work_unit WHERE run = :run \gset
UPDATE gan_work_unit SET state = 'claimed', worker = :worker, token = gen_random_uuid(),
    weights_nonce = 0, attempts = 1, claimed_at = now(), lease_until = now() WHERE unit = :unit;
SELECT is(gan_expire_leases(:run), 1, 'one lease is over');
SELECT is((SELECT state || attempts FROM gan_work_unit WHERE unit = :unit), 'pending1',
    'its unit can be claimed again, and the attempt is remembered');
UPDATE gan_work_unit SET state = 'claimed', worker = :worker, lease_seconds = 10,
    token = gen_random_uuid(), weights_nonce = 0, attempts = 2, claimed_at = now() + interval
    '59 minutes', lease_until = now() + interval '1 hour' WHERE unit = :unit;
SELECT is(gan_expire_leases(:run), 0, 'a lease from before the clock was set back is not over');
SELECT is((SELECT lease_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '10 s'
    FROM gan_work_unit WHERE unit = :unit), true, 'but begins again');
UPDATE gan_work_unit SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
    lease_seconds = NULL, lease_until = NULL WHERE unit = :unit;
SELECT throws_ok(format('INSERT INTO gan_history SELECT %s, 0, 0, 1, 1, ''{}'', 1, 0, 0, 0, 0, 0, '
    '0, repeat(''x'', 32)::bytea, 0, now(), now() FROM generate_series(1, 2)', :run),
                 '23505', NULL, 'no iteration can be stepped twice');
SELECT throws_ok(format('UPDATE gan_work_unit SET state = ''claimed'', worker = %s, token = '
    'gen_random_uuid(), weights_nonce = 0, attempts = 1, claimed_at = now(), lease_until = now() '
    'WHERE run = %s AND unit < %s + 2', :worker, :run, :unit),
                 '23505', NULL, 'no worker can hold two units');
SELECT is(gan_replace_hoarded(:run), 0, 'nothing is replaced while nothing is locked by others');
SELECT * FROM finish();
ROLLBACK;
