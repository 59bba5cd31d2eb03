-- How many units an iteration has where their number follows the workers, and when sheets are due:
-- the parts that need no worker
\set QUIET 1
\pset format unaligned
\pset tuples_only true
BEGIN;
SELECT plan(40);

CREATE FUNCTION make_run(name text, units int DEFAULT NULL, share float8 DEFAULT 1,
    sizing text DEFAULT 'equal', rule text DEFAULT 'clipped') RETURNS int LANGUAGE sql AS
    $$ SELECT gan_create_run(name, units_per_iteration => units, quorum_share => share,
        unit_sizing => sizing, aggregator => rule, seed => 1, channels => 1, image_size => 32,
                             latent => 2, generator_features => 1, discriminator_features => 1,
                                 dataset_images => 1000, dataset_digest => sha256('x')) $$;
-- Workers of a login that are about, or were at some time, and what of theirs was averaged
CREATE FUNCTION come(run int, who text, number int, units int, seen interval DEFAULT '0') RETURNS
    void LANGUAGE sql AS
    $$ INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, units, images,
        paces, last_seen)
           SELECT run, who, who || k, 1, 1, '', '', units, units, '{0.1}', clock_timestamp() - seen
               FROM generate_series(1, number) AS k $$;
-- As the next iteration would find it
CREATE FUNCTION open_again(run int) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN
        DELETE FROM gan_work_unit u WHERE u.run = $1;
        PERFORM gan_open_units($1);
        RETURN (SELECT format('%s of %s, %s open', r.quorum, r.units_per_iteration, (SELECT count(*)
            FROM gan_work_unit u WHERE u.run = r.run)) FROM gan_run r WHERE r.run = $1);
    END $$;

-- The number
SELECT make_run('class') AS run \gset
SELECT results_eq($$SELECT units_follow, units_per_iteration, quorum
    FROM gan_run$$, $$VALUES (true, 2, 2)$$, 'without a number the units follow; two while nobody '
    'is there');
SELECT gan_start(:run) \g /dev/null
SELECT is((SELECT count(*) FROM gan_work_unit), 2::bigint, 'which are opened');
SELECT come(:run, 'ann', 1, 5);
SELECT is(open_again(:run), '2 of 2, 2 open', 'one worker: two units');
SELECT come(:run, 'bo', 3, 5);
SELECT is(open_again(:run), '4 of 4, 4 open', 'four workers: four');
SELECT come(:run, 'cy', 1, 0);
SELECT is(open_again(:run), '5 of 5, 5 open', 'who has done nothing yet counts, too');
SELECT come(:run, 'eve', 30, 0);
SELECT is(open_again(:run), '6 of 6, 6 open', 'but thirty new names of one login count once');
SELECT come(:run, 'gone', 9, 5, '11 s');
SELECT is(open_again(:run), '6 of 6, 6 open', 'who was not seen for 10 s does not');
INSERT INTO gan_trust (run, login, suspended, suspended_at) VALUES (:run, 'bo', true, now());
SELECT is(open_again(:run), '3 of 3, 3 open', 'nor who is suspended');
SELECT come(:run, 'school', 60, 1);
SELECT is(open_again(:run), '32 of 32, 32 open', 'there are 32 at most');

-- It stays from the first claim on
UPDATE gan_work_unit SET state = 'claimed', attempts = 1, worker = (SELECT worker FROM gan_worker
    WHERE login = 'ann'), token = gen_random_uuid(), weights_nonce = 1,
    claimed_at = now(), lease_until = now() + interval '1 min'
        WHERE unit = (SELECT min(unit) FROM gan_work_unit);
DELETE FROM gan_worker WHERE login = 'school';
SELECT is(gan_open_units(:run), 0, 'an iteration that was begun opens no more');
SELECT is((SELECT units_per_iteration FROM gan_run WHERE run = :run), 32, 'and keeps its number');
UPDATE gan_work_unit SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
    lease_until = NULL WHERE state = 'claimed';
SELECT is(gan_open_units(:run), 0, 'units that are there stay');
SELECT results_eq($$SELECT units_per_iteration, quorum FROM gan_run$$, $$VALUES (3, 3)$$,
    'but no more need be in than there are workers');

-- A share of them
SELECT make_run('share', share => 0.7) AS share \gset
UPDATE gan_run SET state = 'running', iteration_started_at = now() WHERE run = :share;
SELECT is(open_again(:share), '2 of 2, 2 open', 'a share of two is rounded up');
SELECT come(:share, 'ann', 10, 5);
SELECT is(open_again(:share), '7 of 10, 10 open', 'seven tenths of ten are seven');
SELECT make_run('measured', sizing => 'measured') AS measured \gset
UPDATE gan_run SET state = 'running', iteration_started_at = now() WHERE run = :measured;
SELECT come(:measured, 'ann', 3, 5);
UPDATE gan_worker SET paces = '{0.4}' WHERE run = :measured AND name = 'ann1';
SELECT is(open_again(:measured), '3 of 3, 3 open', 'measured units follow, too');
SELECT is((SELECT sum(images) FROM gan_work_unit WHERE run = :measured), 3 * 320::bigint,
    'as many images as equal ones would be');
SELECT is((SELECT min(images) * 4 <= max(images) FROM gan_work_unit WHERE run = :measured), true,
    'by speed');
SELECT is((SELECT gan_checkpoint_metadata(:measured, 0, false) && ARRAY['units_per_iteration',
    'quorum']), false, 'a file does not fix the number');
SELECT is((SELECT gan_checkpoint_metadata(:share, 0, false) @> ARRAY['quorum_share', '0.7']), true,
    'but keeps the share');

-- A number that is given stays
SELECT make_run('fixed', units => 3, share => 0.5) AS fixed \gset
UPDATE gan_run SET state = 'running', iteration_started_at = now() WHERE run = :fixed;
SELECT come(:fixed, 'ann', 10, 5);
SELECT is(open_again(:fixed), '2 of 3, 3 open', 'a number that is given is kept, and its share');
SELECT is((SELECT gan_checkpoint_metadata(:fixed, 0, false) @> ARRAY['units_per_iteration', '3']),
    true, 'a file has it');
SELECT throws_ok($$SELECT gan_create_run('no', quorum => 2)$$, '22023', NULL,
    'a quorum needs a number');
SELECT throws_ok($$SELECT gan_create_run('no', units_per_iteration => 513,
    aggregator => 'multikrum')$$, '22023', NULL, 'multikrum has its own limit');
SELECT lives_ok($$SELECT make_run('krum', rule => 'multikrum')$$, 'below which the followers stay');
SELECT is((SELECT gan_create_like(r, '{"units_per_iteration": 5}') FROM gan_run r
    WHERE run = :share) IS NOT NULL, true, 'a run like one that follows can have a number');
SELECT results_eq($$SELECT units_follow, units_per_iteration, quorum, quorum_share FROM gan_run
    WHERE name = 'share fork 1'$$, $$VALUES (false, 5, 4, 0.7::float8)$$,
    'of which its share is needed');
SELECT is((SELECT gan_create_like(r, '{"name": "loose", "units_per_iteration": null}')
    FROM gan_run r WHERE run = :fixed) IS NOT NULL, true, 'and the other way round');
SELECT results_eq($$SELECT units_follow, quorum FROM gan_run WHERE name = 'loose'$$,
    $$VALUES (true, 1)$$, 'it follows');

-- When a sheet is due
CREATE FUNCTION due(every int, seconds int, iteration int, last int, ago float8, took float8,
    state text DEFAULT 'running') RETURNS boolean LANGUAGE sql AS
    $$ SELECT gan_is_due(jsonb_populate_record(r, jsonb_build_object('iteration', $3, 'state', $7)),
        $1, $2, $4, clock_timestamp() - make_interval(secs => $5), $6) FROM gan_run r
        WHERE r.name = 'class' $$;
SELECT is(due(0, 10, 0, NULL, NULL, NULL), true, 'the first one at once');
SELECT is(due(0, 10, 5, 4, 11, 0.1), true, 'after ten seconds and a step');
SELECT is(due(0, 10, 5, 4, 9, 0.1), false, 'not before');
SELECT is(due(0, 10, 4, 4, 99, 0.1), false, 'not without a step');
SELECT is(due(0, 10, 5, 4, 15, 1), false, 'one that took a second is bought by twenty');
SELECT is(due(0, 10, 5, 4, -99, 0.1), true, 'a clock that was set back delays none');
SELECT is(due(3, 0, 9, 8, 0, 9), true, 'by iterations');
SELECT is(due(3, 0, 8, 6, 999, 0), false, 'which are not seconds');
SELECT is(due(3, 10, 8, 7, 11, 0), true, 'either counts');
SELECT is(due(0, 0, 8, NULL, NULL, NULL), false, 'none where none are wanted');
SELECT is(due(0, 10, 9, 8, 0, 9, 'finished'), true, 'the last one in any case');

SELECT * FROM finish();
ROLLBACK;
