-- -------------------------------------------------------------------------------------------------
-- What an account may do in a run: accepted work allows it more
-- -------------------------------------------------------------------------------------------------

-- Units of a login that were averaged in a run or, if none was averaged yet, that are accepted for
-- its next step. The instructor's trust counts as a hundred units.
CREATE FUNCTION gan_accepted(run int, login name) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    accepted bigint;
BEGIN
    SELECT coalesce(sum(w.units), 0)
        INTO accepted
        FROM gan_worker w
        WHERE w.run = $1 AND w.login = $2;
    IF accepted = 0 THEN
        SELECT count(*)
            INTO accepted
            FROM gan_run r
            JOIN gan_work_unit u ON u.run = r.run
                AND u.iteration = r.iteration
                AND u.state IN ('done', 'checked')
            JOIN gan_worker w ON w.worker = u.worker AND w.login = $2 WHERE r.run = $1;
    END IF;
    RETURN accepted + CASE
        WHEN EXISTS (SELECT
            FROM gan_trust t
            WHERE t.run = $1 AND t.login = $2 AND t.trusted) THEN 100
        ELSE 0 END;
END
$$;

-- How many units a login may hold at a time: one until its first unit is accepted, then four, and
-- two more for each further accepted unit. The number is halved for each refused result and each
-- lease that ended since its last accepted unit.
CREATE FUNCTION gan_allowance(run int, login name) RETURNS int
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    accepted bigint := gan_accepted($1, $2);
    failures bigint;
BEGIN
    IF accepted = 0 THEN
        RETURN 1;
    END IF;
    SELECT sum(w.refusals + w.lapses)
        INTO failures
        FROM gan_worker w
        WHERE w.run = $1 AND w.login = $2;
    RETURN greatest(1, (2 + 2 * least(accepted, 1000000)) >> least(failures, 30)::int);
END
$$;

-- How long a login must wait after this many refused results in a row: not at all after the first,
-- then 1 s, 2 s, 4 s ... a minute. If no other account is active, 1 s is enough: then only the
-- server needs protection.
CREATE FUNCTION gan_rest_seconds(refusals bigint, alone boolean) RETURNS float8
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN $1 < 2 THEN 0
        ELSE least(CASE WHEN $2 THEN 1 ELSE 60 END, 2.0::float8 ^ least($1 - 2, 10)) END
$$;

-- Makes claims of a login run one after the other, until the end of the transaction. Neither
-- students nor the step can take this lock; the step must not, because it waits for workers whose
-- claims wait here.
CREATE FUNCTION gan_lock_login(run int, login name) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Says why a worker gets no unit now although some may be free, and when to ask again; NULL if it
-- may have one. If a login may hold fewer units than it has workers, its claims run one after the
-- other.
CREATE FUNCTION gan_hold_back(run int, login name, OUT message text, OUT retry_seconds float8)
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    mine record;
    allowed int;
BEGIN
    SELECT count(*) AS workers, sum(w.units) AS units, sum(w.refusals) AS refusals,
        sum(w.lapses) AS lapses, max(w.refused_at) AS refused_at
        INTO mine FROM gan_worker w WHERE w.run = $1 AND w.login = $2;
    IF mine.refusals > 1 THEN
        retry_seconds := gan_rest_seconds(mine.refusals,
            NOT EXISTS (SELECT FROM gan_workers_about($1) AS o WHERE o.login <> $2))
            - extract(epoch FROM statement_timestamp() - mine.refused_at);
        IF retry_seconds > 0 AND retry_seconds <= 60 THEN -- else the clock was set back
            message := format('the last %s results of "%s" were refused: it may claim again in '
                '%s s',
                mine.refusals, $2, ceil(retry_seconds));
            RETURN;
        END IF;
    END IF;
    retry_seconds := NULL;
    IF mine.units >= mine.workers AND mine.refusals + mine.lapses = 0 THEN
        RETURN; -- it may hold a unit with each worker, and a worker holds only one
    END IF;
    PERFORM gan_lock_login($1, $2);
    allowed := gan_allowance($1, $2);
    IF (SELECT count(*)
        FROM gan_worker w
        JOIN gan_work_unit u ON u.worker = w.worker AND u.state = 'claimed'
        WHERE w.run = $1 AND w.login = $2) >= allowed THEN
        message := CASE
            WHEN gan_accepted($1,
                $2) = 0
                    THEN format('the first unit of "%s" is in progress: all its workers get units '
                        'once it is accepted',
                $2)
                        ELSE format('"%s" holds %s units and may hold no more for now', $2,
                            allowed) END;
        retry_seconds := 1;
    END IF;
END
$$;

COMMENT ON FUNCTION gan_allowance(int, name)
    IS 'How many units a login may hold at a time: accepted work raises the number';
