-- Shares, deadlines and bounded attempts: the parts that need no worker
\set QUIET 1
\pset format unaligned
\pset tuples_only true
BEGIN;
SELECT plan(61);

-- Median and MAD
SELECT is(gan_median('{3,1,2}'), 2::float8, 'the median of three');
SELECT is(gan_median('{4,1,2,3}'), 2.5::float8, 'of four: between the two in the middle');
SELECT is(gan_median('{}'), NULL, 'of none there is none');
SELECT is(gan_median_deviation('{1,1,2,2,4,6,9}'), 1::float8, 'the median absolute deviation');
SELECT is(gan_median_deviation('{1,1,1,1000}'), 0::float8, 'one outlier does not move it');

-- Deadlines: 1.5 * images * (median + 4 MAD), between 5 s and the run's
SELECT is(gan_late_seconds(100, 0.1, 0.01), 1.5::float8 * 100 * (0.1::float8 + 4 * 0.01::float8),
    'when a worker is late');
SELECT is(gan_lease_seconds(100, 0.1, 0, 0, 60), 15::float8, 'the lease follows the speed');
SELECT is(gan_lease_seconds(200, 0.1, 0, 0, 60), 30::float8, 'and the size');
SELECT is(gan_lease_seconds(100, 0.001, 0, 0, 60), 5::float8, 'is at least 5 s');
SELECT is(gan_lease_seconds(100, 10, 0, 0, 60), 60::float8, 'at most the run''s');
SELECT is(gan_lease_seconds(100, 0.001, 0, 0, 2), 2::float8, 'even where that is less than 5 s');
SELECT is(gan_lease_seconds(100, NULL, NULL, 0, 60), 60::float8, 'of an unknown worker the run''s');
SELECT is(gan_lease_seconds(100, 0.1, 0, 1, 60), 30::float8, 'a lapse doubles it');
SELECT is(gan_lease_seconds(100, 0.1, 0, 20, 60), 60::float8, 'up to the run''s');
SELECT is(gan_hold_seconds(5, 60), 60::float8, 'a unit can be held as long as the run''s lease');
SELECT is(gan_hold_seconds(60, 60), 600::float8, 'or ten leases');
SELECT is(gan_lease_end(statement_timestamp() - interval '1 min', 5, 100), statement_timestamp() +
    interval '5 s', 'a renewal extends a lease');
SELECT is(gan_lease_end(statement_timestamp() - interval '99 s', 5, 100), statement_timestamp() +
    interval '1 s', 'but not beyond what a unit may be held in all');

-- Shares
SELECT is(gan_deal('{4,2,1}', 2), '{1,1,0}', 'fewer units than workers: the fastest get one');
SELECT is(gan_deal('{1,2,4}', 3), '{1,1,1}', 'as many: everybody gets one');
SELECT is(gan_deal('{4,2,1}', 7), '{4,2,1}', 'more: in proportion');
SELECT is(gan_deal('{1,1,1}', 4), '{2,1,1}', 'a tie goes to the first');
SELECT is(gan_deal('{}', 4), '{}', 'nobody gets nothing');
SELECT is(gan_divide('{4,2,1}', 21, 1, 100), '{12,6,3}', 'a division in proportion');
SELECT is(gan_divide('{1,1,1}', 10, 0, 100), '{4,3,3}',
    'the largest remainders are rounded up, the first of equal ones');
SELECT is(gan_divide('{100,1,1}', 30, 5, 12), '{12,9,9}',
    'what an upper bound takes goes to the others');
SELECT is(gan_divide('{100,100,1}', 30, 4, 40), '{13,13,4}', 'a lower bound takes from the others');
SELECT is(gan_divide('{1e-9,1e9}', 10, 1, 100), '{1,9}', 'extreme speeds');
SELECT throws_ok($$SELECT gan_divide('{1,1}', 10, 1, 4)$$, '22023', NULL,
    'what can''t be divided is an error');
SELECT throws_ok($$SELECT gan_divide('{1,NaN}', 10, 1, 40)$$, '22023', NULL,
    'and so is a speed that is none');
SELECT throws_ok($$SELECT gan_deal('{1,0}', 3)$$, '22023', NULL, 'or zero');
SELECT is((SELECT count(*) FROM generate_series(1, 300) s CROSS
    JOIN LATERAL (SELECT setseed(s / 300.0), array_agg(0.01 + random() ^ 4 * 100) AS w
    FROM generate_series(1, 1 + s % 40)) x
           CROSS JOIN LATERAL gan_divide(w, cardinality(w) * 10::bigint, 2, 40) AS p (d)
           WHERE (SELECT sum(p) = cardinality(w) * 10 AND min(p) >= 2 AND max(p) <= 40
               FROM unnest(d) AS part (p))
             -- monotonous: who is faster gets no less (but for a rounded one)
             AND NOT EXISTS (SELECT FROM unnest(x.w, p.d) a (w, d), unnest(x.w, p.d) b (w, d)
                 WHERE a.w > b.w AND a.d < b.d - 1)), 300::bigint,
          'divisions by random weights: the total, within the bounds, more for the faster');

-- A run whose units have different sizes
SELECT throws_ok($$SELECT gan_create_run('no', local_steps => 0, unit_sizing => 'measured')$$,
    '22023', NULL, 'gradients have units of one size');
SELECT throws_ok($$SELECT gan_create_run('no', local_steps => 4, unit_sizing => 'sometimes')$$,
    '22023', NULL, 'there are two ways of sizing');
SELECT gan_create_run('shares', seed => 1, channels => 1, image_size => 32, latent => 2,
    generator_features => 1, discriminator_features => 1,
                      local_steps => 8, batch => 10, units_per_iteration => 3,
                          unit_sizing => 'measured', lease_seconds => 100, dataset_images => 1000,
                          dataset_digest => sha256('x')) AS run \gset
SELECT matches(gan_unit_costs(:run), '80 images in 8 local steps on average \(2 to 32, by',
    'the costs say what measured means');
SELECT gan_start(:run) \g /dev/null
SELECT is((SELECT array_agg(images ORDER BY first_position) FROM gan_work_unit WHERE run = :run),
    '{80,80,80}', 'while nobody is known the units are equal');
SELECT is((SELECT count(meant_for) FROM gan_work_unit WHERE run = :run), 0::bigint,
    'and meant for nobody');
INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, paces)
    VALUES (:run, 'ann', 'x', 1, 1, '', '', '{0.1,0.1,0.1}'),
        (:run, 'bo', 'x', 1, 1, '', '', '{0.2}'),
        (:run, 'cy', 'x', 1, 1, '', '', '{0.4,0.39,0.41}');
SELECT worker AS ann, worker + 1 AS bo, worker + 2 AS cy FROM gan_worker WHERE login = 'ann' \gset
SELECT is((SELECT array_agg(pace ORDER BY worker) FROM gan_worker WHERE run = :run),
    '{0.1,0.2,0.4}'::float8[], 'a worker''s pace is the median of what was seen');
SELECT is((SELECT array_agg(steps ORDER BY place) FROM gan_run r, gan_size_units(r, 3, 24)
    WHERE run = :run), '{14,7,3}', 'three workers of speeds 4 : 2 : 1');
SELECT is((SELECT array_agg(meant_for ORDER BY place) FROM gan_run r, gan_size_units(r, 3, 24)
    WHERE run = :run), ARRAY[:ann, :bo, :cy], 'each is meant for one of them');
SELECT is((SELECT array_agg(steps ORDER BY place) FROM gan_run r, gan_size_units(r, 3, 1000)
    WHERE run = :run), '{32,32,32}', 'no unit is larger than four times the run''s steps');
SELECT is((SELECT array_agg(steps ORDER BY place) FROM gan_run r, gan_size_units(r, 3, 1)
    WHERE run = :run), '{2,2,2}', 'none smaller than a quarter');
UPDATE gan_worker SET last_seen = now() - interval '1 hour' WHERE worker = :bo;
SELECT is((SELECT array_agg((meant_for, steps)::text ORDER BY place)
    FROM gan_run r, gan_size_units(r, 3, 24) WHERE run = :run),
          ARRAY[format('(%s,10)', :ann), format('(%s,9)', :ann), format('(%s,5)', :cy)],
              'who is away gets nothing, a fast one two units');
UPDATE gan_worker SET last_seen = now() WHERE worker = :bo;

-- The next iteration: what was not averaged moves on, the total stays
UPDATE gan_work_unit SET state = 'done', worker = :ann, token = gen_random_uuid(),
    weights_nonce = 0, attempts = 1, claimed_at = now() - interval '8 s', submitted_at = now(),
    batch = 10, loss_d = 1, loss_g = 1,
    accuracy_real = 1, accuracy_fake = 1 WHERE run = :run AND first_position < 160;
SELECT gan_close_iteration(:run, 0, (SELECT array_agg(unit) FROM gan_work_unit WHERE run = :run
    AND state = 'done'), 1, 1, sha256('x')) \g /dev/null
SELECT is((SELECT array_agg(images ORDER BY first_position) FROM gan_work_unit WHERE run = :run
    AND iteration = 1), '{80,110,50}', 'the unit that moved on counts in the total');
SELECT is((SELECT range_agg(int8range(first_position, first_position + images)) FROM gan_work_unit
    WHERE run = :run), '{[0,400)}'::int8multirange, 'positions follow each other');
SELECT is((SELECT sum(images) FROM gan_work_unit WHERE run = :run)::bigint, (SELECT next_position
    FROM gan_run WHERE run = :run), 'and each is given out once');
SELECT is((SELECT paces[1:2] FROM gan_worker WHERE worker = :ann), '{0.1,0.1}'::float8[],
    'the step notes seconds an image');

-- A lease that ends doubles the worker's next one, until a unit of its is taken
SELECT min(unit) AS unit FROM gan_work_unit WHERE run = :run AND iteration = 1 \gset
CREATE FUNCTION lapse(unit bigint, worker int, claimed timestamptz) RETURNS void LANGUAGE plpgsql AS
    $$
DECLARE u gan_work_unit;
BEGIN
    UPDATE gan_work_unit w SET state = 'claimed', worker = $2, token = gen_random_uuid(),
        weights_nonce = 0, attempts = attempts + 1, claimed_at = $3, lease_until = clock_timestamp()
        WHERE w.unit = $1 RETURNING * INTO u;
    PERFORM gan_expire_leases(u.run);
END $$;
SELECT lapse(:unit, :cy, now()), lapse(:unit, :cy, now()) \g /dev/null
SELECT is((SELECT gan_lease_seconds(10, pace, pace_mad, lapses, 100) / gan_lease_seconds(10, pace,
    pace_mad, 0, 100) FROM gan_worker WHERE worker = :cy), 4::float8,
    'two lapses: four times the lease');
SELECT is((SELECT state || failed_by::text FROM gan_work_unit WHERE unit = :unit), 'pending{cy}',
    'the unit is free, and who failed it is known');
SELECT lapse(:unit, :bo, now() - interval '1 year') \g /dev/null
SELECT is((SELECT lapses FROM gan_worker WHERE worker = :bo), 0,
    'what was claimed before the server was started is nobody''s fault');
DELETE FROM gan_failure;
UPDATE gan_work_unit SET failed_by = NULL;

-- Two units of the same positions: one counts
INSERT INTO gan_work_unit (run, iteration, first_position, images, backs_up) SELECT run, iteration,
    first_position, images, unit FROM gan_work_unit WHERE unit = :unit RETURNING unit AS copy \gset
SELECT throws_ok(format('INSERT INTO gan_work_unit (run, iteration, first_position, images, '
    'backs_up) SELECT run, iteration, first_position, images, %1$s FROM gan_work_unit WHERE unit = '
    '%1$s', :unit), '23505', NULL, 'a unit has one copy at a time');
SELECT throws_ok(format('UPDATE gan_work_unit SET state = ''done'', worker = %s, token = '
    'gen_random_uuid(), weights_nonce = 0, attempts = 1, claimed_at = now(), submitted_at = now(), '
    'batch = 10, loss_d = 1, loss_g = 1,
    accuracy_real = 1, accuracy_fake = 1 WHERE unit IN (%s, %s)', :ann, :unit, :copy), '23505',
        NULL, 'the same images can''t be submitted twice');
UPDATE gan_work_unit SET state = 'claimed', worker = :ann + (unit = :copy)::int,
    token = gen_random_uuid(), weights_nonce = 0, attempts = 1, claimed_at = now(),
    lease_until = now() WHERE unit IN (:unit, :copy);
SELECT gan_expire_leases(:run) \g /dev/null
SELECT is((SELECT array_agg(state || coalesce(backs_up, 0)) FROM gan_work_unit
    WHERE unit IN (:unit, :copy)), '{pending0}', 'when both leases end one unit is left');
DELETE FROM gan_failure;
UPDATE gan_work_unit SET failed_by = NULL;

-- Bounded attempts
SELECT min(unit) AS unit FROM gan_work_unit WHERE run = :run AND iteration = 1 \gset
CREATE FUNCTION fail(unit bigint, worker int, why text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE u gan_work_unit;
BEGIN
    UPDATE gan_work_unit w SET state = 'claimed', worker = $2, token = gen_random_uuid(),
        weights_nonce = 0, attempts = attempts + 1, claimed_at = now(), lease_until = now()
        WHERE w.unit = $1 RETURNING * INTO u;
    PERFORM gan_note_failure(u, why), gan_note_failure(u, why); -- refused twice in one attempt
    PERFORM gan_put_back(u);
END $$;
SELECT fail(:unit, :ann, 'too_large') FROM generate_series(1, 9) \g /dev/null
SELECT is((SELECT times FROM gan_failure WHERE run = :run), 9,
    'an attempt fails once, however often it is refused');
SELECT is(gan_put_aside(:run), 0, 'nine failures at one login set nothing aside');
SELECT fail(:unit, :bo, 'bad_value') \g /dev/null
SELECT is(gan_put_aside(:run), 0, 'nor does one more at a login of whose work nothing was '
    'accepted');
UPDATE gan_worker SET units = 1, images = 10 WHERE worker = :bo;
SELECT is(gan_put_aside(:run), 1, 'ten do');
SELECT is((SELECT (failures, logins, what)::text FROM gan_set_aside WHERE unit = :unit),
    '(10,2,"ann: too_large (9), bo: bad_value (1)")', 'and it is reported');
SELECT is((SELECT gan_units_needed(r) FROM gan_run r WHERE run = :run), 2,
    'the iteration ends with what is left');
SELECT gan_retry_unit(:unit) \g /dev/null
SELECT is((SELECT state || coalesce(failed_by::text, '') FROM gan_work_unit WHERE unit = :unit),
    'pending', 'it can be given out again');
SELECT throws_ok(format('SELECT gan_retry_unit(%s)', :unit), '42704', NULL, 'once');
SELECT * FROM finish();
ROLLBACK;
