-- ---------------------------------------------------------------------------------------------------------------------
-- Work that failed
-- ---------------------------------------------------------------------------------------------------------------------

-- A row for each login at which the work on some positions failed. (A crash of the server is nobody's failure, nor is a release.)
CREATE TABLE gan_failure (
    run            int NOT NULL REFERENCES gan_run ON DELETE CASCADE,
    first_position bigint NOT NULL CHECK (first_position >= 0),
    login          name NOT NULL,
    times          int NOT NULL DEFAULT 1 CHECK (times > 0),
    why            text NOT NULL CHECK (why IN ('lease_over', 'too_large', 'bad_value')), -- the last time
    unit           bigint NOT NULL,          -- of the last time, as what follows
    attempt        int NOT NULL,             -- counted once, however often it is refused
    iteration      int NOT NULL,
    worker         int REFERENCES gan_worker ON DELETE SET NULL,
    failed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, first_position, login)
);
SELECT pg_catalog.pg_extension_config_dump('gan_failure', '');
COMMENT ON TABLE gan_failure IS 'At which logins the work on some positions failed, how often, and why the last time';
