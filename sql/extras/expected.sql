-- -------------------------------------------------------------------------------------------------
-- What comes next: when the next sheet is drawn and quality is measured again
-- -------------------------------------------------------------------------------------------------

-- When something is due next. It is due every "every" iterations and every "seconds" seconds (0:
-- not by these); it was last done for iteration "last", at last_at; and an iteration takes pace
-- seconds. Returns the iteration after which it is due, if that is known, and the seconds until
-- then.
CREATE FUNCTION gan_next_due(iteration int, every int, seconds int, last int, last_at timestamptz,
    pace float8, OUT after int, OUT wait float8)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN $2 > 0 AND (by_time IS NULL OR by_count < by_time) THEN next END,
        round(least(by_time, by_count))
    FROM (SELECT (coalesce($4, -1) / nullif($2, 0) + 1) * $2 AS next,
                 CASE
                     WHEN $3 > 0 THEN greatest(0,
                         $3 - extract(epoch FROM statement_timestamp() - $5)) END::float8 AS
                             by_time) AS n
    CROSS JOIN LATERAL (SELECT (n.next - $1) * $6 AS by_count) AS c
$$;

-- Quality: 'off' (it is not measured), 'never' (it was not measured before the run ended),
-- 'summary' (no worker has sent a summary of the real images yet) or 'due', with the iteration
-- after which it is due and the seconds until then, if they are known.
CREATE FUNCTION gan_quality_expected(r gan_run, pace float8) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    seconds int := coalesce((to_jsonb(r) ->> 'quality_seconds')::int, 0);
    last gan_swd;
    due record;
BEGIN
    IF r.quality_every = 0 AND seconds = 0 THEN
        RETURN jsonb_build_object('state', 'off');
    ELSIF r.state IN ('finished', 'stopped') THEN
        RETURN jsonb_build_object('state', 'never');
    ELSIF NOT EXISTS (SELECT FROM gan_reference f WHERE f.run = r.run AND f.data IS NOT NULL) THEN
        RETURN jsonb_build_object('state', 'summary');
    END IF;
    SELECT * INTO last FROM gan_swd s WHERE s.run = r.run ORDER BY s.iteration DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('state', 'due'); -- at once
    END IF;
    SELECT *
        INTO due
        FROM gan_next_due(r.iteration, r.quality_every, seconds, last.iteration, last.made_at,
            pace);
    RETURN jsonb_build_object('state', 'due', 'after', due.after, 'seconds', due.wait);
END
$$;
