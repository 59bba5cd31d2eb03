# The step as a page of SQL over the public views, beside the one that the server takes: the same
# bits for every parameter, three times.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannUnits;

my $class = GannClass->new;
my $units = GannUnits->new(
    $class,
    latent => 4,
    generator_features => 2,
    discriminator_features => 2,
    aggregator => "'mean'",
    average_decay => 0,
    update_limit => "'Infinity'",
    learning_rate_schedule => "'linear'",
    warmup_iterations => 2,
    target_iterations => 10
);

$class->psql(<<'SQL');
-- The numbers of a blob: float32, little-endian, behind a header of 24 bytes.
CREATE FUNCTION numbers(blob bytea) RETURNS TABLE (j int, x float4) LANGUAGE sql IMMUTABLE AS $$
    SELECT i, ((CASE WHEN bits >> 31 = 1 THEN -1 ELSE 1 END) * power(2.0::float8, greatest(exponent, 1) - 150)
               * (CASE WHEN exponent > 0 THEN 8388608 ELSE 0 END + (bits & 8388607)))::float4
    FROM generate_series(0, (length(blob) - 24) / 4 - 1) AS i
    CROSS JOIN LATERAL (SELECT get_byte(blob, 24 + 4 * i) | (get_byte(blob, 25 + 4 * i) << 8)
                               | (get_byte(blob, 26 + 4 * i) << 16) | (get_byte(blob, 27 + 4 * i)::bigint << 24) AS bits) AS b
    CROSS JOIN LATERAL (SELECT (bits >> 23 & 255)::int AS exponent) AS e
$$;

-- The step: the mean of the gradients, weighted by their images; Adam's moments; the weights.
CREATE FUNCTION step(run int) RETURNS TABLE (shard int, j int, weight float4, first float4, second float4) LANGUAGE sql AS $$
    WITH r AS (SELECT *, least(1, (iteration + 1) / warmup_iterations::float8) * generator_learning_rate AS rate, iteration + 1 AS t FROM gan_run g WHERE g.run = $1),
    f AS (SELECT beta1::float4, beta2::float4, (1 - beta1)::float4 AS rest1, (1 - beta2)::float4 AS rest2, epsilon::float4,
                 (rate / (1 - power(beta1, t)))::float4 AS rate, sqrt(1 - power(beta2, t))::float4 AS root FROM r),
    mean AS (SELECT q.shard, n.j, sum(u.images / total.images * n.x ORDER BY u.first_position)::float4 AS g
             FROM r JOIN gan_gradient q USING (run, iteration) JOIN gan_work_unit u USING (unit), numbers(q.data) AS n,
                  (SELECT sum(w.images)::float8 AS images FROM gan_work_unit w JOIN r USING (run, iteration) WHERE w.state = 'done') AS total
             WHERE q.shard < r.shards AND u.state = 'done' GROUP BY q.shard, n.j),
    old AS (SELECT w.shard, x.j, x.x AS w, m.x AS m, v.x AS v FROM r JOIN gan_weights w USING (run, iteration) JOIN gan_moments o USING (run, iteration, shard),
                   numbers(w.data) AS x JOIN numbers(o.first) AS m USING (j) JOIN numbers(o.second) AS v USING (j)),
    moved AS (SELECT shard, j, w, beta1 * m + rest1 * g AS m, beta2 * v + rest2 * g * g AS v FROM old JOIN mean USING (shard, j), f)
    SELECT shard, j, w - f.rate * m / (sqrt(v)::float4 / root + epsilon), m, v FROM moved, f
$$;

-- What the server has made of it.
CREATE VIEW taken AS SELECT w.run, w.shard, x.j, x.x AS weight, m.x AS first, v.x AS second
    FROM gan_run r JOIN gan_weights w USING (run, iteration) JOIN gan_moments o USING (run, iteration, shard),
         numbers(w.data) AS x JOIN numbers(o.first) AS m USING (j) JOIN numbers(o.second) AS v USING (j);
SQL

my $parameters = $class->psql("SELECT parameters FROM gan_run WHERE run = $units->{run}");
for my $i (0 .. 2) {
    $units->hand_in;
    $class->psql(
        "DROP TABLE IF EXISTS by_sql; CREATE TABLE by_sql AS SELECT *
            FROM step($units->{run})"
    );
    $class->psql("SELECT gan_aggregate($i, $units->{run})");
    is $class->psql(
        "SELECT count(*), count(*) FILTER (WHERE s.weight = t.weight
            AND s.weight <> 'NaN'), count(*) FILTER (WHERE s.first = t.first
            AND s.first <> 'NaN'), count(*) FILTER (WHERE s.second = t.second
            AND s.second <> 'NaN')
        FROM by_sql s JOIN taken t USING (shard, j) WHERE t.run = $units->{run}"
        ),
        join('|', ($parameters) x 4),
        "step $i: all $parameters parameters and their moments are the same";
    cmp_ok $class->psql(
        "SELECT count(*) FROM by_sql s
            JOIN numbers((SELECT data FROM gan_weights WHERE run = $units->{run} AND iteration = $i
                AND shard = 0)) n USING (j)
            WHERE s.shard = 0
            AND s.weight <> n.x"
        ),
        '>', $parameters / 2, "step $i: and they moved";
}
done_testing;
