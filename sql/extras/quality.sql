-- -------------------------------------------------------------------------------------------------
-- Quality: the sliced Wasserstein distance between generated images and a summary of the real ones
-- that workers contribute
-- -------------------------------------------------------------------------------------------------

-- A row for each login that sent a summary; only logins with averaged work are asked. The summary
-- that most others agree with counts, of equals the first one. It is provisional until two agree or
-- the instructor has confirmed one (gan_set_reference).
CREATE TABLE gan_reference (
    run        int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    login      name NOT NULL,
    images     int NOT NULL CHECK (images > 0), -- it was made of
    data       bytea NOT NULL,                  -- the summary: a blob of docs/format.md, section 11
    kept       boolean NOT NULL DEFAULT false,  -- the one that counts
    confirmed  boolean NOT NULL DEFAULT false,  -- by the instructor
    -- the largest difference between a number of this summary and of the kept one
    difference float8 NOT NULL DEFAULT 0 CHECK (difference >= 0),
    agrees     boolean,                         -- NULL: not compared yet; the coordinator does that
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, login),
    CHECK (NOT confirmed OR kept),
    CHECK (NOT kept OR (agrees IS TRUE AND difference = 0))
);
CREATE UNIQUE INDEX gan_reference_kept ON gan_reference (run) WHERE kept;
ALTER TABLE gan_reference ALTER data SET STORAGE EXTERNAL;

CREATE TABLE gan_swd (
    run       int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    iteration int NOT NULL CHECK (iteration >= 0), -- whose weights were measured
    images    int NOT NULL CHECK (images > 0),
    -- times 1000, of each level: full size, half, ... 16 pixels
    distances float8[] NOT NULL,
    swd       float8 NOT NULL CHECK (swd >= 0),    -- their mean
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds   float8 NOT NULL DEFAULT 0 CHECK (seconds >= 0), -- it took to measure
    PRIMARY KEY (run, iteration)
);
SELECT pg_catalog.pg_extension_config_dump('gan_reference', '');
SELECT pg_catalog.pg_extension_config_dump('gan_swd', '');

-- Raises an error unless the data has the form and the size of a summary of the run's images.
CREATE FUNCTION gan_check_reference(run int, data bytea) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';
-- The largest difference between the numbers of two summaries. For the same images it is only
-- rounding.
CREATE FUNCTION gan_reference_difference(run int, a bytea, b bytea) RETURNS float8
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';
-- The distance at each level between a summary and a number of images that a held iteration
-- generates.
CREATE FUNCTION gan_measure_distances(run int, iteration int, images int, reference bytea)
    RETURNS float8[]
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- The number of images in the sample that a run's summary is made of: the policy's, or all images
-- if there are fewer.
CREATE FUNCTION gan_reference_images(r gan_run) RETURNS int
    LANGUAGE sql IMMUTABLE
        SET search_path = pg_catalog,
            pg_temp AS $$ SELECT least(r.quality_images::bigint, r.dataset_images)::int $$;

-- Worker: how many images it should summarise. 0 means that no unit of this login was averaged yet
-- (and it is not trusted), that it has sent a summary before, that enough others have (three that
-- agree, or eight in all), or that none is wanted.
CREATE FUNCTION gan_reference_wanted(worker int) RETURNS int
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
BEGIN
    PERFORM gan_require_autocommit('gan_reference_wanted');
    SELECT g.*
        INTO r
        FROM gan_worker w
        JOIN gan_run g ON g.run = w.run
        WHERE w.worker = $1 AND w.login = session_user;
    IF NOT FOUND OR r.quality_every + r.quality_seconds = 0 OR r.state IN ('finished', 'stopped')
        OR NOT (EXISTS (SELECT
            FROM gan_worker w
            WHERE w.run = r.run AND w.login = session_user AND w.units > 0)
                OR EXISTS (SELECT
                    FROM gan_trust t
                    WHERE t.run = r.run AND t.login = session_user AND t.trusted))
        OR EXISTS (SELECT FROM gan_reference f WHERE f.run = r.run AND f.login = session_user)
        OR (SELECT count(*) >= 8 OR count(*) FILTER (WHERE f.agrees) >= 3
            FROM gan_reference f
            WHERE f.run = r.run) THEN
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
    SELECT g.*
        INTO r
        FROM gan_worker w
        JOIN gan_run g ON g.run = w.run
        WHERE w.worker = $1 AND w.login = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login "%" has no worker %', session_user, coalesce($1::text, 'NULL')
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'Start the program again; if that does not help, tell your instructor.';
    END IF;
    IF EXISTS (SELECT FROM gan_reference f WHERE f.run = r.run AND f.login = session_user) THEN
        RETURN 'already';
    ELSIF $2 IS DISTINCT FROM nullif(gan_reference_wanted($1), 0) OR $3 IS NULL THEN
        RETURN 'stale';
    END IF;
    PERFORM gan_check_reference(r.run, $3);
    INSERT
        INTO gan_reference (run, login, images, data)
        VALUES (r.run, session_user, $2, $3)
        ON CONFLICT
        DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'already';
    END IF;
    -- Only compared here: the coordinator chooses (gan_choose_reference), so that it need not wait
    -- for a student's transaction.
    SELECT * INTO kept FROM gan_reference f WHERE f.run = r.run AND f.kept;
    IF NOT FOUND THEN
        RETURN 'kept';
    END IF;
    off := gan_difference_of(kept, $2, $3);
    IF off > 0.001 THEN
        -- The student reads this, too, so it names nobody else.
        RAISE WARNING 'run %: the summary of login "%" differs by % from the one that counts',
            r.run, session_user, round(least(off, 1e6)::numeric, 4)
            USING HINT = 'Summaries of the same images differ by less than 0.001. The instructor '
                'sees all of them in gan_reference_check.';
        RETURN 'differs';
    END IF;
    RETURN 'agrees';
END
$$;

-- How far a summary differs from another one.
CREATE FUNCTION gan_difference_of(f gan_reference, images int, data bytea) RETURNS float8
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    RETURN CASE WHEN f.images = $2 THEN gan_reference_difference(f.run, f.data, $3) ELSE 1e6 END;
END
$$;

-- Chooses the summary that counts: the confirmed one, else that of a login that the instructor
-- trusts, else the one that most others agree with, of equals the first one. Values measured with
-- another summary are deleted.
CREATE FUNCTION gan_choose_reference(run int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    before name := (SELECT f.login FROM gan_reference f WHERE f.run = $1 AND f.kept);
    chosen name;
BEGIN
    IF NOT EXISTS (SELECT FROM gan_reference f WHERE f.run = $1 AND f.agrees IS NULL) THEN
        RETURN; -- nothing new
    END IF;
    SELECT f.login INTO chosen FROM gan_reference f WHERE f.run = $1
        ORDER BY f.confirmed DESC,
            EXISTS (SELECT
                FROM gan_trust t
                WHERE t.run = $1 AND t.login = f.login AND t.trusted) DESC,
                 (SELECT count(*)
                     FROM gan_reference o
                     WHERE o.run = $1 AND gan_difference_of(f, o.images, o.data) <= 0.001) DESC,
                 f.made_at, f.login LIMIT 1;
    UPDATE gan_reference f
        SET kept = false, confirmed = false
        WHERE f.run = $1 AND f.kept AND f.login <> chosen;
    UPDATE gan_reference f SET kept = f.login = chosen, difference = d.off, agrees = d.off <= 0.001
        FROM (SELECT o.login, gan_difference_of(k, o.images, o.data) AS off
            FROM gan_reference k
            JOIN gan_reference o ON o.run = k.run
              WHERE k.run = $1 AND k.login = chosen) AS d
        WHERE f.run = $1 AND f.login = d.login;
    IF before IS DISTINCT FROM chosen THEN
        DELETE FROM gan_swd s WHERE s.run = $1;
    END IF;
END
$$;

-- The instructor chooses the login whose summary counts.
CREATE FUNCTION gan_set_reference(login name, run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int := gan_the_run($2);
BEGIN
    IF NOT EXISTS (SELECT FROM gan_reference f WHERE f.run = wanted AND f.login = $1) THEN
        RAISE EXCEPTION 'login "%" has sent no summary of the real images of run %',
            coalesce($1::text, 'NULL'), wanted
            USING ERRCODE = 'undefined_object',
                HINT = 'SELECT * FROM gan_reference_check lists the logins that have.';
    END IF;
    UPDATE gan_reference f
        SET kept = false, confirmed = false
        WHERE f.run = wanted AND f.kept AND f.login <> $1;
    UPDATE gan_reference f
        SET kept = true, confirmed = true, agrees = true, difference = 0
        WHERE f.run = wanted AND f.login = $1;
    UPDATE gan_reference f SET agrees = NULL WHERE f.run = wanted AND f.login <> $1;
    DELETE FROM gan_swd s WHERE s.run = wanted;
    PERFORM gan_choose_reference(wanted);
    RETURN format('quality in run %s is measured by the summary of %s', wanted, $1);
END
$$;

-- Deletes the run's summaries and the values measured with them; workers that are still there
-- contribute again.
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

-- The quality of an iteration: the stored value, or, if the iteration is held, measured now and
-- stored. An error says why there is none.
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
    IF wanted NOT IN (r.iteration, r.iteration - 1) OR wanted < 0 THEN
        RAISE EXCEPTION 'iteration % of run % is not held, and its quality was not measured',
            wanted, r.run
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Iterations %s and %s are held; SELECT iteration, swd FROM gan_swd WHERE '
                'run = %s lists what was measured.',
                greatest(r.iteration - 1, 0), r.iteration, r.run);
    END IF;
    PERFORM gan_choose_reference(r.run);
    SELECT * INTO kept FROM gan_reference f WHERE f.run = r.run AND f.kept;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % has no summary of the real images to compare with', r.run
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Workers send one after their first unit was averaged (quality_every '
                'or quality_seconds must be above 0).';
    END IF;
    measured := gan_measure_distances(r.run, wanted, kept.images, kept.data);
    INSERT INTO gan_swd AS s (run, iteration, images, distances, swd, seconds)
        SELECT r.run, wanted, kept.images, measured, avg(d),
            greatest(0, extract(epoch FROM clock_timestamp() - began))
            FROM unnest(measured) AS d
        ON CONFLICT ON CONSTRAINT gan_swd_pkey
            DO UPDATE
            SET swd = s.swd
            RETURNING s.swd
            INTO figure;
    RETURN figure;
END
$$;

-- For the instructor: whose summary counts, which others agree with it, and whether it is
-- provisional.
CREATE VIEW gan_reference_check AS
    SELECT f.run, f.login, f.images, f.kept, f.agrees, f.difference, f.made_at, f.confirmed,
           NOT bool_or(f.confirmed) OVER (PARTITION BY f.run)
               AND count(*) FILTER (WHERE f.agrees) OVER (PARTITION BY f.run) < 2 AS provisional
    FROM gan_reference f;

COMMENT ON TABLE gan_reference
    IS 'Summaries of the real images: the one that counts, and which others agree with it';
COMMENT ON TABLE gan_swd
    IS 'Sliced Wasserstein distances (times 1000) between generated and real images, by iteration';
COMMENT ON VIEW gan_reference_check
    IS 'Whose summary of the real images counts, which agree with it, whether it is provisional';
COMMENT ON FUNCTION gan_set_reference(name, int) IS 'Sets whose summary of the real images counts';
COMMENT ON FUNCTION gan_reference_wanted(int)
    IS 'Worker: the images of the sample to summarise, 0 if no summary is wanted';
COMMENT ON FUNCTION gan_contribute_reference(int, int, bytea)
    IS 'Worker: a summary of the real images, checked before it is kept or compared';
COMMENT ON FUNCTION gan_forget_reference(int)
    IS 'Deletes a run''s summaries of the real images and the values measured with them';
COMMENT ON FUNCTION gan_quality(int, int)
    IS 'Sliced Wasserstein distance (times 1000) of an iteration''s images: stored, or measured '
        'now';
