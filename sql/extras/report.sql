-- -------------------------------------------------------------------------------------------------
-- What happened in one iteration
-- -------------------------------------------------------------------------------------------------

-- A row for each unit of an iteration (without a number, of the last one that ended): who computed
-- it, how long it took, and what did not go smoothly. Units are kept for a hundred iterations. By
-- nickname only.
CREATE FUNCTION gan_iteration_report(iteration int DEFAULT NULL, run int DEFAULT NULL)
    RETURNS TABLE (unit bigint, first_position bigint, images int, nickname text, outcome text,
        claims int, seconds float8, loss_d float8, loss_g float8, notes text)
    LANGUAGE plpgsql STABLE
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r gan_run;
    wanted int;
BEGIN
    SELECT * INTO r FROM gan_run g WHERE g.run = gan_the_run($2);
    wanted := coalesce($1, greatest(r.iteration - 1, 0));
    RETURN QUERY
        SELECT u.unit, u.first_position::bigint, u.images::int, n.nickname,
               CASE
                   WHEN u.state = 'pending' THEN 'waiting'
                   WHEN u.state = 'claimed' THEN 'in progress'
                   WHEN u.state <> 'done' THEN u.state
                    WHEN u.scale = 0 THEN 'left out'
                    WHEN u.iteration < r.iteration THEN 'averaged' ELSE 'submitted' END,
               u.attempts::int,
                   extract(epoch FROM coalesce(u.submitted_at,
                       CASE u.state
                           WHEN 'claimed' THEN statement_timestamp() END) - u.claimed_at)::float8,
               u.loss_d::float8, u.loss_g::float8,
               nullif(concat_ws(', ',
                   CASE WHEN u.attempts > 1 THEN format('given out %s times', u.attempts) END,
                                CASE WHEN u.scale < 1
                                    AND u.scale > 0 THEN format('clipped to %s %%',
                                        round((100 * u.scale)::numeric, 1))
                                        WHEN u.scale = 0 THEN 'by the aggregator' END,
                                CASE
                                    WHEN u.replaces IS NOT NULL
                                        THEN format('in place of unit %s, which stayed locked',
                                        u.replaces) END,
                                CASE
                                    WHEN u.backs_up IS NOT NULL
                                        THEN format('a copy of unit %s, whose holder was late',
                                        u.backs_up) END,
                                (SELECT string_agg(format('%s: %s',
                                    CASE f.why
                                        WHEN 'lease_over' THEN 'lease ended'
                                        ELSE 'refused (' || f.why || ')' END,
                                                          coalesce(m.nickname, 'somebody')), ', '
                                                              ORDER BY f.failed_at)
                                 FROM gan_failure f
                                     LEFT JOIN gan_nickname m ON m.login = f.login
                                     WHERE f.run = u.run
                                         AND f.first_position = u.first_position)), '')
        FROM gan_work_unit u
            LEFT JOIN gan_worker w ON w.worker = u.worker
            LEFT JOIN gan_nickname n ON n.login = w.login
        WHERE u.run = r.run AND u.iteration = wanted
            -- a copy of a unit in progress would tell its holder that it is checked
            AND (u.iteration < r.iteration OR NOT r.checks_on)
        ORDER BY u.first_position, u.unit;
END
$$;

COMMENT ON FUNCTION gan_iteration_report(int, int)
    IS 'An iteration''s units: who computed them, how long, what was given out again, clipped or '
        'refused';
