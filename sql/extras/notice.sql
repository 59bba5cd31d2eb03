-- -------------------------------------------------------------------------------------------------
-- A notice for everybody who looks at a run, besides its state: for example, why it waits
-- -------------------------------------------------------------------------------------------------

-- A sentence or two to be shown unchanged; NULL: there is nothing to tell. (The class reads this,
-- so it leaves out what a run that paused itself asks of the instructor.)
CREATE FUNCTION gan_notice(run int) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE
        WHEN r.state = 'paused' AND r.paused_because IS NOT NULL
            THEN 'The run has paused itself: '
                || regexp_replace(r.paused_because, E'([.]) .*$', E'\\1')
        WHEN r.state = 'running' AND r.dataset_digest IS NULL
            THEN 'The instructor must confirm which images the class uses.'
        END
    FROM gan_run r WHERE r.run = $1
$$;

COMMENT ON FUNCTION gan_notice(int)
    IS 'Dashboard: a notice about a run, such as why it paused itself; NULL if there is none';
