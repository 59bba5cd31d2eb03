-- ---------------------------------------------------------------------------------------------------------------------
-- What a run has to tell those who look at it, beside its state: why it waits, say
-- ---------------------------------------------------------------------------------------------------------------------

-- A sentence or two, shown as they are; NULL: there is nothing to tell.
CREATE FUNCTION gan_notice(run int) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$ SELECT NULL::text $$;

COMMENT ON FUNCTION gan_notice(int) IS 'Dashboard: what a run has to tell, such as why it paused itself; NULL if nothing';
