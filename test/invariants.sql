-- Invariants that hold at any moment, whatever happened before. The query returns a row (invariant,
-- detail) for each violation, so normally none.
--
--   psql -X -A -t -q -f test/invariants.sql DATABASE
--
-- It leaves no trace. The runs' rows are locked, so that no step comes in between (a step's
-- TRUNCATE and rewritten pages are not seen by older snapshots); uploads lost in a crash of the
-- server are first given out again, as the next tick would do.
\set QUIET 1
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;
SET standard_conforming_strings = on; -- whatever the database has
SET statement_timeout = 0;
SET lock_timeout = 0;
BEGIN;
SELECT FROM gan_run ORDER BY run FOR UPDATE \g /dev/null
SELECT gan_reopen_vanished(run, false) FROM gan_run
    WHERE state IN ('running', 'paused') \g /dev/null

WITH
-- The units that count: those that were not replaced.
live AS MATERIALIZED (SELECT u.* FROM gan_work_unit u
    WHERE NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit)),
used AS MATERIALIZED (SELECT run, count(*) AS steps, min(iteration) AS first,
    max(iteration) AS last, sum(units) AS units, sum(images) AS images, range_agg(positions) AS
    positions FROM gan_history GROUP BY run),
spans AS MATERIALIZED (SELECT h.run, lower(s) AS low, upper(s) AS high FROM gan_history h CROSS
    JOIN LATERAL unnest(h.positions) AS s),
-- The bytes of each blob, by the iterations that are there.
blobs AS MATERIALIZED (SELECT p.run, p.iteration, p.part, p.shard, count(*) AS pieces,
    max(p.piece) + 1 AS last, sum(length(p.data)) AS bytes FROM gan_state_piece p
    GROUP BY 1, 2, 3, 4),
uploads AS MATERIALIZED (SELECT g.run, g.iteration, g.unit, g.shard, count(*) AS pieces,
    max(g.piece) + 1 AS last FROM gan_gradient_piece g GROUP BY 1, 2, 3, 4),
generators AS MATERIALIZED (SELECT r.run,
    ceil((16 * r.channels * r.generator_features + sum(r.generator_features * 2 ^ (n - 1 - i) *
    (2 + 16 * CASE i WHEN 0 THEN r.latent ELSE r.generator_features * 2 ^ (n - i) END)))
                                                / 262144)::int AS shards
                                -- docs/format.md, section 4
                                FROM gan_run r CROSS
                                    JOIN LATERAL (SELECT log(2, r.image_size / 4)::int) AS layers
                                    (n) CROSS JOIN LATERAL generate_series(0, n - 1) AS i
                                    GROUP BY r.run),
parts AS MATERIALIZED (SELECT r.run, r.iteration, CASE v.part WHEN 5 THEN g.shards
    ELSE r.shards END AS shards, v.part FROM gan_run r JOIN generators g USING (run)
                           CROSS JOIN LATERAL (VALUES (0, true), (1, r.outer_optimizer IS DISTINCT
                               FROM 'average'), (2, r.outer_optimizer IS NULL
                               OR r.outer_optimizer = 'adam'), (3, r.download_element <> 'float32'),
                           (4, r.download_element <> 'float32'
                               AND r.iteration > coalesce((SELECT max(h.iteration) + 1
                               FROM gan_history h WHERE h.run = r.run AND h.taken_in IS NOT NULL),
                               r.first_iteration)), (5, r.average_decay > 0)) AS v (part, kept)
                               WHERE v.kept),
partitions AS MATERIALIZED (SELECT c.relname::text AS name, c.relkind::text AS kind,
    c.relpersistence::text AS persistence, (regexp_match(c.relname, '_r(\d+)'))[1]::int AS run,
                           (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid
                               AND i.indisprimary AND i.indisvalid) AS keys
                       FROM pg_class c WHERE c.relname ~ '^gan_(state|gradient)_piece_r\d+(_[01])?$'
                           AND c.relkind IN ('r', 'p'))

SELECT 'I1 a position is averaged once' AS invariant,
    format('run %s: %s images were averaged of %s different positions', u.run, u.images,
    (SELECT sum(upper(s) - lower(s)) FROM unnest(u.positions) s)) AS detail
    FROM used u WHERE u.images <> (SELECT sum(high - low) FROM spans WHERE spans.run = u.run)
        OR u.images <> (SELECT sum(upper(s) - lower(s)) FROM unnest(u.positions) s)
UNION ALL
SELECT 'I1 units share positions only as copies, of which one is done',
    format('run %s: units %s and %s', a.run, a.before, a.unit)
    FROM (SELECT run, unit, first_position, images, state, lag(unit) OVER w AS before,
        lag(first_position) OVER w AS since, lag(first_position + images) OVER w AS until,
        lag(state) OVER w AS other
          FROM live WINDOW w AS (PARTITION BY run ORDER BY first_position, state = 'done', unit)) AS
              a
    WHERE a.first_position < a.until AND ((a.first_position, a.first_position + a.images) <>
        (a.since, a.until) OR (a.state, a.other) = ('done', 'done'))
UNION ALL
SELECT 'I1 the history is of the units that were done',
    format('run %s, iteration %s: %s units of %s images in the history, %s of %s are held', h.run,
    h.iteration, h.units, h.images, d.units, d.images)
    FROM gan_history h CROSS JOIN LATERAL (SELECT count(*) AS units, coalesce(sum(l.images), 0) AS
        images FROM live l WHERE l.run = h.run AND l.iteration = h.iteration AND l.state = 'done'
        AND l.weights_nonce = h.weights_nonce) AS d
    WHERE h.taken_in IS NULL AND h.iteration >= (SELECT r.iteration FROM gan_run r
        WHERE r.run = h.run) - 100 AND (h.units, h.images) <> (d.units, d.images)
UNION ALL
SELECT 'I2 the state of the iteration is there, all of it',
    format('run %s, iteration %s, part %s: %s shards of %s', p.run, p.iteration, p.part,
    count(b.shard), p.shards + (p.part = 0)::int)
    FROM parts p LEFT JOIN blobs b ON b.run = p.run AND b.iteration = p.iteration
        AND b.part = p.part AND b.pieces = b.last
    GROUP BY p.run, p.iteration, p.part, p.shards
        HAVING count(b.shard) <> p.shards + (p.part = 0)::int
UNION ALL
SELECT 'I2 no state of other iterations', format('run %s at iteration %s: part %s, shard %s of '
    'iteration %s', r.run, r.iteration, b.part, b.shard, b.iteration)
    FROM blobs b JOIN gan_run r USING (run) WHERE b.iteration NOT IN (r.iteration, r.iteration - 1)
        OR NOT EXISTS (SELECT FROM parts p WHERE p.run = b.run AND p.part = b.part)
UNION ALL
SELECT 'I2 no uploads of other iterations', format('run %s at iteration %s: unit %s, shard %s of '
    'iteration %s', r.run, r.iteration, g.unit, g.shard, g.iteration)
    FROM uploads g JOIN gan_run r USING (run)
        WHERE g.iteration NOT IN (r.iteration, r.iteration - 1) OR g.pieces <> g.last
UNION ALL
SELECT 'I3 steps without gap or repeat', format('run %s at iteration %s: %s steps, from %s to %s',
    r.run, r.iteration, coalesce(u.steps, 0), u.first, u.last)
    FROM gan_run r LEFT JOIN used u USING (run)
        WHERE (r.iteration - r.first_iteration, r.first_iteration, r.iteration - 1) IS DISTINCT
        FROM (coalesce(u.steps, 0)::int, coalesce(u.first, r.first_iteration),
        coalesce(u.last, r.first_iteration - 1))
UNION ALL
SELECT 'I4 what was accepted is there', format('run %s, unit %s: %s shards are missing', l.run,
    l.unit, (gan_uploaded(l.unit, l.token)).missing)
    FROM live l JOIN gan_run r ON r.run = l.run AND r.iteration = l.iteration WHERE l.state = 'done'
        AND r.state IN ('running', 'paused') AND (gan_uploaded(l.unit, l.token)).missing > 0
UNION ALL
SELECT 'I5 a unit belongs to a worker', format('unit %s: there is no worker %s', u.unit, u.worker)
    FROM gan_work_unit u
    WHERE u.worker IS NOT NULL
        AND NOT EXISTS (SELECT FROM gan_worker w WHERE w.worker = u.worker)
UNION ALL
SELECT 'I5 a token is of one claim', format('token %s: units %s', token, array_agg(unit))
    FROM gan_work_unit WHERE token IS NOT NULL GROUP BY token HAVING count(*) > 1
UNION ALL
SELECT 'I5 units in progress are at the present weights',
    format('run %s, unit %s: weights %s, not %s', l.run, l.unit, l.weights_nonce, r.weights_nonce)
    FROM live l JOIN gan_run r ON r.run = l.run AND r.iteration = l.iteration
        WHERE l.state IN ('claimed', 'done') AND l.weights_nonce <> r.weights_nonce
UNION ALL
SELECT 'I5 a version of the weights has one nonce', format('run %s at iteration %s', r.run,
    r.iteration)
    FROM gan_run r LEFT JOIN gan_history a ON a.run = r.run AND a.iteration = r.iteration - 1 LEFT
        JOIN gan_history b ON b.run = r.run AND b.iteration = r.iteration - 2
    WHERE (r.weights_nonce_1, r.weights_nonce_2) IS DISTINCT FROM (a.weights_nonce, b.weights_nonce)
        OR EXISTS (SELECT FROM gan_history h WHERE h.run = r.run
        AND h.weights_nonce = r.weights_nonce)
        OR (SELECT count(*) <> count(DISTINCT weights_nonce) FROM gan_history h WHERE h.run = r.run)
UNION ALL
SELECT 'I7 an iteration can reach its quorum',
    format('run %s, iteration %s: %s units, the quorum is %s', r.run, r.iteration,
    (SELECT count(DISTINCT first_position) FROM live l WHERE l.run = r.run
    AND l.iteration = r.iteration), r.quorum)
    -- a spot check may have left one of its units to the next iteration
    FROM gan_run r WHERE r.state = 'running' AND (SELECT count(DISTINCT first_position) FROM live l
        WHERE l.run = r.run AND l.iteration = r.iteration)
        + (SELECT count(*) FROM gan_audit a WHERE a.run = r.run AND a.iteration = r.iteration) <
            r.quorum
UNION ALL
SELECT 'I7 no unit is left behind', format('run %s at iteration %s: unit %s of iteration %s is %s',
    r.run, r.iteration, l.unit, l.iteration, l.state)
    FROM live l JOIN gan_run r USING (run) WHERE l.iteration > r.iteration + 1
        OR (l.iteration = r.iteration + 1
        AND (l.state <> 'pending' OR NOT EXISTS (SELECT FROM gan_audit a WHERE a.run = r.run
        AND a.iteration = r.iteration)))
        OR (l.iteration < r.iteration AND l.state NOT IN ('done', 'beaten', 'aside', 'checked'))
UNION ALL
SELECT 'I8 the last step is replayed to the bit', format('run %s: %s', r.run, v.message)
    FROM gan_run r CROSS JOIN LATERAL gan_verify(r.iteration - 1, r.run) AS v
        WHERE r.iteration > r.first_iteration AND v.answer NOT IN ('verified', 'not kept any more')
UNION ALL
SELECT 'I11 weights and moments are whole and finite', format('run %s: %s', r.run, i.problem)
    FROM gan_run r CROSS JOIN LATERAL (SELECT gan_inspect(r.run) AS problem OFFSET 0) AS i
        WHERE i.problem IS NOT NULL
UNION ALL
SELECT 'ledger: every position given out is averaged or belongs to a unit',
    format('run %s: %s of %s', r.run, r.next_position - r.first_position -
    (SELECT sum(upper(s) - lower(s)) FROM unnest(p.positions) s),
    r.next_position - r.first_position)
    FROM gan_run r CROSS JOIN LATERAL (SELECT range_agg(span) AS positions
        FROM (SELECT int8range(low, high) AS span FROM spans WHERE spans.run = r.run
        UNION ALL SELECT int8range(first_position, first_position + images) FROM live l
            WHERE l.run = r.run AND (l.iteration >= r.iteration OR l.state = 'aside')) AS taken) AS
            p
    WHERE r.state <> 'finished' AND NOT EXISTS (SELECT FROM gan_history h WHERE h.run = r.run
        AND h.taken_in IS NOT NULL) AND coalesce(p.positions, '{}') <>
        int8multirange(int8range(r.first_position, r.next_position))
UNION ALL
SELECT 'credit is what was averaged', format('run %s: %s units, %s images are credited, %s and %s '
    'were averaged', r.run, c.units, c.images, coalesce(u.units, 0), coalesce(u.images, 0))
    -- what a rollback has taken back is credited, what a fork has from another run is not
    FROM gan_run r LEFT JOIN (SELECT run, sum(units) AS units, sum(images) AS images
        FROM (SELECT run, units, images FROM gan_history WHERE taken_in IS NULL
        UNION ALL SELECT run, units, images FROM gan_abandoned WHERE taken_in IS NULL) AS taken
            GROUP BY run) AS u USING (run) CROSS
            JOIN LATERAL (SELECT coalesce(sum(w.units), 0) AS units, coalesce(sum(w.images), 0) AS
            images FROM gan_worker w WHERE w.run = r.run) AS c
    WHERE (c.units, c.images) <> (coalesce(u.units, 0), coalesce(u.images, 0))
UNION ALL
SELECT 'spot checks: a copy is of the same images, and never averaged',
    format('run %s, unit %s checks unit %s: %s', l.run, l.unit, l.audits, l.state)
    FROM live l JOIN gan_work_unit o ON o.unit = l.audits AND o.iteration = l.iteration
    WHERE l.state IN ('done', 'aside') OR (l.first_position, l.images) <> (o.first_position,
        o.images) OR NOT EXISTS (SELECT FROM gan_audit a WHERE a.unit = l.audits
        AND a.iteration = l.iteration)
UNION ALL
SELECT 'spot checks: what is over is decided', format('run %s: unit %s of iteration %s', a.run,
    a.unit, a.iteration)
    FROM gan_audit a JOIN gan_run r USING (run) WHERE a.iteration < r.iteration
        AND a.verdict IS NULL
UNION ALL
SELECT 'partitions: each run has its six', format('run %s: %s', r.run, (SELECT array_agg(name)
    FROM partitions p WHERE p.run = r.run))
    FROM gan_run r WHERE (SELECT count(*) FILTER (WHERE kind = 'p') <> 2
        OR count(*) FILTER (WHERE kind = 'r' AND keys = 1 AND persistence = CASE
        WHEN name ~ 'gradient' THEN 'u' ELSE 'p' END) <> 4
                          FROM partitions p WHERE p.run = r.run)
UNION ALL
SELECT 'partitions: none without a run', p.name FROM partitions p
    WHERE NOT EXISTS (SELECT FROM gan_run r WHERE r.run = p.run)
ORDER BY 1, 2;
ROLLBACK;
