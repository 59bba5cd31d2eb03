-- -------------------------------------------------------------------------------------------------
-- What everybody may see: where the run is, what it learns, who takes part under which nickname.
-- No login, no host, no password. (Names come from views that only their owner may read, and not
-- from functions: a view checks the reader's right to call a function, so readers could call it
-- themselves with guessed logins.)
-- -------------------------------------------------------------------------------------------------

CREATE TABLE gan_account (
    login    name PRIMARY KEY,
    nickname text NOT NULL CHECK (gan_is_name(nickname, 32)),
    named_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
-- "Otter", "otter" and "Ot-ter." look alike: only one of them can be taken.
CREATE UNIQUE INDEX gan_account_nickname ON gan_account (gan_name_key(nickname));
SELECT pg_catalog.pg_extension_config_dump('gan_account', '');

-- The name of each login: its nickname, else "student" and the number of its first worker.
CREATE VIEW gan_nickname AS
    SELECT w.login, coalesce(a.nickname, 'student ' || min(w.worker)) AS nickname
    FROM gan_worker w LEFT JOIN gan_account a ON a.login = w.login GROUP BY w.login, a.nickname;

-- Checks and stores a login's nickname.
CREATE FUNCTION gan_store_nickname(login name, nickname text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    PERFORM gan_require(gan_is_name(nickname, 32)
        AND encode(gan_name_key(nickname), 'escape') COLLATE "C" !~ '^student[0-9]+$', 'nickname',
            quote_nullable(left(nickname, 64)),
                        'at most 32 letters, digits, spaces, dots, dashes or underscores, begin '
                            'with a letter or digit, and not be "student" and a number',
                            '''Otter''');
    INSERT INTO gan_account AS a (login, nickname) VALUES (login, nickname)
        ON CONFLICT ON CONSTRAINT gan_account_pkey
            DO UPDATE
            SET nickname = excluded.nickname, named_at = statement_timestamp();
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'somebody already has the nickname "%", or one like it', nickname
        USING ERRCODE = 'duplicate_object', HINT = 'Choose another nickname.';
END
$$;

-- A student chooses the name that others see.
CREATE FUNCTION gan_set_nickname(nickname text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    PERFORM gan_require_autocommit('gan_set_nickname');
    PERFORM gan_store_nickname(session_user, $1);
    RETURN format('others see you as "%s"', $1);
END
$$;

-- The instructor chooses it.
CREATE FUNCTION gan_set_nickname(login name, nickname text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
BEGIN
    PERFORM gan_store_nickname($1, $2);
    RETURN format('%s is seen as "%s"', $1, $2);
END
$$;

-- The workers that are seen within a minute or hold a unit under a lease.
CREATE VIEW gan_active_worker AS
    SELECT w.worker, w.run, w.login, w.cores, w.memory_mb, w.gpu, w.gpu_memory_mb
    FROM gan_worker w
    WHERE w.last_seen > statement_timestamp() - interval '1 minute'
        OR EXISTS (SELECT
            FROM gan_work_unit u
            WHERE u.worker = w.worker
                AND u.state = 'claimed'
                AND u.lease_until > statement_timestamp());

-- The speed of the last ten iterations.
CREATE VIEW gan_throughput AS
    SELECT r.run, h.images / nullif(h.seconds, 0) AS images_per_second,
        h.seconds / nullif(h.iterations, 0) AS seconds_per_iteration
    FROM gan_run r
    CROSS
        JOIN LATERAL (SELECT count(*) AS iterations, sum(l.images)::float8 AS images,
            sum(extract(epoch FROM l.ended_at - l.started_at))::float8 AS seconds
                        FROM (SELECT h.images, h.started_at, h.ended_at
                            FROM gan_history h
                            WHERE h.run = r.run
                            ORDER BY h.iteration DESC
                            LIMIT 10) AS l) AS h;

-- (note: what the instructor must do before the run can continue. Everybody may read it, so it
-- names no login.)
CREATE VIEW gan_progress AS
    SELECT r.run, r.name, r.state, r.iteration, r.target_iterations, h.epoch, h.loss_d, h.loss_g,
           u.pending, u.claimed, u.done, w.active AS active_workers, u.aside,
           CASE r.state
               WHEN 'running'
                   THEN make_interval(secs => (r.target_iterations - r.iteration) *
                       t.seconds_per_iteration) END AS time_left,
           CASE r.state
               WHEN 'running'
                   THEN statement_timestamp() +
                       make_interval(secs => (r.target_iterations - r.iteration) *
                       t.seconds_per_iteration) END AS expected_end,
           CASE WHEN r.state = 'paused'
               AND r.paused_because IS NOT NULL THEN 'the run has paused itself: '
                   || r.paused_because
                WHEN r.state IN ('created', 'running', 'paused') AND r.dataset_digest IS NULL
                THEN 'there is no work until the instructor has confirmed the dataset: SELECT '
                    'gan_set_dataset('
                    || r.run || ')' END AS note
    FROM gan_run r
    LEFT JOIN gan_throughput t ON t.run = r.run
    LEFT JOIN gan_history h ON h.run = r.run AND h.iteration = r.iteration - 1
    CROSS
        JOIN LATERAL (SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
            count(*) FILTER (WHERE state = 'claimed') AS claimed,
                               count(*) FILTER (WHERE state = 'done') AS done,
                                   count(*) FILTER (WHERE state = 'aside') AS aside
                        FROM gan_current_unit WHERE run = r.run) AS u
    CROSS JOIN LATERAL (SELECT count(*) AS active FROM gan_active_worker WHERE run = r.run) AS w;

CREATE VIEW gan_learning_curve AS
    SELECT h.run, h.iteration, h.epoch, h.images, h.loss_d, h.loss_g, h.accuracy_real,
        h.accuracy_fake, h.gradient_norm_g, h.gradient_norm_d,
           s.swd, extract(epoch FROM h.ended_at - h.started_at)::float8 AS seconds,
           h.images / nullif(extract(epoch FROM h.ended_at - h.started_at),
               0)::float8 AS images_per_second,
               h.workers AS participants, h.ended_at
    -- (swd belongs to the weights that the step made, those of iteration + 1.)
    FROM gan_history h LEFT JOIN gan_swd s ON s.run = h.run AND s.iteration = h.iteration + 1;

-- How many iterations in a row, up to the last one, a login contributed to. Units are kept for a
-- hundred iterations.
CREATE VIEW gan_streak AS
    SELECT run, login, least(count(*), 100) AS streak
    FROM (SELECT c.run, c.login, c.iteration, c.last,
        row_number() OVER (PARTITION BY c.run, c.login ORDER BY c.iteration DESC) AS n
          FROM (SELECT DISTINCT u.run, w.login, u.iteration, r.iteration - 1 AS last
                FROM gan_run r
                    JOIN gan_work_unit u ON u.run = r.run
                        AND u.iteration < r.iteration
                        AND u.state = 'done'
                    JOIN gan_worker w ON w.worker = u.worker) AS c) AS d
    WHERE iteration + n = last + 1 GROUP BY run, login;

CREATE VIEW gan_leaderboard AS
    SELECT a.run, rank() OVER (PARTITION BY a.run ORDER BY a.images DESC) AS place, n.nickname,
        a.images, a.units,
           coalesce(a.images / nullif(sum(a.images) OVER (PARTITION BY a.run), 0)::float8,
               0) AS share,
               coalesce(s.streak, 0) AS streak, a.last_seen,
           EXISTS (SELECT
               FROM gan_active_worker w
               WHERE w.run = a.run AND w.login = a.login) AS active,
           -- the GPUs that its active workers compute on
           (SELECT string_agg(DISTINCT w.gpu, ', ')
               FROM gan_active_worker w
               WHERE w.run = a.run AND w.login = a.login AND w.gpu <> '') AS gpu
    FROM (SELECT w.run, w.login, sum(w.images)::bigint AS images, sum(w.units)::bigint AS units,
        max(w.last_seen) AS last_seen
        FROM gan_worker w
        GROUP BY w.run, w.login) AS a
    JOIN gan_nickname n ON n.login = a.login
    LEFT JOIN gan_streak s ON s.run = a.run AND s.login = a.login;

-- The class's active workers and their computers, in total.
CREATE VIEW gan_cluster AS
    SELECT r.run, r.name, count(DISTINCT w.login) AS participants, count(w.worker) AS workers,
        coalesce(sum(w.cores), 0)::bigint AS cores,
           coalesce(sum(w.memory_mb), 0)::bigint AS memory_mb,
           count(w.worker) FILTER (WHERE w.gpu <> '') AS gpus,
           coalesce(sum(w.gpu_memory_mb), 0)::bigint AS gpu_memory_mb,
               CASE r.state WHEN 'running' THEN t.images_per_second END AS images_per_second
    FROM gan_run r
        LEFT JOIN gan_active_worker w ON w.run = r.run
        LEFT JOIN gan_throughput t ON t.run = r.run
    GROUP BY r.run, r.name, r.state, t.images_per_second;

COMMENT ON TABLE gan_account IS 'Nicknames: what others see of a login';
COMMENT ON VIEW gan_nickname IS 'The nickname of each login; not for students';
COMMENT ON VIEW gan_active_worker
    IS 'Workers that were seen within a minute or hold a unit; not for students';
COMMENT ON VIEW gan_throughput IS 'Images per second and seconds per iteration, over the last ten';
COMMENT ON VIEW gan_progress
    IS 'Where each run is, its units by state, when it is expected to end, and what it waits for';
COMMENT ON VIEW gan_learning_curve
    IS 'Losses, accuracies, gradient norms, quality (swd) and speed by iteration';
COMMENT ON VIEW gan_streak
    IS 'Iterations in a row that a login contributed to, at most 100; not for students';
COMMENT ON VIEW gan_leaderboard IS 'How much each student contributed, by nickname';
COMMENT ON VIEW gan_cluster
    IS 'Active workers, their computers'' cores, GPUs and memory, and images per second, in total';
COMMENT ON FUNCTION gan_set_nickname(text) IS 'Student: the name that others see';
COMMENT ON FUNCTION gan_set_nickname(name, text) IS 'Sets a student''s nickname';
