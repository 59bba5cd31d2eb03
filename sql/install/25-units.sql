-- ---------------------------------------------------------------------------------------------------------------------
-- Units: opened, put back, replaced
-- ---------------------------------------------------------------------------------------------------------------------

-- Opens the units of the run's current iteration that are not there yet. Every position is given out once.
CREATE FUNCTION gan_open_units(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    r gan_run;
    missing int;
BEGIN
    SELECT * INTO STRICT r FROM gan_run WHERE gan_run.run = run FOR NO KEY UPDATE;
    SELECT r.units_per_iteration - count(*) INTO missing FROM gan_work_unit u
        WHERE u.run = run AND u.iteration = r.iteration
        AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit);
    IF missing > 0 THEN
        INSERT INTO gan_work_unit (run, iteration, first_position, images)
            SELECT run, r.iteration, r.next_position + k::bigint * r.images_per_unit, r.images_per_unit
            FROM generate_series(0, missing - 1) AS k;
        UPDATE gan_run SET next_position = next_position + missing::bigint * images_per_unit WHERE gan_run.run = run;
    END IF;
    RETURN greatest(missing, 0);
END
$$;

-- Puts back units whose lease ended. Rows that somebody has locked are left alone: the coordinator waits for nobody.
CREATE FUNCTION gan_expire_leases(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    expired int;
    right_now timestamptz := clock_timestamp(); -- a statement of the coordinator's lasts a minute
BEGIN
    WITH over AS MATERIALIZED (
        SELECT u.unit FROM gan_work_unit u WHERE u.run = $1 AND u.state = 'claimed' AND u.lease_until <= right_now
        ORDER BY u.unit FOR UPDATE SKIP LOCKED)
    -- Opened now: whoever claims it next has it locked for a moment, which isn't hoarding.
    UPDATE gan_work_unit u SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_until = NULL, opened_at = right_now
        FROM over WHERE u.unit = over.unit;
    GET DIAGNOSTICS expired = ROW_COUNT;
    IF expired > 0 THEN
        PERFORM gan_wake($1);
    END IF;
    RETURN expired;
END
$$;

-- Opens a substitute for every unit that stays locked past its lease (somebody hoards it in an open transaction).
CREATE FUNCTION gan_replace_hoarded(run int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    replaced int;
    right_now timestamptz := clock_timestamp();
BEGIN
    -- Whoever hoarded let go: the unit that was replaced is of no use any more.
    DELETE FROM gan_work_unit WHERE unit IN (
        SELECT u.unit FROM gan_work_unit later JOIN gan_work_unit u ON u.unit = later.replaces
        WHERE later.run = $1 AND later.replaces IS NOT NULL FOR UPDATE OF u SKIP LOCKED);
    WITH overdue AS MATERIALIZED (
        SELECT u.unit FROM gan_work_unit u JOIN gan_run r ON r.run = u.run AND r.iteration = u.iteration
        WHERE u.run = $1 AND u.state <> 'done'
            AND greatest(u.opened_at, u.lease_until, r.iteration_started_at) + make_interval(secs => r.lease_seconds) < right_now
            AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit)),
    free AS MATERIALIZED (
        SELECT u.unit FROM gan_work_unit u WHERE u.unit IN (SELECT unit FROM overdue) FOR UPDATE SKIP LOCKED)
    INSERT INTO gan_work_unit (run, iteration, first_position, images, replaces)
        SELECT u.run, u.iteration, u.first_position, u.images, u.unit FROM gan_work_unit u
        WHERE u.unit IN (SELECT unit FROM overdue EXCEPT SELECT unit FROM free);
    GET DIAGNOSTICS replaced = ROW_COUNT;
    IF replaced > 0 THEN
        PERFORM gan_wake($1);
    END IF;
    RETURN replaced;
END
$$;
