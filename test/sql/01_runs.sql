-- Runs: what is refused, and what a new run looks like
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT gan_create_run('');
SELECT gan_create_run(E'bad\nname');
SELECT gan_create_run('x', channels => 2);
SELECT gan_create_run('x', image_size => 48);
SELECT gan_create_run('x', latent => 0);
SELECT gan_create_run('x', latent => -5);
SELECT gan_create_run('x', latent => 1025);
SELECT gan_create_run('x', generator_features => 513);
SELECT gan_create_run('x', preset => 'palace');
SELECT gan_create_run('x', image_size => 128, generator_features => 512, discriminator_features =>
    512);
SELECT gan_create_run('x', images_per_unit => 64);
SELECT gan_create_run('x', local_steps => 0, images_per_unit => 0);
SELECT gan_create_run('x', units_per_iteration => 0);
SELECT gan_create_run('x', quorum => 3);
SELECT gan_create_run('x', units_per_iteration => 2, quorum => 3);
SELECT gan_create_run('x', quorum_share => 0);
SELECT gan_create_run('x', quorum_share => 'NaN');
SELECT gan_create_run('x', quorum_share => 1e300);
SELECT gan_create_run('x', target_iterations => 0);
SELECT gan_create_run('x', batch => 0);
SELECT gan_create_run('x', lease_seconds => 0.5);
SELECT gan_create_run('x', learning_rate => 0);
SELECT gan_create_run('x', learning_rate => 'NaN');
SELECT gan_create_run('x', beta1 => 1);
SELECT gan_create_run('x', beta2 => -0.1);
SELECT gan_create_run('x', epsilon => 0);
SELECT gan_create_run('x', norm_momentum => 2);
SELECT gan_create_run('x', gradient_limit => 'Infinity');
SELECT gan_create_run('x', dataset_images => 10);
SELECT gan_create_run('x', dataset_images => 10, dataset_digest => '\x00');
SELECT count(*) AS runs FROM gan_run;
SELECT gan_start();

-- A small run
SELECT gan_create_run('tiny', seed => 7, channels => 1, image_size => 32, latent => 8,
    generator_features => 4, discriminator_features => 4,
                      local_steps => 0, images_per_unit => 10, units_per_iteration => 2,
                          target_iterations => 3, batch => 4) AS run \gset
SELECT gan_create_run('tiny');
SELECT name, state, parameters, shards, iteration, next_position FROM gan_run;
SELECT iteration, shard, length(data) FROM gan_weights;
SELECT iteration, shard, first = second AS both_zero, length(first) FROM gan_moments;
SELECT gan_claim(1);
SELECT gan_pause();
SELECT gan_start();
SELECT gan_start();
SELECT unit, iteration, first_position, images, state FROM gan_work_unit ORDER BY unit;
SELECT gan_pause();
SELECT gan_tick();

-- The same seed gives the same weights, another one others
SELECT gan_create_run('twin', seed => 7, channels => 1, image_size => 32, latent => 8,
    generator_features => 4, discriminator_features => 4) AS twin \gset
SELECT gan_create_run('other', seed => 8, channels => 1, image_size => 32, latent => 8,
    generator_features => 4, discriminator_features => 4) AS other \gset
SELECT (SELECT data FROM gan_weights WHERE run = :run) = (SELECT data FROM gan_weights
    WHERE run = :twin) AS same,
       (SELECT data FROM gan_weights WHERE run = :run) = (SELECT data FROM gan_weights
           WHERE run = :other) AS other;
SELECT gan_start();
SELECT gan_stop(:twin), gan_stop(:other);
SELECT gan_start(:twin);
SELECT gan_aggregate(0, :run);
SELECT gan_aggregate(1, :run);
SELECT gan_aggregate(0, 99);
SELECT gan_generate(0), gan_generate(1, 1, NULL, 5);
SELECT substr(gan_generate(4, 1), 1, 8) AS png, gan_generate(4, 1) = gan_generate(4, 1) AS same,
    gan_generate(4, 1) = gan_generate(4, 2) AS other_seed;

-- Impossible states can't be stored
UPDATE gan_run SET state = 'dancing';
UPDATE gan_run SET iteration = -1 WHERE run = :run;
UPDATE gan_work_unit SET state = 'claimed';
UPDATE gan_work_unit SET state = 'done';
UPDATE gan_work_unit SET lease_until = now();
INSERT INTO gan_state_piece VALUES (:run, 0, 1, 0, 0, 0, '');

-- The order of the images
SELECT array_agg(gan_image_number(7, 10, p) ORDER BY p) AS first_epoch,
    count(DISTINCT gan_image_number(7, 10, p)) FROM generate_series(0, 9) p;
SELECT array_agg(gan_image_number(7, 10, p) ORDER BY p) AS second_epoch,
    count(DISTINCT gan_image_number(7, 10, p)) FROM generate_series(10, 19) p;
SELECT gan_image_number(7, 0, 1);
SELECT gan_image_number(7, 10, -1);
SELECT gan_drop_run(NULL);
SELECT gan_drop_run(99);
SELECT gan_drop_run(run) FROM gan_run;
SELECT count(*) AS partitions_left FROM pg_class WHERE relname ~ '^gan_.*_r\d+';
