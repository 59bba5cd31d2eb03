-- The worker's functions, as a student
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE ann LOGIN IN ROLE gan_student;
CREATE ROLE bo LOGIN IN ROLE gan_student;
CREATE ROLE stranger LOGIN;
SELECT gan_create_run('protocol', seed => 7, channels => 1, image_size => 32, latent => 2,
    generator_features => 1, discriminator_features => 1,
                      local_steps => 0, images_per_unit => 10, units_per_iteration => 2,
                          target_iterations => 2, batch => 4) AS run \gset
SELECT parameters, shards FROM gan_run WHERE run = :run \gset

-- A blob of n numbers, as docs/format.md says; only for this test
CREATE FUNCTION le(value bigint, bytes int) RETURNS bytea LANGUAGE sql AS
    $$ SELECT string_agg(set_byte('\x00', 0, (value >> (8 * i) & 255)::int), '' ORDER BY i)
        FROM generate_series(0, bytes - 1) i $$;
CREATE FUNCTION crc32c(data bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE crc bigint := 4294967295;
BEGIN
    FOR i IN 0 .. length(data) - 1 LOOP
        crc := crc # get_byte(data, i);
        FOR bit IN 1 .. 8 LOOP crc := (crc >> 1) # (CASE WHEN crc & 1 = 1 THEN x'82F63B78'::bigint
            ELSE 0 END); END LOOP;
    END LOOP;
    RETURN crc # 4294967295;
END $$;
CREATE FUNCTION blob(data bytea, elements bigint DEFAULT NULL, magic bytea DEFAULT 'GANF',
    version int DEFAULT 1, type int DEFAULT 1, reserved int DEFAULT 0)
    RETURNS bytea LANGUAGE sql AS
    $$ SELECT magic || le(version, 2) || le(type, 2) || le(coalesce(elements, length(data) / 4), 8)
        || le(crc32c(data), 4) || le(reserved, 4) || data $$;
-- 0.5
CREATE FUNCTION floats(n bigint, word bytea DEFAULT '\x0000003f') RETURNS bytea LANGUAGE sql AS
    $$ SELECT decode(repeat(encode(word, 'hex'), n::int), 'hex') $$;
SELECT to_hex(crc32c('123456789')) AS published_check_value;
SELECT statistics FROM gan_network_size(1, 32, 2, 1, 1) \gset
SELECT blob(floats(:parameters)) AS gradient, blob(floats(:statistics)) AS moments \gset

SET SESSION AUTHORIZATION ann;
SELECT name, state, image_size, shards, dataset_images FROM gan_run_config();
SELECT gan_run_config('nosuch');
SELECT gan_join(:run, E'evil\x1b[2J', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0');
SELECT gan_join(:run, 'laptop', 0, sha256('faces'), 4, 8000, 'cpu', '0.1.0');
SELECT gan_join(:run, 'laptop', 100, '\x00', 4, 8000, 'cpu', '0.1.0');
SELECT gan_join(:run, 'laptop', 100, sha256('faces'), 4, 8000, '<script>', '0.1.0');
SELECT gan_join(:run, 'laptop', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0') AS ann \gset
SELECT gan_join(:run, 'laptop', 100, sha256('faces'), 8, 8000, 'cpu', '0.1.0') = :ann AS
    same_worker;
RESET SESSION AUTHORIZATION;
SELECT note FROM gan_progress WHERE run = :run;
SELECT gan_set_dataset(:run);
SET SESSION AUTHORIZATION ann;
\set VERBOSITY default
SELECT gan_join(:run, 'desktop', 101, sha256('other'), 4, 8000, 'cpu', '0.1.0');
\set VERBOSITY terse
SELECT unit, reason, message, retry_seconds FROM gan_claim(:ann);
RESET SESSION AUTHORIZATION;
SELECT gan_start(:run);

SET SESSION AUTHORIZATION ann;
BEGIN; SELECT gan_claim(:ann); ROLLBACK;
SELECT unit, token, iteration, first_position, images, lease_seconds, reason, weights_nonce AS nonce
    FROM gan_claim(:ann) \gset
SELECT :iteration AS iteration, :first_position AS first_position, :images AS images,
    :lease_seconds AS lease, :'reason' AS reason;
\set old :token
SELECT unit = :unit AS same_unit, token <> :'token' AS new_token, token
    FROM gan_claim(:ann) \gset again_
SELECT :'again_same_unit' AS same_unit, :'again_new_token' AS new_token;
\set token :again_token
SELECT gan_upload(:unit, :'old', 0, :'gradient') AS old_token;
SELECT gan_submit(:unit, :'old', :nonce, 4, 1, 1, 0.5, 0.5) AS old_token;
SELECT gan_renew(:unit, :'old') AS old_token, gan_renew(:unit, :'token') AS new_token;

-- What is wrong with an upload is an error, and nothing of it is kept
SELECT gan_upload(:unit, :'token', 0, '');
SELECT gan_upload(:unit, :'token', 0, substr(:'gradient'::bytea, 1, 23));
SELECT gan_upload(:unit, :'token', 0, substr(:'gradient'::bytea, 1, 200));
SELECT gan_upload(:unit, :'token', 0, :'gradient'::bytea || '\x00');
SELECT gan_upload(:unit, :'token', 0, :'moments');
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters), magic => 'GANG'));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters), version => 2));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters), type => 2));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters), reserved => 1));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters), elements => 9223372036854775807));
SELECT gan_upload(:unit, :'token', 0, set_byte(:'gradient', 100, 1));
-- NaN at the end
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters - 1) || '\x0000c07f'));
-- infinity at the beginning
SELECT gan_upload(:unit, :'token', 0, blob('\x0000807f' || floats(:parameters - 1)));
SELECT gan_upload(:unit, :'token', 0, blob('\x000080ff' || floats(:parameters - 1)));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\xcaf24971'))); -- 1e30
SELECT gan_upload(:unit, :'token', -1, :'gradient');
SELECT gan_upload(:unit, :'token', 2, :'gradient');
SELECT gan_upload(:unit, :'token', 1, blob(floats(:statistics, '\x000000bf'))); -- variances of -0.5
BEGIN; SELECT gan_upload(:unit, :'token', 0, :'gradient'); ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT count(*) AS kept FROM gan_gradient;
SET SESSION AUTHORIZATION ann;

SELECT answer, code, message LIKE '0 of 2%' AS message
    FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 0.5, 0.5);
SELECT gan_upload(:unit, :'token', 0, :'gradient') AS first,
    gan_upload(:unit, :'token', 0, :'gradient') AS again;
SELECT gan_upload(:unit, :'token', 1, :'moments');
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 'NaN', 1, 0.5, 0.5);
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 0, 1, 1, 0.5, 0.5);
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 'Infinity', 0.5, 0.5);
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 1.5, 0.5);
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, NULL, 0.5);

-- A classmate can do nothing with it
SET SESSION AUTHORIZATION bo;
SELECT gan_join(:run, 'laptop', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0') AS bo \gset
SELECT gan_claim(:ann);
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 0.5, 0.5);
SELECT gan_upload(:unit, :'token', 0, :'gradient'), gan_renew(:unit, :'token'),
    gan_release(:unit, :'token');
SELECT * FROM gan_credit(:ann);

SET SESSION AUTHORIZATION ann;
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 0.5, 0.5);
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 0.5, 0.5);
SELECT gan_upload(:unit, :'token', 0, :'gradient');
SELECT gan_release(:unit, :'token');

-- An expired lease: late work is refused, keeps no bytes, earns nothing
SELECT unit, token, weights_nonce AS nonce FROM gan_claim(:ann) \gset
RESET SESSION AUTHORIZATION;
UPDATE gan_work_unit SET lease_until = now() - interval '1 s' WHERE unit = :unit;
SET SESSION AUTHORIZATION ann;
SELECT gan_upload(:unit, :'token', 0, :'gradient'), gan_renew(:unit, :'token');
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 0.5, 0.5);
RESET SESSION AUTHORIZATION;
SELECT gan_tick(:run);
SET SESSION AUTHORIZATION ann;
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 1, 1, 0.5, 0.5);

-- Bo does it; then there is nothing to do, and the reason is said
SET SESSION AUTHORIZATION bo;
SELECT unit, token, weights_nonce AS nonce FROM gan_claim(:bo) \gset
SELECT gan_release(:unit, :'token');
SELECT unit, token, weights_nonce AS nonce FROM gan_claim(:bo) \gset
SELECT gan_upload(:unit, :'token', 0, :'gradient'), gan_upload(:unit, :'token', 1, :'moments');
SET SESSION AUTHORIZATION ann;
SELECT unit, reason, message, retry_seconds FROM gan_claim(:ann);
SET SESSION AUTHORIZATION bo;
SELECT answer, code FROM gan_submit(:unit, :'token', :nonce, 4, 3, 3, 1, 0);
SELECT unit, reason, message FROM gan_claim(:bo);
RESET SESSION AUTHORIZATION;
SELECT gan_tick(:run);
SELECT iteration, epoch, units, images, positions, workers, loss_d, loss_g, accuracy_real,
    accuracy_fake, round(gradient_norm_g::numeric, 4) AS norm_g,
       round(gradient_norm_d::numeric, 4) AS norm_d FROM gan_history;
SELECT login, name, cores, units, images FROM gan_worker ORDER BY worker;
SELECT iteration, first_position, images, state FROM gan_work_unit ORDER BY unit;
SELECT iteration, shard FROM gan_weights ORDER BY 1;
SELECT gan_aggregate(0, :run);
SELECT gan_fetch_weights(:run, 1, 0) = (SELECT data FROM gan_weights WHERE iteration = 1) AS
    fetched, gan_fetch_weights(:run, 7, 0) IS NULL AS gone;
SELECT gan_fetch_weights(:run, 1, 9);
SELECT gan_stop(:run);
SET SESSION AUTHORIZATION bo;
SELECT reason, message FROM gan_claim(:bo);
SELECT units, images FROM gan_credit(:bo);

-- A run whose gradients travel as float16: that and nothing else is taken, and kept as float32
RESET SESSION AUTHORIZATION;
SELECT gan_create_run('no', upload_element => 'float8');
SELECT gan_create_run('half', seed => 7, channels => 1, image_size => 32, latent => 2,
    generator_features => 1, discriminator_features => 1,
                      local_steps => 0, images_per_unit => 10, units_per_iteration => 1,
                          dataset_images => 100, dataset_digest => sha256('faces'),
                          upload_element => 'float16') AS half \gset
SELECT gan_start(:half) \g /dev/null
SET SESSION AUTHORIZATION ann;
SELECT upload_element FROM gan_run_config('half');
SELECT gan_join(:half, 'laptop', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0') AS ann \gset
SELECT unit, token, weights_nonce AS nonce FROM gan_claim(:ann) \gset
SELECT gan_upload(:unit, :'token', 0, :'gradient');
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\x0038'), :parameters + 1,
    type => 2));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\x0038'), :parameters, type => 2,
    reserved => 114));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\x0038'), :parameters, type => 2,
    reserved => 65536));
-- NaN
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\x007e'), :parameters, type => 2));
-- 2^128
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\x0078'), :parameters, type => 2,
    reserved => 113));
SELECT gan_upload(:unit, :'token', 1, blob(floats(:statistics, '\x0038'), :statistics, type => 2));
-- 2^-1; a scale of -1 is 0xffff
SELECT gan_upload(:unit, :'token', 0, blob(floats(:parameters, '\x003c'), :parameters, type => 2,
    reserved => 65535));
SELECT gan_upload(:unit, :'token', 1, :'moments');
RESET SESSION AUTHORIZATION;
SELECT shard, data = CASE shard WHEN 0 THEN :'gradient'::bytea ELSE :'moments' END AS as_if_float32
    FROM gan_gradient WHERE run = :half ORDER BY shard;
-- The same with int8: blocks of 256 with a scale each
SELECT gan_create_run('bytes', seed => 7, channels => 1, image_size => 32, latent => 2,
    generator_features => 1, discriminator_features => 1,
                      local_steps => 0, images_per_unit => 10, units_per_iteration => 1,
                          dataset_images => 100, dataset_digest => sha256('faces'),
                          upload_element => 'int8') AS bytes \gset
SELECT gan_start(:bytes) \g /dev/null
SELECT (:parameters + 255) / 256 AS blocks \gset
SET SESSION AUTHORIZATION ann;
SELECT upload_element FROM gan_run_config('bytes');
SELECT gan_join(:bytes, 'laptop', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0') AS ann \gset
SELECT unit, token, weights_nonce AS nonce FROM gan_claim(:ann) \gset
SELECT gan_upload(:unit, :'token', 0, :'gradient');
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks, '\x0000003c') || floats(:parameters,
    '\x40'), :parameters + 1, type => 3));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks, '\x0000003c') || floats(:parameters - 1,
    '\x40'), :parameters, type => 3));
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks, '\x0000003c') || floats(:parameters,
    '\x40'), :parameters, type => 3, reserved => 1));
-- -128
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks, '\x0000003c') || floats(:parameters - 1,
    '\x40') || '\x80', :parameters, type => 3));
-- infinity
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks - 1, '\x0000003c') || '\x0000807f' ||
    floats(:parameters, '\x40'), :parameters, type => 3));
-- NaN
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks - 1, '\x0000003c') || '\x0000c07f' ||
    floats(:parameters, '\x40'), :parameters, type => 3));
-- negative
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks - 1, '\x0000003c') || '\x000000bc' ||
    floats(:parameters, '\x40'), :parameters, type => 3));
-- denormal
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks - 1, '\x0000003c') || '\x00000400' ||
    floats(:parameters, '\x40'), :parameters, type => 3));
-- 24 bits
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks - 1, '\x0000003c') || '\x0100003c' ||
    floats(:parameters, '\x40'), :parameters, type => 3));
-- 2^-7 times 64
SELECT gan_upload(:unit, :'token', 0, blob(floats(:blocks, '\x0000003c') || floats(:parameters,
    '\x40'), :parameters, type => 3));
SELECT gan_upload(:unit, :'token', 1, :'moments');
RESET SESSION AUTHORIZATION;
SELECT shard, data = CASE shard WHEN 0 THEN :'gradient'::bytea ELSE :'moments' END AS as_if_float32
    FROM gan_gradient WHERE run = :bytes ORDER BY shard;
-- A unit whose holder is late is copied for the next one who has nothing to do; the first of the
-- two counts
SELECT gan_create_run('twins', seed => 7, channels => 1, image_size => 32, latent => 2,
    generator_features => 1, discriminator_features => 1,
                      local_steps => 0, images_per_unit => 10, units_per_iteration => 1,
                          dataset_images => 100, dataset_digest => sha256('faces')) AS twins \gset
SELECT gan_start(:twins) \g /dev/null
SET SESSION AUTHORIZATION ann;
SELECT gan_join(:twins, 'laptop', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0') AS ann \gset
SELECT unit, token, lease_seconds FROM gan_claim(:ann) \gset
SET SESSION AUTHORIZATION bo;
SELECT gan_join(:twins, 'laptop', 100, sha256('faces'), 4, 8000, 'cpu', '0.1.0') AS bo \gset
SELECT unit, reason FROM gan_claim(:bo);
RESET SESSION AUTHORIZATION;
UPDATE gan_work_unit SET claimed_at = now() - interval '50 s' WHERE unit = :unit;
SET SESSION AUTHORIZATION bo;
-- nobody knows how long ann takes: she has the run's lease, 60 s
SELECT unit, reason FROM gan_claim(:bo);
RESET SESSION AUTHORIZATION;
UPDATE gan_work_unit SET claimed_at = now() - interval '100 s' WHERE unit = :unit;
UPDATE gan_worker SET paces = '{20,20}' WHERE worker = :ann;
SET SESSION AUTHORIZATION bo;
SELECT unit, reason FROM gan_claim(:bo); -- not late yet
RESET SESSION AUTHORIZATION;
-- 200 s for 10 images, and half as much again: she is
UPDATE gan_work_unit SET claimed_at = now() - interval '400 s' WHERE unit = :unit;
SET SESSION AUTHORIZATION bo;
SELECT unit, token, first_position, images, lease_seconds, reason, weights_nonce AS nonce
    FROM gan_claim(:bo) \gset copy_
SELECT :copy_unit <> :unit AS another_unit, :copy_first_position AS first_position,
    :copy_images AS images, :copy_lease_seconds AS lease;
SELECT gan_upload(:copy_unit, :'copy_token', 0, :'gradient'), gan_upload(:copy_unit, :'copy_token',
    1, :'moments');
SET SESSION AUTHORIZATION ann;
SELECT gan_upload(:unit, :'token', 0, :'gradient'), gan_upload(:unit, :'token', 1, :'moments');
SELECT gan_renew(:unit, :'token') IS NOT NULL AS still_held;
SET SESSION AUTHORIZATION bo;
SELECT answer, code FROM gan_submit(:copy_unit, :'copy_token', :copy_nonce, 4, 1, 1, 0.5, 0.5);
SET SESSION AUTHORIZATION ann;
SELECT gan_renew(:unit, :'token') IS NOT NULL AS still_held;
SELECT answer, code FROM gan_submit(:unit, :'token', :copy_nonce, 4, 1, 1, 0.5, 0.5);
SELECT answer, code FROM gan_submit(:unit, :'token', :copy_nonce, 4, 1, 1, 0.5, 0.5);
SELECT unit, reason FROM gan_claim(:ann);
RESET SESSION AUTHORIZATION;
SELECT state, backs_up IS NOT NULL AS copy FROM gan_work_unit WHERE run = :twins ORDER BY unit;
SELECT gan_tick(:twins) ~ 'step: run \d+ is at iteration 1, 1 units of 10 images averaged' AS step;
SELECT w.login, w.units, w.images, cardinality(w.paces) AS samples FROM gan_worker w
    WHERE w.run = :twins ORDER BY 1;
SET SESSION AUTHORIZATION bo;

-- A student has no other right
SELECT * FROM gan_run;
SELECT * FROM gan_gradient;
SELECT * FROM gan_gradebook;
SELECT * FROM gan_nickname;
UPDATE gan_worker SET images = 1000000;
SELECT gan_create_run('mine');
SELECT gan_aggregate(1);
SELECT gan_tick();
CALL gan_coordinate(1);
SELECT gan_generate();
SELECT gan_enroll('eve');
SELECT gan_wake(1);
SET SESSION AUTHORIZATION stranger;
SELECT gan_claim(1);
RESET SESSION AUTHORIZATION;
SELECT gan_drop_run(run) FROM gan_run;
SELECT count(*) AS partitions_left FROM pg_class WHERE relname ~ '^gan_.*_r\d+';
DROP FUNCTION le, crc32c, blob, floats;
DROP ROLE ann, bo, stranger;
