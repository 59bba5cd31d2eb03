-- -------------------------------------------------------------------------------------------------
-- Sheets: pictures of generated images that are drawn while a run trains
-- -------------------------------------------------------------------------------------------------

CREATE TABLE gan_sheet (
    run       int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    iteration int NOT NULL CHECK (iteration >= 0), -- whose weights drew it
    images    int NOT NULL CHECK (images > 0),
    seed      bigint NOT NULL,
    png       bytea NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds   float8 NOT NULL DEFAULT 0 CHECK (seconds >= 0), -- it took to draw
    PRIMARY KEY (run, iteration)
);
ALTER TABLE gan_sheet ALTER png SET STORAGE EXTERNAL; -- a PNG is already compressed
SELECT pg_catalog.pg_extension_config_dump('gan_sheet', '');

-- The list of sheets, without the pictures themselves.
CREATE VIEW gan_sheet_list AS
    SELECT s.run, s.iteration, s.images, octet_length(s.png) AS bytes, s.made_at FROM gan_sheet s;

CREATE FUNCTION gan_sheet_png(run int DEFAULT NULL, iteration int DEFAULT NULL) RETURNS bytea
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int := gan_the_run($1);
BEGIN
    IF $2 IS NULL THEN
        RETURN (SELECT s.png
            FROM gan_sheet s
            WHERE s.run = wanted
            ORDER BY s.iteration DESC
            LIMIT 1);
    END IF;
    RETURN (SELECT s.png FROM gan_sheet s WHERE s.run = wanted AND s.iteration = $2);
END
$$;

-- Says how often something is done: every N iterations, every N seconds, or both. NULL: never.
CREATE FUNCTION gan_how_often(iterations int, seconds int) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
    $$ SELECT 'every '
        || nullif(concat_ws(' and every ', nullif(iterations, 0) || ' iterations',
            nullif(seconds, 0) || ' s'),
            '') $$;

-- Sets which sheets are drawn and how quality is measured from now on; NULL leaves a setting
-- unchanged. If only iterations are given, seconds become 0, and the other way round. Training
-- doesn't depend on the policy, so it may change at any time.
CREATE FUNCTION gan_set_policy(run int DEFAULT NULL, sheet_every int DEFAULT NULL,
    sheet_images int DEFAULT NULL, sheets_kept int DEFAULT NULL,
                               quality_every int DEFAULT NULL, quality_images int DEFAULT NULL,
                               sheet_seconds int DEFAULT NULL, quality_seconds int DEFAULT NULL)
                                   RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
BEGIN
    PERFORM gan_require(coalesce(sheet_every BETWEEN 0 AND 1000000, true), 'sheet_every',
        sheet_every::text, 'between 0 (none) and 1000000 iterations', '10');
    PERFORM gan_require(coalesce(sheet_seconds BETWEEN 0 AND 86400, true), 'sheet_seconds',
        sheet_seconds::text, 'between 0 (none) and 86400', '10');
    PERFORM gan_require(coalesce(sheet_images BETWEEN 1 AND 1024, true), 'sheet_images',
        sheet_images::text, 'between 1 and 1024', '64');
    PERFORM gan_require(coalesce(sheets_kept BETWEEN 2 AND 10000, true), 'sheets_kept',
        sheets_kept::text, 'between 2 and 10000', '100');
    PERFORM gan_require(coalesce(quality_every BETWEEN 0 AND 1000000, true), 'quality_every',
        quality_every::text, 'between 0 (none) and 1000000 iterations', '50');
    PERFORM gan_require(coalesce(quality_seconds BETWEEN 0 AND 86400, true), 'quality_seconds',
        quality_seconds::text, 'between 0 (none) and 86400', '60');
    PERFORM gan_require(coalesce(quality_images BETWEEN 16 AND 2048, true), 'quality_images',
        quality_images::text, 'between 16 and 2048', '512');
    IF quality_images IS DISTINCT FROM (SELECT g.quality_images
        FROM gan_run g
        WHERE g.run = gan_the_run(run))
        AND EXISTS (SELECT
            FROM gan_reference f
            WHERE f.run = gan_the_run(run) AND quality_images IS NOT NULL) THEN
        RAISE EXCEPTION 'the real images of run % have been summarised already', gan_the_run(run)
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = format('To begin again: SELECT gan_forget_reference(%s), then set '
                    'quality_images.',
                    gan_the_run(run));
    END IF;
    UPDATE gan_run g
        SET sheet_every = coalesce(sheet_every, 0 * sheet_seconds, g.sheet_every),
            sheet_seconds = coalesce(sheet_seconds, 0 * sheet_every, g.sheet_seconds),
            sheet_images = coalesce(sheet_images, g.sheet_images),
                sheets_kept = coalesce(sheets_kept, g.sheets_kept),
            quality_every = coalesce(quality_every, 0 * quality_seconds, g.quality_every),
                quality_seconds = coalesce(quality_seconds, 0 * quality_every, g.quality_seconds),
            quality_images = coalesce(quality_images, g.quality_images)
        WHERE g.run = gan_the_run(run) RETURNING * INTO r;
    RETURN format('run %s: %s; %s', r.run,
                  coalesce(format('a sheet of %s images ', r.sheet_images)
                      || gan_how_often(r.sheet_every, r.sheet_seconds)
                      || format(', %s kept', r.sheets_kept),
                      'no sheets'),
                  coalesce(format('quality of %s images ', r.quality_images)
                      || gan_how_often(r.quality_every, r.quality_seconds),
                      'quality is not measured'));
END
$$;

-- Draws and stores the sheet of the run's current weights. The noise comes from the run's seed: the
-- same place on all sheets of a run shows the same point of the latent space.
CREATE FUNCTION gan_draw_sheet(run int) RETURNS boolean
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    began timestamptz := clock_timestamp();
    drawn bytea;
BEGIN
    SELECT * INTO STRICT r FROM gan_run g WHERE g.run = $1;
    drawn := gan_generate(r.sheet_images, r.seed, r.run, r.iteration);
    INSERT INTO gan_sheet (run, iteration, images, seed, png, seconds)
        VALUES (r.run, r.iteration, r.sheet_images, r.seed, drawn,
            greatest(0, extract(epoch FROM clock_timestamp() - began)))
        ON CONFLICT ON CONSTRAINT gan_sheet_pkey DO NOTHING;
    RETURN FOUND;
END
$$;

-- Deletes sheets until no more than sheets_kept are left. The first and the newest stay; in between
-- it deletes the one whose neighbours are nearest to each other, of equals the oldest. So the
-- remaining sheets stay evenly spaced.
CREATE FUNCTION gan_thin_sheets(run int) RETURNS int
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    surplus int;
BEGIN
    SELECT greatest(count(s.run) - r.sheets_kept, 0)
        INTO surplus
        FROM gan_run r
        LEFT JOIN gan_sheet s ON s.run = r.run
        WHERE r.run = $1
        GROUP BY r.run;
    FOR i IN 1..surplus LOOP
        DELETE FROM gan_sheet s WHERE s.run = $1 AND s.iteration = (
            SELECT n.iteration
                FROM (SELECT iteration, lead(iteration) OVER w - lag(iteration) OVER w AS gap
                    FROM gan_sheet
                    WHERE run = $1 WINDOW w AS (ORDER BY iteration)) AS n
            WHERE n.gap IS NOT NULL ORDER BY n.gap, n.iteration LIMIT 1);
    END LOOP;
    RETURN surplus;
END
$$;

-- Whether a sheet or a measurement of this iteration is due, given the last one. The pause counts
-- from its end and is at least 20 times as long as it took, so that neither takes more than a
-- twentieth of the coordinator's time. (A time in the future is from before the clock was set
-- back.)
CREATE FUNCTION gan_is_due(r gan_run, every int, seconds int, last int, made_at timestamptz,
    took float8)
    RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT $2 + $3 > 0 AND r.iteration IS DISTINCT FROM $4 AND ($4 IS NULL OR r.state = 'finished'
        OR $2 > 0 AND $4 / nullif($2, 0) < r.iteration / nullif($2, 0)
        OR $3 > 0
            AND clock_timestamp() NOT BETWEEN $5 AND $5 + make_interval(secs => greatest($3,
                20 * $6)))
$$;

-- Draws and measures what is due by the run's policy. The coordinator calls it after each tick, in
-- a transaction of its own: no step waits for its locks, and if it fails, training continues.
CREATE FUNCTION gan_observe(run int) RETURNS void
    LANGUAGE plpgsql STRICT
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    sheet gan_sheet;
    swd gan_swd;
BEGIN
    SELECT * INTO r FROM gan_run g WHERE g.run = $1;
    IF NOT FOUND OR r.state IN ('created', 'stopped') THEN
        RETURN;
    END IF;
    -- sheets of steps that a rollback has undone while they were drawn
    DELETE
        FROM gan_sheet s
        USING gan_run g
        WHERE g.run = s.run AND s.run = r.run AND s.iteration > g.iteration;
    SELECT s.iteration, s.made_at, s.seconds
        INTO sheet.iteration, sheet.made_at, sheet.seconds
        FROM gan_sheet s
        WHERE s.run = r.run
        ORDER BY s.iteration DESC
        LIMIT 1;
    IF gan_is_due(r, r.sheet_every, r.sheet_seconds, sheet.iteration, sheet.made_at,
        sheet.seconds) THEN
        -- if a sheet can't be stored, quality is measured all the same, and the other way round
        BEGIN
            PERFORM gan_draw_sheet(r.run), gan_thin_sheets(r.run);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'run %: no sheet of iteration %: %', r.run, r.iteration, SQLERRM
                USING ERRCODE = SQLSTATE;
        END;
    END IF;
    PERFORM gan_choose_reference(r.run);
    DELETE
        FROM gan_swd s
        USING gan_run g
        WHERE g.run = s.run AND s.run = r.run AND s.iteration > g.iteration;
    SELECT * INTO swd FROM gan_swd s WHERE s.run = r.run ORDER BY s.iteration DESC LIMIT 1;
    IF gan_is_due(r, r.quality_every, r.quality_seconds, swd.iteration, swd.made_at, swd.seconds)
        AND EXISTS (SELECT FROM gan_reference f WHERE f.run = r.run) THEN
        BEGIN
            PERFORM gan_quality(r.run, r.iteration);
        EXCEPTION WHEN OTHERS THEN
            -- not if another coordinator has taken steps meanwhile: these weights are gone
            IF EXISTS (SELECT FROM gan_run g WHERE g.run = r.run AND g.iteration = r.iteration) THEN
                RAISE WARNING 'run %: no quality of iteration %: %', r.run, r.iteration, SQLERRM
                    USING ERRCODE = SQLSTATE;
            END IF;
        END;
    END IF;
END
$$;

COMMENT ON TABLE gan_sheet IS 'Sheets of generated images, from the same noise throughout a run';
COMMENT ON VIEW gan_sheet_list IS 'Which sheets there are, and how large';
COMMENT ON FUNCTION gan_sheet_png(int, int)
    IS 'A stored sheet as PNG; without an iteration the newest; NULL if there is none';
COMMENT ON FUNCTION gan_set_policy
    IS 'Sets how often sheets are drawn and quality is measured, and how many sheets are kept; '
        'returns the policy';
COMMENT ON FUNCTION gan_observe(int)
    IS 'Draws and measures what is due; the coordinator calls it after each tick';
