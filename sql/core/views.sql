-- -------------------------------------------------------------------------------------------------
-- Views and functions that show a run
-- -------------------------------------------------------------------------------------------------

CREATE FUNCTION gan_generate(n int DEFAULT 64, seed bigint DEFAULT 0, run int DEFAULT NULL,
    iteration int DEFAULT NULL, average boolean DEFAULT NULL)
    RETURNS bytea
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

CREATE FUNCTION gan_interpolate(seed_a bigint, seed_b bigint, steps int DEFAULT 8,
    run int DEFAULT NULL, iteration int DEFAULT NULL,
                                average boolean DEFAULT NULL) RETURNS bytea
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- The blobs of docs/format.md, put together from their pieces.
CREATE VIEW gan_weights AS
    SELECT p.run, p.slot, p.iteration, p.shard, string_agg(p.data, '' ORDER BY p.piece) AS data
    FROM gan_state_piece p JOIN gan_run r ON r.run = p.run AND p.shard < r.shards
    WHERE p.part = 0 GROUP BY p.run, p.slot, p.iteration, p.shard;

CREATE VIEW gan_batch_norm AS
    SELECT p.run, p.slot, p.iteration, string_agg(p.data, '' ORDER BY p.piece) AS running
    FROM gan_state_piece p JOIN gan_run r ON r.run = p.run AND p.shard = r.shards
    WHERE p.part = 0 GROUP BY p.run, p.slot, p.iteration;

CREATE VIEW gan_moments AS
    SELECT p.run, p.slot, p.iteration, p.shard,
        string_agg(p.data, '' ORDER BY p.piece) FILTER (WHERE p.part = 1) AS first,
           string_agg(p.data, '' ORDER BY p.piece) FILTER (WHERE p.part = 2) AS second
    FROM gan_state_piece p WHERE p.part IN (1, 2) GROUP BY p.run, p.slot, p.iteration, p.shard;

CREATE VIEW gan_broadcast AS
    SELECT p.run, p.slot, p.iteration, p.shard,
        string_agg(p.data, '' ORDER BY p.piece) FILTER (WHERE p.part = 3) AS copy,
           string_agg(p.data, '' ORDER BY p.piece) FILTER (WHERE p.part = 4) AS change
    FROM gan_state_piece p WHERE p.part IN (3, 4) GROUP BY p.run, p.slot, p.iteration, p.shard;

CREATE VIEW gan_average AS
    SELECT p.run, p.slot, p.iteration, p.shard, string_agg(p.data, '' ORDER BY p.piece) AS data
    FROM gan_state_piece p WHERE p.part = 5 GROUP BY p.run, p.slot, p.iteration, p.shard;

CREATE VIEW gan_gradient AS
    SELECT p.run, p.slot, p.iteration, p.unit, p.shard,
        (array_agg(p.token) FILTER (WHERE p.piece = 0))[1] AS token,
           max(p.square_sum) AS square_sum, string_agg(p.data, '' ORDER BY p.piece) AS data
    FROM gan_gradient_piece p GROUP BY p.run, p.slot, p.iteration, p.unit, p.shard;

-- Units that failed too often to be given out again: which images are not used, at which logins
-- they failed and why.
CREATE VIEW gan_set_aside AS
    SELECT u.run, u.unit, u.iteration, u.first_position, u.images, f.failures, f.logins, f.what,
        f.last_failed_at
    FROM gan_work_unit u
    CROSS
        JOIN LATERAL (SELECT sum(f.times) AS failures, count(*) AS logins,
            max(f.failed_at) AS last_failed_at,
                               string_agg(format('%s: %s (%s)', f.login, f.why, f.times), ', '
                                   ORDER BY f.login) AS what
                        FROM gan_failure f
                            WHERE f.run = u.run AND f.first_position = u.first_position) AS f
    WHERE u.state = 'aside';

-- Images used in each epoch, counted from the positions that were averaged: in a complete epoch
-- each image once. set_aside: images of the epoch whose units failed too often; the next epoch's
-- order contains them again.
CREATE FUNCTION gan_ledger(run int DEFAULT NULL)
    RETURNS TABLE (epoch bigint, images bigint, different_images bigint, of_images bigint,
        complete boolean, set_aside bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT e.epoch, e.images, e.different, e.of_images, e.images = e.of_images
        AND e.different = e.of_images,
           (SELECT coalesce(sum(greatest(0,
               least(u.first_position + u.images,
                   (e.epoch + 1) * e.of_images) - greatest(u.first_position,
                   e.epoch * e.of_images))),
               0)::bigint
            FROM gan_work_unit u WHERE u.run = e.run AND u.state = 'aside')
    FROM (SELECT r.run, p.place / r.dataset_images AS epoch, count(*) AS images,
        r.dataset_images AS of_images,
                 count(DISTINCT gan_image_number(r.seed, r.dataset_images, p.place)) AS different
          FROM gan_run r
          JOIN gan_history h ON h.run = r.run
          CROSS JOIN LATERAL unnest(h.positions) AS span
          CROSS JOIN LATERAL generate_series(lower(span), upper(span) - 1) AS p (place)
          WHERE r.run = gan_the_run($1)
          GROUP BY 1, 2, r.dataset_images) AS e
    ORDER BY e.epoch
$$;

COMMENT ON FUNCTION gan_generate
    IS 'A sheet of n generated images as one PNG; from the average of the generator''s weights '
        'where there is one, unless average is false';
COMMENT ON FUNCTION gan_interpolate
    IS 'A strip of images that leads from one seed''s image to another''s, as one PNG';
COMMENT ON VIEW gan_weights IS 'Parameters of the current and the previous iteration, by shard';
COMMENT ON VIEW gan_moments
    IS 'The moments that the optimiser keeps, of the current and the previous iteration, by shard';
COMMENT ON VIEW gan_broadcast
    IS 'The copy of the weights that workers hold if they download changes, and the changes, of '
        'the current and the previous iteration, by shard';
COMMENT ON VIEW gan_average
    IS 'Moving average of the generator''s weights of the current and the previous iteration, by '
        'shard';
COMMENT ON VIEW gan_batch_norm
    IS 'Running means and variances of the current and the previous iteration';
COMMENT ON VIEW gan_gradient
    IS 'Uploaded gradients, or changes of the weights, of the current and the previous iteration, '
        'by unit and shard';
COMMENT ON VIEW gan_set_aside
    IS 'Units that failed too often: which images are not used, at which logins they failed and '
        'why; gan_retry_unit gives one out again';
COMMENT ON FUNCTION gan_ledger(int) IS 'Images used in each epoch: every image once, or set aside';
