-- -------------------------------------------------------------------------------------------------
-- For the instructor: the roster, the grades, certificates
-- -------------------------------------------------------------------------------------------------

CREATE VIEW gan_roster AS
    SELECT s.rolname AS login, a.nickname, s.rolcanlogin AS may_log_in,
        s.rolvaliduntil AS valid_until,
           (SELECT count(*)
               FROM pg_catalog.pg_stat_activity c
               WHERE c.usesysid = s.oid) AS sessions,
           coalesce(w.workers, 0) AS workers, coalesce(w.runs, 0) AS runs,
               coalesce(w.images, 0) AS images, w.first_joined, w.last_seen
    FROM pg_catalog.pg_roles s
    JOIN pg_catalog.pg_auth_members m ON m.member = s.oid
    JOIN pg_catalog.pg_roles g ON g.oid = m.roleid AND g.rolname = 'gan_student'
    LEFT JOIN gan_account a ON a.login = s.rolname
    LEFT
        JOIN (SELECT w.login, count(*) AS workers, count(DISTINCT w.run) AS runs,
            sum(w.images)::bigint AS images, min(w.joined_at) AS first_joined,
            max(w.last_seen) AS last_seen
               FROM gan_worker w GROUP BY w.login) AS w ON w.login = s.rolname;

-- One line for each student and run, including students who never took part. Credit counts averaged
-- images: those that the server gave out, checked and used.
CREATE VIEW gan_gradebook AS
    SELECT r.name AS run, s.login, coalesce(n.nickname, a.nickname) AS nickname,
        count(w.worker) AS workers, coalesce(sum(w.units), 0)::bigint AS units,
           coalesce(sum(w.images), 0)::bigint AS images,
           round((coalesce(sum(w.images) / nullif(sum(sum(w.images)) OVER (PARTITION BY r.run), 0),
               0))::numeric,
               4) AS share,
           rank() OVER (PARTITION BY r.run ORDER BY coalesce(sum(w.images), 0) DESC) AS place,
           min(w.joined_at) AS first_joined, max(w.last_seen) AS last_seen
    FROM gan_run r
    CROSS JOIN (SELECT login FROM gan_roster UNION SELECT login FROM gan_worker) AS s
    LEFT JOIN gan_worker w ON w.run = r.run AND w.login = s.login
    LEFT JOIN gan_nickname n ON n.login = s.login
    LEFT JOIN gan_account a ON a.login = s.login
    GROUP BY r.run, r.name, s.login, n.nickname, a.nickname;

-- A text to print and give to a student: what the student's machines did for a run. It ends in a
-- digest of its lines.
CREATE FUNCTION gan_certificate(name text, run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
    w record;
    called text;
    digest bytea;
    body text;
BEGIN
    SELECT * INTO r FROM gan_run g WHERE g.run = gan_the_run(run);
    SELECT count(*) AS workers, sum(p.cores) AS cores, sum(p.units) AS units,
        sum(p.images) AS images, min(p.joined_at) AS first, max(p.last_seen) AS last,
           -- of all credit: a rollback does not change it
           sum(p.images) / nullif((SELECT sum(a.images) FROM gan_worker a WHERE a.run = r.run),
               0) AS share
        INTO w FROM gan_worker p WHERE p.run = r.run AND p.login = name;
    IF coalesce(w.units, 0) = 0 THEN
        RAISE EXCEPTION 'nothing of login "%" was averaged in run % ("%")', name, r.run, r.name
            USING ERRCODE = 'no_data_found',
                HINT = 'SELECT login FROM gan_gradebook lists those who took part.';
    END IF;
    SELECT n.nickname INTO called FROM gan_nickname n WHERE n.login = name;
    SELECT h.weights_digest
        INTO digest
        FROM gan_history h
        WHERE h.run = r.run
        ORDER BY h.iteration DESC
        LIMIT 1;
    body := concat_ws(E'\n',
        'GANNs with friends: certificate', '',
        format('%s (%s) took part in the training of "%s",', name, called, r.name),
        format('a generative adversarial network of %s parameters, from %s to %s.',
            trim(to_char(r.parameters, '999,999,999')),
               to_char(w.first AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
                   to_char(w.last AT TIME ZONE 'UTC', 'YYYY-MM-DD')), '',
        format('  images computed, checked and averaged  %s',
            trim(to_char(w.images, '999,999,999,999'))),
        format('  share of all images                    %s %%', round(100 * w.share, 2)),
        format('  work units                             %s', w.units),
        format('  programs, cores                        %s, %s', w.workers, w.cores),
        format('  iterations of the run                  %s of %s', r.iteration,
            r.target_iterations),
        format('  SHA-256 of the weights                 %s', encode(digest, 'hex')), '');
    RETURN body
        || format(E'\nSHA-256 of the lines above: %s\n',
            encode(sha256(convert_to(body, 'UTF8')), 'hex'));
END
$$;

COMMENT ON VIEW gan_roster
    IS 'Every enrolled student: whether the login may log in and is connected, what it contributed';
COMMENT ON VIEW gan_gradebook IS E'Credit by run and student; \\copy (SELECT * FROM gan_gradebook) '
    'TO ''grades.csv'' CSV HEADER';
COMMENT ON FUNCTION gan_certificate(text, int)
    IS 'What a student''s computers did for a run, as a text with a digest';
