-- -------------------------------------------------------------------------------------------------
-- How many units an iteration has, if their number follows the workers
-- -------------------------------------------------------------------------------------------------

-- One unit for each active worker, between 2 and 32. Workers without an averaged unit count as one
-- per login: it is quicker to start thirty workers than to compute one unit. Suspended accounts get
-- no work and are not counted.
CREATE FUNCTION gan_units_wanted(run int) RETURNS int
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT greatest(b.low, least(b.high, (
        SELECT count(DISTINCT CASE
            WHEN w.units > 0 THEN w.worker::text
            ELSE 'login ' || w.login END)
            FROM gan_workers_about($1) AS w
        WHERE NOT EXISTS (SELECT
            FROM gan_trust t
            WHERE t.run = $1 AND t.login = w.login AND t.suspended))))::int
    FROM gan_unit_range() AS b
$$;

-- Decides how many units the current iteration has, and how many of them must be done. Both numbers
-- are fixed at the first claim; workers that come later are counted in the next iteration. The
-- caller has the run locked.
CREATE FUNCTION gan_follow_workers(run int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    wanted int;
BEGIN
    SELECT * INTO STRICT r FROM gan_run WHERE run = $1;
    IF NOT r.units_follow OR EXISTS (
            SELECT
                FROM gan_unit u
                WHERE u.run = r.run
                    AND u.iteration = r.iteration
                    AND u.state IN ('claimed', 'done')
                    AND NOT u.is_check) THEN
        RETURN;
    END IF;
    wanted := gan_units_wanted(r.run);
    UPDATE gan_run
        SET units_per_iteration = wanted, quorum = gan_share_of(r.quorum_share, wanted)
        WHERE run = r.run AND units_per_iteration <> wanted;
END
$$;
