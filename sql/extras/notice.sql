-- -------------------------------------------------------------------------------------------------
-- What a run has to tell those who look at it, beside its state: why it waits, say
-- -------------------------------------------------------------------------------------------------

-- A sentence or two, shown as they are; NULL: there is nothing to tell. (What a run that paused
-- itself asks of the instructor is left out: the class reads this.)
CREATE FUNCTION gan_notice(run int) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE
        WHEN r.state = 'paused' AND r.paused_because IS NOT NULL
            THEN 'The run has paused itself: '
                || regexp_replace(r.paused_because, E'([.]) .*$', E'\\1')
        WHEN r.state = 'running' AND r.dataset_digest IS NULL
            THEN 'The instructor has to confirm which images the class uses.'
        END
    FROM gan_run r WHERE r.run = $1
$$;

COMMENT ON FUNCTION gan_notice(int)
    IS 'Dashboard: what a run has to tell, such as why it paused itself; NULL if nothing';
