-- -------------------------------------------------------------------------------------------------
-- What students see in their terminals: messages, the progress of the run, and their own
-- -------------------------------------------------------------------------------------------------

CREATE TABLE gan_message (
    message bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run     int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    text    text NOT NULL CHECK (length(text) BETWEEN 1 AND 200),
    said_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX gan_message_run ON gan_message (run, message);

SELECT pg_catalog.pg_extension_config_dump('gan_message', '');
SELECT pg_catalog.pg_extension_config_dump('gan_message_message_seq', '');

-- Sends a message to all workers of a run. It is shown in terminals, so control characters and
-- characters that change the direction of writing are refused.
CREATE FUNCTION gan_say(message text, run int DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    said_in int := gan_the_run($2);
BEGIN
    PERFORM gan_require(length($1) BETWEEN 1 AND 200, 'message', length($1) || ' characters long',
        '1 to 200 characters long', '''coffee in 5''');
    PERFORM gan_require(gan_is_line($1), 'message', 'a text with control characters',
                        'one line without any', '''coffee in 5''');
    INSERT INTO gan_message (run, text) VALUES (said_in, $1);
    DELETE
        FROM gan_message m
        WHERE m.run = said_in
            AND m.message <= (SELECT max(o.message) - 100 FROM gan_message o WHERE o.run = said_in);
    PERFORM gan_wake(said_in);
    RETURN (SELECT format('said to %s workers of run %s ("%s")', count(w.*), said_in, r.name)
            FROM gan_run r
                LEFT
                    JOIN gan_worker w ON w.run = r.run
                        AND w.last_seen > statement_timestamp() - interval '1 minute'
            WHERE r.run = said_in GROUP BY r.name);
END
$$;

-- The rank of the caller's login by averaged images, its share of them, about how long the run will
-- still take (by the last 20 iterations), and the messages after a given number, one line each.
-- Without a number: the messages of the last 10 minutes.
CREATE FUNCTION gan_standing(worker int, after bigint DEFAULT NULL)
    RETURNS TABLE (rank int, students int, share float8, seconds_left float8, message bigint,
        messages text)
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
BEGIN
    PERFORM gan_require_autocommit('gan_standing');
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
    SELECT s.rank, s.students, s.share INTO rank, students, share
        FROM (SELECT w.login, sum(w.images) AS images,
            rank() OVER (ORDER BY sum(w.images) DESC)::int AS rank,
            count(*) OVER ()::int AS students,
                     (sum(w.images) / nullif(sum(sum(w.images)) OVER (), 0))::float8 AS share
              FROM gan_worker w WHERE w.run = r.run GROUP BY w.login) AS s
        WHERE s.login = session_user AND s.images > 0;
    IF r.state = 'running' THEN
        SELECT (r.target_iterations - r.iteration) * extract(epoch
            FROM max(h.ended_at) - min(h.started_at)) / nullif(count(*),
            0)
            INTO seconds_left
            FROM (SELECT h.started_at, h.ended_at
                FROM gan_history h
                WHERE h.run = r.run
                ORDER BY h.iteration DESC
                LIMIT 20) AS h;
    END IF;
    SELECT coalesce(max(m.message), 0) INTO message FROM gan_message m WHERE m.run = r.run;
    SELECT string_agg(m.text, E'\n' ORDER BY m.message) INTO messages
        FROM (SELECT m.message, m.text FROM gan_message m
              WHERE m.run = r.run
                  AND CASE
                      WHEN $2 IS NULL THEN m.said_at > statement_timestamp() - interval '10 minutes'
                      ELSE m.message > $2 END
              ORDER BY m.message DESC LIMIT 10) AS m;
    RETURN NEXT;
END
$$;

COMMENT ON TABLE gan_message IS 'Messages of the instructor, the last hundred of each run';
COMMENT ON FUNCTION gan_say(text, int)
    IS 'Sends a message to all workers of a run: it appears in their terminals';
COMMENT ON FUNCTION gan_standing(int, bigint)
    IS 'Worker: the rank and the share of its student, how long the run will take, and what the '
        'instructor said';
