-- ---------------------------------------------------------------------------------------------------------------------
-- Quality: the sliced Wasserstein distance between generated images and a summary of the real ones that workers contribute
-- ---------------------------------------------------------------------------------------------------------------------

-- A row for each login that sent a summary. Only the first one's is kept; later ones are compared with it.
CREATE TABLE gan_reference (
    run        int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    login      name NOT NULL,
    images     int NOT NULL CHECK (images > 0), -- it was made of
    data       bytea,                           -- the kept summary: a blob of docs/format.md, section 11
    difference float8 NOT NULL DEFAULT 0 CHECK (difference >= 0), -- the largest between a number of it and of the kept one
    agrees     boolean NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, login),
    CHECK (data IS NULL OR (agrees AND difference = 0))
);
CREATE UNIQUE INDEX gan_reference_kept ON gan_reference (run) WHERE data IS NOT NULL;
ALTER TABLE gan_reference ALTER data SET STORAGE EXTERNAL;

CREATE TABLE gan_swd (
    run       int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    iteration int NOT NULL CHECK (iteration >= 0), -- whose weights were measured
    images    int NOT NULL CHECK (images > 0),
    distances float8[] NOT NULL,                   -- times 1000, of each level: full size, half, … 16 pixels
    swd       float8 NOT NULL CHECK (swd >= 0),    -- their mean
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds   float8 NOT NULL DEFAULT 0 CHECK (seconds >= 0), -- it took to measure
    PRIMARY KEY (run, iteration)
);
SELECT pg_catalog.pg_extension_config_dump('gan_reference', '');
SELECT pg_catalog.pg_extension_config_dump('gan_swd', '');

-- Raises an error unless a summary has the form, the order and the size of one of the run's images.
CREATE FUNCTION gan_check_reference(run int, data bytea) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';
-- The largest difference between the numbers of two summaries: of the same images it is that of rounding.
CREATE FUNCTION gan_reference_difference(run int, a bytea, b bytea) RETURNS float8
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';
-- The distances, level by level, between so many images that a held iteration draws and a summary.
CREATE FUNCTION gan_measure_distances(run int, iteration int, images int, reference bytea) RETURNS float8[]
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Images of the sample that a run's summary is made of: what the policy says, as far as there are so many.
CREATE FUNCTION gan_reference_images(r gan_run) RETURNS int
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT least(r.quality_images::bigint, r.dataset_images)::int $$;

-- Worker: how many images it should summarise, or 0: this login did so before, enough others did, or nobody wants it.
CREATE FUNCTION gan_reference_wanted(worker int) RETURNS int
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
BEGIN
    PERFORM gan_require_autocommit('gan_reference_wanted');
    SELECT g.* INTO r FROM gan_worker w JOIN gan_run g ON g.run = w.run WHERE w.worker = $1 AND w.login = session_user;
    IF NOT FOUND OR r.quality_every + r.quality_seconds = 0 OR r.state IN ('finished', 'stopped')
        OR EXISTS (SELECT FROM gan_reference f WHERE f.run = r.run AND f.login = session_user)
        OR (SELECT count(*) FROM gan_reference f WHERE f.run = r.run) >= 3 THEN
        RETURN 0;
    END IF;
    RETURN gan_reference_images(r);
END
$$;

CREATE FUNCTION gan_contribute_reference(worker int, images int, data bytea) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    kept gan_reference;
    off float8;
BEGIN
    PERFORM gan_require_autocommit('gan_contribute_reference');
    SELECT g.* INTO r FROM gan_worker w JOIN gan_run g ON g.run = w.run WHERE w.worker = $1 AND w.login = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login "%" has no worker %', session_user, coalesce($1::text, 'NULL')
            USING ERRCODE = 'insufficient_privilege', HINT = 'Call gan_join first; it returns the number.';
    END IF;
    IF EXISTS (SELECT FROM gan_reference f WHERE f.run = r.run AND f.login = session_user) THEN
        RETURN 'already';
    ELSIF $2 IS DISTINCT FROM nullif(gan_reference_wanted($1), 0) OR $3 IS NULL THEN
        RETURN 'stale';
    END IF;
    PERFORM gan_check_reference(r.run, $3);
    INSERT INTO gan_reference (run, login, images, data, agrees) VALUES (r.run, session_user, $2, $3, true) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN 'kept';
    END IF;
    SELECT * INTO kept FROM gan_reference f WHERE f.run = r.run AND f.data IS NOT NULL;
    IF NOT FOUND OR kept.images <> $2 THEN
        RETURN 'stale'; -- it was forgotten meanwhile
    END IF;
    off := gan_reference_difference(r.run, kept.data, $3);
    INSERT INTO gan_reference (run, login, images, difference, agrees) VALUES (r.run, session_user, $2, off, off <= 0.001) ON CONFLICT DO NOTHING;
    IF off > 0.001 THEN
        -- The student reads this, too: it names nobody else.
        RAISE WARNING 'run %: the summary of login "%" differs by % from the one that is kept', r.run, session_user, round(off::numeric, 4)
            USING HINT = 'Of the same images they differ by less than 0.001. The instructor sees all in gan_reference_check; gan_forget_reference(run) begins anew.';
        RETURN 'differs';
    END IF;
    RETURN 'agrees';
END
$$;

-- Forgets the run's summary and what was measured with it; workers contribute again, as far as they have not left.
CREATE FUNCTION gan_forget_reference(run int DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int := gan_the_run($1);
BEGIN
    DELETE FROM gan_reference f WHERE f.run = wanted;
    DELETE FROM gan_swd s WHERE s.run = wanted;
END
$$;

-- The figure of an iteration: the one that was stored, or, of one that is held, measured now and stored. NULL: there is no summary, or the
-- weights are gone.
CREATE FUNCTION gan_quality(run int DEFAULT NULL, iteration int DEFAULT NULL) RETURNS float8
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    wanted int;
    kept gan_reference;
    began timestamptz := clock_timestamp();
    measured float8[];
    figure float8;
BEGIN
    SELECT * INTO r FROM gan_run g WHERE g.run = gan_the_run($1);
    wanted := coalesce($2, r.iteration);
    SELECT s.swd INTO figure FROM gan_swd s WHERE s.run = r.run AND s.iteration = wanted;
    IF FOUND THEN
        RETURN figure;
    END IF;
    SELECT * INTO kept FROM gan_reference f WHERE f.run = r.run AND f.data IS NOT NULL;
    IF NOT FOUND OR wanted NOT IN (r.iteration, r.iteration - 1) OR wanted < 0 THEN
        RETURN NULL;
    END IF;
    measured := gan_measure_distances(r.run, wanted, kept.images, kept.data);
    INSERT INTO gan_swd AS s (run, iteration, images, distances, swd, seconds)
        SELECT r.run, wanted, kept.images, measured, avg(d), greatest(0, extract(epoch FROM clock_timestamp() - began)) FROM unnest(measured) AS d
        ON CONFLICT ON CONSTRAINT gan_swd_pkey DO UPDATE SET swd = s.swd RETURNING s.swd INTO figure;
    RETURN figure;
END
$$;

-- For the instructor: whose summary is kept, and who agrees with it.
CREATE VIEW gan_reference_check AS
    SELECT f.run, f.login, f.images, f.data IS NOT NULL AS kept, f.agrees, f.difference, f.made_at FROM gan_reference f;

COMMENT ON TABLE gan_reference IS 'Summaries of the real images: the one that is kept, and who agrees with it';
COMMENT ON TABLE gan_swd IS 'Sliced Wasserstein distances (times 1000) between generated and real images, by iteration';
COMMENT ON VIEW gan_reference_check IS 'Whose summary of the real images is kept, and who agrees with it';
COMMENT ON FUNCTION gan_reference_wanted(int) IS 'Worker: the images of the sample to summarise, 0 if no summary is wanted';
COMMENT ON FUNCTION gan_contribute_reference(int, int, bytea) IS 'Worker: a summary of the real images, checked before it is kept or compared';
COMMENT ON FUNCTION gan_forget_reference(int) IS 'Forgets a run''s summary of the real images and what was measured with it';
COMMENT ON FUNCTION gan_quality(int, int) IS 'Sliced Wasserstein distance (times 1000) of an iteration''s images: stored, or measured now; NULL if it can''t be';
