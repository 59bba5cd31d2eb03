-- Local steps, outer optimisers, schedules, update rules: what is refused, and what is made of the
-- rest
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT gan_create_run('x', local_steps => -1);
SELECT gan_create_run('x', local_steps => 10000);
SELECT gan_create_run('x', local_steps => 10, images_per_unit => 320);
SELECT gan_create_run('x', local_steps => 0, outer_optimizer => 'nesterov');
SELECT gan_create_run('x', update_rule => 'alternating');
SELECT gan_create_run('x', local_steps => 10, outer_optimizer => 'sgd');
SELECT gan_create_run('x', local_steps => 10, outer_learning_rate => 0);
SELECT gan_create_run('x', local_steps => 10, outer_momentum => 1);
SELECT gan_create_run('x', local_steps => 10, update_rule => 'alternating');
SELECT gan_create_run('x', update_rule => 'sometimes');
SELECT gan_create_run('x', generator_learning_rate => 2);
SELECT gan_create_run('x', discriminator_learning_rate => -1);
SELECT gan_create_run('x', learning_rate_schedule => 'cosine');
SELECT gan_create_run('x', target_iterations => 10, warmup_iterations => 10);
SELECT gan_create_run('gradients', channels => 1, image_size => 32, latent => 8,
    generator_features => 4, discriminator_features => 4,
                      local_steps => 0, learning_rate => 0.001, discriminator_learning_rate =>
                          0.0005, update_rule => 'alternating') AS gradients \gset
SELECT gan_create_run('average', channels => 1, image_size => 32, latent => 8, generator_features =>
    4, discriminator_features => 4, local_steps => 10, batch => 64) AS average \gset
SELECT gan_create_run('nesterov', channels => 1, image_size => 32, latent => 8,
    generator_features => 4, discriminator_features => 4,
                      local_steps => 3, batch => 8, outer_optimizer => 'nesterov',
                          learning_rate_schedule => 'linear', warmup_iterations => 5) AS nesterov
                          \gset
SELECT gan_create_run('class', channels => 1, image_size => 32, latent => 8, generator_features =>
    4, discriminator_features => 4) AS class \gset
SELECT name, units_follow AS follow, units_per_iteration AS units, quorum, local_steps,
    images_per_unit, batch, lease_seconds, update_rule, generator_learning_rate AS g,
    discriminator_learning_rate AS d,
       learning_rate_schedule AS schedule, warmup_iterations AS warmup, outer_optimizer AS outer,
           outer_learning_rate AS rate, outer_momentum AS momentum
    FROM gan_run ORDER BY run;
SELECT r.name, array_agg(DISTINCT p.part ORDER BY p.part) AS parts FROM gan_state_piece p
    JOIN gan_run r USING (run) GROUP BY r.run ORDER BY r.run;
UPDATE gan_run SET outer_momentum = NULL WHERE run = :average;
UPDATE gan_run SET images_per_unit = 5 WHERE run = :average;
SELECT gan_drop_run(run) FROM gan_run;
