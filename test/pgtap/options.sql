-- The options of a run: one table, presets, what is given counts
\set QUIET 1
\pset format unaligned
\pset tuples_only true
BEGIN;
SELECT plan(15);
\set small 'channels => 1, image_size => 32, latent => 2, generator_features => 1, discriminator_features => 1'
SELECT is_empty($$SELECT o.option FROM gan_option o WHERE o.option <> 'learning_rate'
    AND NOT EXISTS (SELECT FROM pg_attribute a
    WHERE a.attrelid = 'gan_run'::regclass AND a.attname = o.option
        AND format_type(a.atttypid, NULL) = format_type(o.type::regtype, NULL))$$,
    'each option is a column of gan_run, of the same type');
SELECT is_empty($$SELECT o.option FROM gan_option o WHERE o.standard IS NOT NULL
    AND NOT gan_option_fits(o.fits, o.standard)$$, 'each default is allowed');
SELECT is_empty($$SELECT o.option FROM gan_option o WHERE o.fits IS NOT NULL
    AND gan_option_fits(o.fits, CASE WHEN o.type = 'text' THEN 'x' ELSE 'NaN' END)$$,
    'NaN, or any word, is not');
SELECT is_empty($$SELECT p.preset, k.key FROM gan_preset p CROSS
    JOIN jsonb_object_keys(p.options) AS k (key) WHERE k.key NOT IN (SELECT option
    FROM gan_option)$$, 'presets set options that there are');
SELECT is(gan_option_words('[0 (none),1]') || '|' || gan_option_words('(0,1)') || '|' ||
    gan_option_words('{a,b,c}'), $$between 0 (none) and 1|above 0 and below 1|'a', 'b' or 'c'$$,
    'limits in words');
SELECT is(string_agg(v || gan_option_fits('(0,1 (all)]', v), ' ' ORDER BY n),
    '0false 1e-300true 1true 1.0000001false Infinityfalse NaNfalse', 'limits as they are meant')
    FROM unnest(ARRAY['0', '1e-300', '1', '1.0000001', 'Infinity', 'NaN']) WITH ORDINALITY AS u
        (v, n);
SELECT gan_create_run('home', preset => 'home', :small) AS home \gset
SELECT is((SELECT (local_steps, batch, images_per_unit, upload_element, download_element)::text
    FROM gan_run WHERE run = :home), '(250,8,2000,int8,int8)',
    'a preset sets options, and others follow');
SELECT gan_create_run('mine', preset => 'home', local_steps => 10, download_element => 'float16',
    batch => NULL, :small) AS mine \gset
SELECT is((SELECT (local_steps, batch, images_per_unit, upload_element, download_element)::text
    FROM gan_run WHERE run = :mine), '(10,8,80,int8,float16)',
    'what is given counts, and NULL is not given');
SELECT gan_create_run('plain', :small) AS plain \gset
SELECT gan_create_run('class', preset => 'class', :small) AS class \gset
SELECT is((SELECT to_jsonb(c) - ARRAY['run', 'name', 'seed', 'weights_nonce', 'created_at']
    FROM gan_run c WHERE run = :class), (SELECT to_jsonb(c) - ARRAY['run', 'name', 'seed',
    'weights_nonce', 'created_at'] FROM gan_run c WHERE run = :plain),
    'the preset class is the default');
SELECT gan_create_run('large', seed => -9223372036854775808, learning_rate => 0.1234567890123456789,
    :small) AS large \gset
SELECT is((SELECT seed::text FROM gan_run WHERE run = :large), '-9223372036854775808',
    'large numbers keep their digits');
SELECT is((SELECT generator_learning_rate FROM gan_run WHERE name = 'large'),
    0.1234567890123456789::float8, 'and fractions theirs');
SELECT gan_create_run('rest', average_decay => 0, preset => NULL, :small) AS rest \gset
SELECT throws_ok(format($$SELECT gan_require_changes(r, '{"average_decay": null}') FROM gan_run r
    WHERE run = %s$$, :rest), '22023', 'a fork can''t have another average_decay',
    'null is the default, which a fork may not have where its state does not fit');
SELECT lives_ok(format($$SELECT gan_require_changes(r, '{"average_decay": 0, "seed": 3}')
    FROM gan_run r WHERE run = %s$$, :rest), 'what fits it may have');
SELECT throws_ok($$SELECT gan_import('x', NULL)$$, '22023', NULL, 'an import is checked as before');
SELECT throws_ok($$SELECT gan_require_options('{"no_such": 1}')$$, '22023',
    'there is no option "no_such"', 'an option that there is not is refused');
SELECT * FROM finish();
ROLLBACK;
