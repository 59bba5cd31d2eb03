-- -------------------------------------------------------------------------------------------------
-- The dataset of a run: workers announce theirs, the instructor confirms one
-- -------------------------------------------------------------------------------------------------

-- Refuses a worker whose dataset is not the run's, once the run's dataset is known.
CREATE FUNCTION gan_require_dataset(r gan_run, images bigint, digest bytea) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    IF r.dataset_digest <> $3 OR r.dataset_images <> $2 THEN
        RAISE EXCEPTION 'these are not the images of run "%"', r.name
            USING ERRCODE = 'UG001',
                  DETAIL = gan_dataset_difference($2, $3, r.dataset_images, r.dataset_digest),
                  HINT = 'Get the same images as the others: the whole archive of the class, with '
                      'no image added or renamed.';
    END IF;
END
$$;

-- The datasets that workers have announced in the last ten minutes.
CREATE VIEW gan_announced_dataset AS
    SELECT w.run, w.dataset_images, w.dataset_digest, count(DISTINCT w.login) AS logins,
        string_agg(DISTINCT w.login::text, ', ') AS who
    FROM gan_worker w
        WHERE w.dataset_digest IS NOT NULL
            AND w.last_seen > clock_timestamp() - interval '10 minutes'
    GROUP BY w.run, w.dataset_images, w.dataset_digest;

-- Sets the dataset of a run; without images and digest, the one that all workers have announced. It
-- can be called again, but after the first step the number of images can't change, because the
-- order of images depends on it. Units that were computed from other images are computed again.
CREATE FUNCTION gan_set_dataset(run int DEFAULT NULL, images bigint DEFAULT NULL,
    digest bytea DEFAULT NULL)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    said text[];
    u gan_work_unit;
BEGIN
    SELECT * INTO r FROM gan_run g WHERE g.run = gan_the_run($1) FOR NO KEY UPDATE;
    PERFORM gan_require(($2 IS NULL) = ($3 IS NULL), 'images', $2::text,
        'given together with digest', '60000');
    PERFORM gan_require($2 IS NULL
        OR $2 BETWEEN 1 AND 4294967296, 'images', $2::text, 'between 1 and 4294967296', '60000');
    PERFORM gan_require($3 IS NULL
        OR octet_length($3) = 32, 'digest', octet_length($3) || ' bytes long',
            '32 bytes long (gan_worker --check prints it)',
            quote_literal(E'\\x' || repeat('00', 32)));
    IF $2 IS NULL THEN
        SELECT array_agg(format('%s images, digest %s (%s)', a.dataset_images,
            encode(a.dataset_digest, 'hex'), a.who)
            ORDER BY a.logins DESC),
               (array_agg(a.dataset_images))[1], (array_agg(a.dataset_digest))[1]
                   INTO said, images, digest
                   FROM gan_announced_dataset a
                   WHERE a.run = r.run;
        IF said IS NULL THEN
            RAISE EXCEPTION 'no worker has announced a dataset for run % ("%") in the last ten '
                'minutes',
                r.run, r.name
                USING ERRCODE = 'no_data_found',
                HINT = 'Start a worker and call this again, or give the dataset yourself: '
                    'gan_set_dataset(run, images, digest); gan_worker --check prints both.';
        ELSIF cardinality(said) > 1 THEN
            RAISE EXCEPTION 'workers of run % ("%") have announced % different datasets', r.run,
                r.name, cardinality(said)
                USING ERRCODE = 'cardinality_violation',
                DETAIL = array_to_string(said, E'\n'),
                    HINT = format('Choose one: SELECT gan_set_dataset(%s, images, digest).',
                        r.run);
        END IF;
    END IF;
    IF (r.dataset_images, r.dataset_digest) IS DISTINCT FROM (images, digest) THEN
        IF r.iteration > 0 AND images <> r.dataset_images THEN
            RAISE EXCEPTION 'run % ("%") has learned from a dataset of % images and can''t '
                'continue with %',
                r.run, r.name, r.dataset_images, images
                USING ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'Make a new run for another dataset: SELECT gan_create_run(...).';
        END IF;
        UPDATE gan_run g SET dataset_images = images, dataset_digest = digest WHERE g.run = r.run;
        FOR u IN SELECT *
            FROM gan_work_unit w
            WHERE w.run = r.run
                AND w.iteration = r.iteration
                AND w.state IN ('claimed', 'done')
                AND r.dataset_digest IS NOT NULL
            ORDER BY w.unit FOR UPDATE LOOP
            IF u.state = 'claimed' THEN
                PERFORM gan_put_back(u);
            ELSE
                PERFORM gan_reopen_unit(u.unit);
            END IF;
        END LOOP;
        DELETE FROM gan_reference f WHERE f.run = r.run AND r.dataset_digest IS NOT NULL;
        PERFORM gan_wake(r.run);
    END IF;
    RETURN format('the dataset of run %s ("%s") has %s images and digest %s', r.run, r.name, images,
        encode(digest, 'hex'));
END
$$;

COMMENT ON VIEW gan_announced_dataset
    IS 'Which datasets the workers of a run have announced, and which logins did';
COMMENT ON FUNCTION gan_set_dataset(int, bigint, bytea)
    IS 'Sets the dataset of a run; without images and digest: the one that all workers have '
        'announced';
