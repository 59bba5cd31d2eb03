-- -------------------------------------------------------------------------------------------------
-- Work that failed
-- -------------------------------------------------------------------------------------------------

-- A row for each login at which the work on some positions failed. (A crash of the server and a
-- release do not count as failures.)
CREATE TABLE gan_failure (
    run            int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    first_position bigint NOT NULL CHECK (first_position >= 0),
    login          name NOT NULL,
    times          int NOT NULL DEFAULT 1 CHECK (times > 0),
    -- why it failed the last time
    why            text NOT NULL
        CHECK (why IN ('lease_over', 'upload_refused', 'too_large', 'bad_value', 'step_failed')),
    unit           bigint NOT NULL,          -- of the last time, as what follows
    attempt        int NOT NULL,             -- counted once, even if it is refused several times
    iteration      int NOT NULL,
    worker         int REFERENCES gan_worker ON DELETE SET NULL,
    detail         text,                     -- the last time, in words
    failed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, first_position, login)
);
SELECT pg_catalog.pg_extension_config_dump('gan_failure', '');
COMMENT ON TABLE gan_failure
    IS 'At which logins the work on some positions failed, how often, and why the last time';

-- For the instructor: what went wrong in a run and what was done about it, the last hundred
-- incidents of each run.
CREATE TABLE gan_incident (
    incident  bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run       int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    iteration int NOT NULL,
    unit      bigint,
    login     name,
    what      text NOT NULL,
    noted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX gan_incident_run ON gan_incident (run, incident);
SELECT pg_catalog.pg_extension_config_dump('gan_incident', '');
SELECT pg_catalog.pg_extension_config_dump('gan_incident_incident_seq', '');

-- Stores an incident and writes it to the server's log.
CREATE FUNCTION gan_note_incident(run int, iteration int, unit bigint, login name, what text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO gan_incident (run, iteration, unit, login, what) VALUES ($1, $2, $3, $4, $5);
    DELETE
        FROM gan_incident i
        WHERE i.run = $1
            AND i.incident <= (SELECT o.incident
                FROM gan_incident o
                WHERE o.run = $1
                ORDER BY o.incident DESC OFFSET 100
                LIMIT 1);
    RAISE WARNING 'run %: %', $1, $5;
END
$$;

COMMENT ON TABLE gan_incident
    IS 'What went wrong in a run and what was done about it: units that made a step fail, pauses; '
        'the last hundred';
