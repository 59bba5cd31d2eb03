-- -------------------------------------------------------------------------------------------------
-- What the dashboard shows (src/dashboard): a few documents, the same for every viewer. They
-- contain nicknames, but no logins or hosts. Their cost doesn't grow with a run's age.
-- -------------------------------------------------------------------------------------------------

-- Joins names as a sentence does: "Alice, Bo and 3 others".
CREATE FUNCTION gan_enumerate(names text[], most int DEFAULT 3) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN n <= 1 THEN names[1]
                WHEN n <= most THEN array_to_string(names[1:n - 1], ', ') || ' and ' || names[n]
                ELSE array_to_string(names[1:most - 1], ', ') || ' and ' || n - most + 1
                    || ' others' END
    FROM cardinality(names) AS n
$$;

-- A run's workers and their students' nicknames; member is the first worker of the same login.
CREATE FUNCTION gan_participants(run int)
    RETURNS TABLE (worker int, member int, nickname text, units bigint, images bigint, cores int,
        memory_mb int, gpu text, seen_seconds float8, active boolean, unit bigint)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT w.worker, min(w.worker) OVER (PARTITION BY w.login), n.nickname, w.units, w.images,
        w.cores, w.memory_mb, w.gpu,
           extract(epoch FROM statement_timestamp() - greatest(w.last_seen, u.claimed_at))::float8,
               a.worker IS NOT NULL, u.unit
    FROM gan_worker w
    JOIN gan_nickname n ON n.login = w.login
    LEFT JOIN gan_active_worker a ON a.worker = w.worker
    LEFT JOIN LATERAL (SELECT c.unit, c.claimed_at FROM gan_work_unit c
                       WHERE c.worker = w.worker
                           AND c.state = 'claimed'
                           AND c.lease_until > statement_timestamp()) AS u ON true
    WHERE w.run = $1
$$;

-- Writes a length of time in its largest unit: "12 s", "4 min", "3 h", "2 days".
CREATE FUNCTION gan_short_time(seconds float8) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN $1 < 90 THEN round(greatest($1, 0)) || ' s'
        WHEN $1 < 5400 THEN round($1 / 60) || ' min'
        WHEN $1 < 129600 THEN round($1 / 3600) || ' h'
                ELSE round($1 / 86400) || ' days' END
$$;

-- The numbers for the sentences about a running run. total, free, done: units of the current
-- iteration; needed: how many are enough; shown: the same number as others may see it; waiting:
-- seconds since the last unit was done; holders: the students that hold a unit; joined, active:
-- workers; seen: seconds since a worker was seen.
CREATE FUNCTION gan_situation(r gan_run)
    RETURNS TABLE (total bigint, free bigint, done bigint, needed int, shown int, waiting float8,
        holders text[], joined bigint, active bigint, seen float8)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT u.total, u.free, u.done, gan_units_needed(r), gan_units_shown(r),
           (SELECT extract(epoch FROM statement_timestamp() - max(w.submitted_at))::float8
               FROM gan_work_unit w
               WHERE w.run = (r).run AND w.iteration = (r).iteration AND w.state = 'done'),
           coalesce(p.holders, '{}'), p.joined, p.active, p.seen
    FROM (SELECT count(*) FILTER (WHERE state <> 'aside') AS total,
        count(*) FILTER (WHERE state = 'pending') AS free,
        count(*) FILTER (WHERE state = 'done') AS done
          FROM gan_current_unit WHERE run = (r).run) AS u
    -- a holder of a copy is not waited for if the unit is done
    CROSS
        JOIN (SELECT count(*) AS joined, count(*) FILTER (WHERE active) AS active,
            min(seen_seconds) AS seen,
                       array_agg(DISTINCT nickname) FILTER (WHERE unit IN (SELECT c.unit
                           FROM gan_current_unit c
                           WHERE c.run = (r).run AND c.state = 'claimed')) AS holders
                FROM gan_participants((r).run)) AS p
$$;

-- Says in one sentence what is happening in a running run, and in a second one what to do, if
-- anything. The whole class reads them, so they contain no command for the instructor.
CREATE FUNCTION gan_running_words(r gan_run, OUT happening text, OUT advice text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    s record;
    stuck boolean; -- all results are there, but for too long no step has averaged them
BEGIN
    SELECT * INTO s FROM gan_situation(r);
    stuck := s.done >= s.needed AND s.done >= s.shown AND coalesce(s.waiting > 60, false);
    happening := format('Iteration %s: ', r.iteration) || CASE
        WHEN s.total = 0 THEN 'no unit is left to compute'
        WHEN s.joined = 0 THEN 'nobody has joined yet'
        WHEN r.dataset_digest IS NULL THEN 'no unit is given out yet'
        ELSE format('%s of %s units done', s.done, s.total)
            || CASE WHEN s.shown < s.total THEN format(' (%s are enough)', s.shown) ELSE '' END
            || CASE WHEN s.done >= s.needed AND s.done < s.shown THEN ', spot checks are under way'
                    WHEN stuck THEN format(', but they have waited %s for the step',
                        gan_short_time(s.waiting))
                    WHEN s.done >= s.needed THEN ', the step is under way'
                    WHEN cardinality(s.holders) > 0 THEN ', waiting for '
                        || gan_enumerate(s.holders)
                    WHEN s.active > 0 THEN ''
                    ELSE ', and no worker is running' END
            || CASE WHEN s.free > 0
                AND s.done < s.needed THEN format('; %s %s free', s.free,
                    CASE s.free WHEN 1 THEN 'is' ELSE 'are' END)
                    ELSE '' END
        END;
    advice := CASE
        WHEN s.total = 0
            THEN 'All units failed too often and were set aside. The instructor can find the '
                'reasons in gan_set_aside.'
        WHEN stuck
            THEN 'The coordinator does not seem to run. The instructor must start it: '
                'docs/instructor.md says how.'
        WHEN s.done >= s.needed THEN NULL
        WHEN s.joined = 0
            THEN 'To take part, start gan_worker with the connection string that your instructor '
                'gave you.'
        WHEN s.active = 0
            THEN format('The last worker was seen %s ago. Start gan_worker again to continue.',
            gan_short_time(s.seen))
        END;
END
$$;

-- The same two sentences for a run in any state.
CREATE FUNCTION gan_words(r gan_run, OUT happening text, OUT advice text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    CASE r.state
    WHEN 'created' THEN
        happening := 'Not started yet';
        advice := 'You can start gan_worker already: it waits until the instructor starts the run.';
    WHEN 'paused' THEN
        happening := format('Paused at iteration %s of %s', r.iteration, r.target_iterations);
        advice := 'Leave your worker running: it waits until the instructor resumes the run.';
    WHEN 'finished' THEN
        happening := format('Finished: all %s iterations are done', r.target_iterations);
        advice := 'There is nothing left to compute. Play the film to see how the pictures came '
            'about.';
    WHEN 'stopped' THEN
        happening := format('Stopped after %s of %s iterations', r.iteration, r.target_iterations);
        advice := 'Nothing is being computed any more. The pictures and curves stay here.';
    ELSE
        SELECT w.happening, w.advice INTO happening, advice FROM gan_running_words(r) AS w;
    END CASE;
END
$$;

-- When the run entered its state, if it is a state that outlasts an iteration.
CREATE FUNCTION gan_state_since(r gan_run) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE (r).state
        WHEN 'created' THEN (r).created_at
        WHEN 'paused' THEN (r).paused_at
        WHEN 'finished' THEN ended.at
                          WHEN 'stopped' THEN coalesce((r).stopped_at, ended.at) END
    FROM (SELECT max(h.ended_at) AS at
        FROM gan_history h
        WHERE h.run = (r).run AND h.iteration = (r).iteration - 1) AS ended
$$;

-- How often the run was rolled back (gan_rollback): on another branch the same iteration has
-- another sheet.
CREATE FUNCTION gan_branch(run int) RETURNS int
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT coalesce(max(a.branch), 0) FROM gan_abandoned a WHERE a.run = $1
$$;

-- All runs: their channels (docs/protocol.md), and what the list of runs shows.
CREATE FUNCTION gan_dashboard_runs()
    RETURNS TABLE (run int, channel text, state text, created_at timestamptz, branch int,
        summary jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT r.run, gan_channel(r.run), r.state, r.created_at, gan_branch(r.run),
           jsonb_build_object('run', r.run, 'name', r.name, 'state', r.state)
    FROM gan_run r ORDER BY r.run
$$;

-- The units of the current iteration: a letter for each (free, claimed, done, set aside) in the
-- order of their positions, and in the same order the students that hold or did them. For units in
-- progress, by their place: how many seconds they have taken so far, and how many their worker
-- usually takes.
CREATE FUNCTION gan_dashboard_units(r gan_run) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH usual AS (
        SELECT worker, avg(extract(epoch FROM submitted_at - claimed_at)) AS seconds
            FROM gan_work_unit
        WHERE run = (r).run
            AND iteration BETWEEN (r).iteration - 3 AND (r).iteration
            AND state = 'done'
            GROUP BY worker)
    SELECT jsonb_build_object(
        'states',
            coalesce(string_agg(CASE u.state WHEN 'pending' THEN 'f' ELSE left(u.state, 1) END, ''
                ORDER BY place),
                ''),
        'members', coalesce(jsonb_agg(p.member ORDER BY place), '[]'),
        'work',
            coalesce(jsonb_object_agg(place,
                jsonb_build_array(u.seconds,
                    round(usual.seconds, 1))) FILTER (WHERE u.state = 'claimed'),
                '{}'),
        'least', min(u.images), 'most', max(u.images), 'again',
            count(*) FILTER (WHERE u.attempts > 1))
    FROM (SELECT row_number() OVER (ORDER BY first_position) - 1 AS place, state, worker, attempts,
        images,
                 round(extract(epoch FROM statement_timestamp() - claimed_at), 1) AS seconds
                     FROM gan_current_unit
                     WHERE run = (r).run) AS u
    LEFT JOIN gan_participants((r).run) p ON p.worker = u.worker
    LEFT JOIN usual ON usual.worker = u.worker
$$;

-- The class: the students who contributed most, and totals.
CREATE FUNCTION gan_dashboard_class(r gan_run) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    WITH p AS MATERIALIZED (SELECT * FROM gan_participants((r).run)),
    m AS (SELECT member, nickname, sum(units) AS units, sum(images) AS images,
        sum(cores) FILTER (WHERE active) AS cores,
        count(*) FILTER (WHERE active AND gpu <> '') AS gpus, bool_or(active) AS active,
                 bool_or(unit IS NOT NULL) AS computing, min(seen_seconds) AS seen
                     FROM p
                     GROUP BY member, nickname),
    place AS (SELECT m.*, row_number() OVER (ORDER BY images DESC, active DESC, member) AS place
        FROM m)
    SELECT jsonb_build_object(
        'joined', (SELECT count(*) FROM p), 'active', (SELECT count(*) FROM p WHERE active),
        'cores', (SELECT coalesce(sum(cores), 0) FROM p WHERE active),
        'memory_mb', (SELECT coalesce(sum(memory_mb), 0) FROM p WHERE active),
        'gpus', (SELECT count(*) FILTER (WHERE gpu <> '') FROM p WHERE active),
        'images', (SELECT coalesce(sum(images), 0) FROM p),
        'members',
            coalesce(jsonb_agg(jsonb_build_object('member', member, 'name', nickname, 'units',
                units, 'images', images, 'cores', coalesce(cores, 0), 'gpus', gpus,
            'active', active, 'computing', computing, 'seen', round(seen::numeric)) ORDER BY place)
            -- students named on a tile; all others are only in the sums
            FILTER (WHERE place <= 50 OR active), '[]'))
    FROM place
$$;

-- The list of sheets: the newest few, and enough of the others for a film of about 200.
CREATE FUNCTION gan_dashboard_sheets(run int) RETURNS jsonb
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT coalesce(jsonb_agg(s.iteration ORDER BY s.iteration), '[]')
    FROM (SELECT iteration, row_number() OVER (ORDER BY iteration) - 1 AS place,
        count(*) OVER () AS of
        FROM gan_sheet
        WHERE run = $1) AS s
    WHERE s.place % (1 + s.of / 200) = 0 OR s.place = s.of - 1
$$;

CREATE FUNCTION gan_dashboard(run int) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    h gan_history;
    speed gan_throughput;
    words record;
BEGIN
    SELECT * INTO r FROM gan_run WHERE run = $1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO h FROM gan_history WHERE run = $1 AND iteration = r.iteration - 1;
    -- (A run that isn't running has no speed.)
    SELECT * INTO speed FROM gan_throughput WHERE run = $1 AND r.state = 'running';
    SELECT * INTO words FROM gan_words(r);
    RETURN jsonb_build_object(
        'run', r.run, 'branch', gan_branch(r.run), 'name', r.name, 'state', r.state, 'happening',
            words.happening,
        'advice', words.advice, 'notice', gan_notice(r.run), 'since', gan_state_since(r),
        'iteration', r.iteration, 'target', r.target_iterations, 'epoch',
            round(h.epoch::numeric, 2),
        'loss_d', round(h.loss_d::numeric, 3), 'loss_g', round(h.loss_g::numeric, 3),
        'quality',
            (SELECT round(swd::numeric, 1)
                FROM gan_swd
                WHERE run = r.run
                ORDER BY iteration DESC
                LIMIT 1),
        'quality_expected', gan_quality_expected(r, speed.seconds_per_iteration),
        'speed',
            jsonb_build_object('images', round(speed.images_per_second::numeric, 1), 'iterations',
                round((60 / nullif(speed.seconds_per_iteration, 0))::numeric, 1),
            'eta',
                CASE
                    WHEN r.state = 'running'
                        THEN round(((r.target_iterations - r.iteration) *
                            speed.seconds_per_iteration)::numeric) END),
        'units', gan_dashboard_units(r), 'class', gan_dashboard_class(r), 'sheets',
            gan_dashboard_sheets(r.run));
END
$$;

-- The curves, in at most 256 points. When there would be more, each point covers twice as many
-- iterations as before. A point is the mean of up to eight of its iterations, evenly spaced, so the
-- number of rows read is bounded. Quality is measured only now and then, so it has its own points.
CREATE FUNCTION gan_dashboard_curves(run int) RETURNS jsonb
    LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH extent AS (SELECT r.iteration AS length,
        2 ^ greatest(0, ceil(log(2, greatest(r.iteration, 1) / 256.0)))::int AS width
        FROM gan_run r
        WHERE r.run = $1),
    step AS (SELECT length, width::int AS width, greatest(width / 8, 1)::int AS stride FROM extent),
    point AS (
        SELECT i / step.width * step.width AS iteration, avg(h.loss_d) AS loss_d,
            avg(h.loss_g) AS loss_g, avg(h.accuracy_real) AS right_on_real,
               avg(h.accuracy_fake) AS right_on_fake,
                   sum(h.images) / nullif(sum(extract(epoch FROM h.ended_at - h.started_at)),
                       0) AS speed
        FROM step CROSS JOIN LATERAL generate_series(0, step.length - 1, step.stride) AS i
        JOIN gan_history h ON h.run = $1 AND h.iteration = i
        GROUP BY 1)
    SELECT jsonb_build_object('width', (SELECT width FROM step),
        'iteration', coalesce(jsonb_agg(iteration ORDER BY iteration), '[]'),
        'loss_d', coalesce(jsonb_agg(round(loss_d::numeric, 4) ORDER BY iteration), '[]'),
        'loss_g', coalesce(jsonb_agg(round(loss_g::numeric, 4) ORDER BY iteration), '[]'),
        'right_on_real',
            coalesce(jsonb_agg(round(right_on_real::numeric, 3) ORDER BY iteration), '[]'),
        'right_on_fake',
            coalesce(jsonb_agg(round(right_on_fake::numeric, 3) ORDER BY iteration), '[]'),
        'speed', coalesce(jsonb_agg(round(speed, 1) ORDER BY iteration), '[]'))
        || (SELECT jsonb_build_object('quality_iteration',
            coalesce(jsonb_agg(q.iteration ORDER BY q.iteration), '[]'),
                                      'quality',
                                          coalesce(jsonb_agg(round(q.swd::numeric, 2)
                                              ORDER BY q.iteration),
                                              '[]'))
            FROM (SELECT iteration, swd, row_number() OVER (ORDER BY iteration) - 1 AS place,
                count(*) OVER () AS of
                FROM gan_swd s
                WHERE s.run = $1) AS q
            WHERE q.place % (1 + q.of / 256) = 0 OR q.place = q.of - 1)
    FROM point
$$;

COMMENT ON FUNCTION gan_dashboard_runs() IS 'Dashboard: all runs';
COMMENT ON FUNCTION gan_dashboard(int)
    IS 'Dashboard: what a run is doing, as one document; NULL if there is no such run';
COMMENT ON FUNCTION gan_dashboard_curves(int)
    IS 'Dashboard: losses, accuracies, images/s and quality over the iterations, in at most 256 '
        'points';
