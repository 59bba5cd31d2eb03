-- -------------------------------------------------------------------------------------------------
-- gan_doctor's checks of runs: what waits for the instructor
-- -------------------------------------------------------------------------------------------------

CREATE FUNCTION gan_doctor_runs() RETURNS TABLE (item text, state text, finding text, remedy text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT format('run "%s"', r.name), 'fix', 'it has paused itself: ' || r.paused_because,
        format('SELECT gan_start(%s); -- after you have removed the cause', r.run)
    FROM gan_run r WHERE r.state = 'paused' AND r.paused_because IS NOT NULL
    UNION ALL
    SELECT format('dataset of run "%s"', r.name), 'fix',
        CASE a.n
            WHEN 0 THEN 'not known, and no worker has announced one'
            WHEN 1 THEN format('not confirmed; %s students have announced the same one', a.logins)
               ELSE format('not confirmed; %s different ones were announced', a.n) END,
           CASE
               WHEN a.n > 1
                   THEN format('-- choose one: SELECT gan_set_dataset(%s, images, digest); SELECT '
                       '* FROM gan_announced_dataset lists them',
                   r.run)
                ELSE format('SELECT gan_set_dataset(%s);%s', r.run,
                    CASE a.n WHEN 0 THEN ' -- once a worker has joined' ELSE '' END) END
    FROM gan_run r
        CROSS
            JOIN LATERAL (SELECT count(*) AS n, sum(d.logins) AS logins
                FROM gan_announced_dataset d
                WHERE d.run = r.run) AS a
    WHERE r.state = 'running' AND r.dataset_digest IS NULL
    UNION ALL
    SELECT format('reference of run "%s"', r.name), 'warn',
        format('%s summaries of the real images differ from that of %s, %s', f.others,
            f.kept,
            CASE WHEN f.votes > 1 THEN 'with which others agree' ELSE 'and no other agrees' END),
           format('SELECT gan_set_reference(''%s'', %s); -- or another login of '
               'gan_reference_check',
               f.kept, r.run)
    FROM gan_run r
        CROSS
            JOIN LATERAL (SELECT count(*) FILTER (WHERE NOT c.agrees) AS others,
                count(*) FILTER (WHERE c.agrees) AS votes,
                max(c.login::text) FILTER (WHERE c.kept) AS kept, bool_or(c.confirmed) AS confirmed
                                       FROM gan_reference_check c WHERE c.run = r.run) AS f
    WHERE r.state IN ('running', 'paused') AND f.others > 0 AND NOT f.confirmed
    UNION ALL
    SELECT format('trouble in run "%s"', r.name), 'warn', format('%s; the last: %s', i.n, i.latest),
        format('SELECT * FROM gan_incident WHERE run = %s ORDER BY incident DESC;', r.run)
    FROM gan_run r
        CROSS
            JOIN LATERAL (SELECT count(*) AS n,
                (array_agg(i.what ORDER BY i.incident DESC))[1] AS latest
                FROM gan_incident i
                                       WHERE i.run = r.run
                                           AND i.noted_at > clock_timestamp() - interval '1 hour')
                                               AS i
    WHERE r.state IN ('running', 'paused') AND i.n > 0
    UNION ALL
    SELECT format('rule of run "%s"', r.name), 'warn',
        format('%s failed in the last step, so %s was used: %s', r.aggregator, h.aggregator,
            h.rule_failure),
        format('SELECT iteration, rule_failure FROM gan_history WHERE run = %s '
            'AND rule_failure IS NOT NULL ORDER BY iteration DESC;', r.run)
    FROM gan_run r
    JOIN gan_history h ON h.run = r.run AND h.iteration = r.iteration - 1
    WHERE r.state IN ('running', 'paused') AND h.rule_failure IS NOT NULL
$$;
