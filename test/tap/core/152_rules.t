# Rules: their parameters, and one that the class has written in SQL: the same bits as in C, and
# what becomes of the step if it fails.
use strict;
use warnings;
use Test::More;
use GannClass;

plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $class = GannClass->new;
my @accounts = map {"s$_"} 1 .. 4;
my @students = map { $class->student($_) } @accounts;
my $feeder = GannTest::root_folder() . '/build/test/feed_units';

# A run of a small network, in which each account does one unit of an iteration.
sub make_run {
    my ($name, %options) = @_;
    my $run = $class->create_run(
        $name,
        seed => 5,
        latent => 4,
        generator_features => 4,
        discriminator_features => 4,
        local_steps => 0,
        images_per_unit => 16,
        batch => 16,
        units_per_iteration => 4,
        lease_seconds => 600,
        target_iterations => 100,
        %options
    );
    $class->psql("SELECT gan_start($run)");
    return $run;
}

# Submits an iteration's units, the same ones in every run, from a number of accounts.
sub hand_in {
    my ($name, $iteration, $accounts) = @_;
    for my $i (0 .. $accounts - 1) {
        my ($status, $said) = $class->run(
            { timeout => 60 },
            $feeder, $students[$i], $name, 4 / $accounts,
            "f$i", 1000 * $iteration + $i
        );
        is $status, 0, "$name: units of iteration $iteration by $accounts[$i]" or diag $said;
    }
}

# Hands in and takes the step; returns its answer.
sub step {
    my ($name, $run, $accounts) = @_;
    my $iteration = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
    hand_in($name, $iteration, $accounts // 4);
    return $class->psql("SELECT gan_aggregate($iteration, $run)");
}

sub history {
    my ($run, $columns) = @_;
    return $class->psql("SELECT $columns FROM gan_history WHERE run = $run ORDER BY iteration");
}

sub refused {
    my ($statement, $pattern, $what) = @_;
    my (undef, $said) = $class->psql($statement, on_error => 'return');
    like $said, $pattern, $what;
}

# ---- the median, in SQL
my $text = do { local (@ARGV, $/) = GannTest::root_folder() . '/docs/rules.md'; <> };
my ($function) = $text =~ /^(CREATE FUNCTION my_median\(.*?^\$\$;)$/ms;
$class->psql('CREATE SCHEMA homework;' . $function =~ s/my_median/homework.my_median/r);
is $class->psql(
    'SELECT homework.my_median(ARRAY[[1, 20], [3, 10], [1000, 30]],
            ARRAY[0.3, 0.3, 0.4])'
    ),
    '{3,20}',
    'the function of docs/rules.md';
my $in_c = make_run('c', aggregator => q{'median'});
my $in_sql = make_run('sql', aggregator => q{'sql:my_median'}, rule_seconds => 60);
is $class->psql("SELECT aggregator FROM gan_run WHERE run = $in_sql"), 'sql:homework.my_median',
    'the function is stored with its schema';
for my $i (0 .. 2) {
    like step('c', $in_c), qr/^step/, "step $i in C";
    like step('sql', $in_sql), qr/64 images averaged$/, "step $i in SQL";
}
is history($in_sql, 'weights_digest, gradient_norm_g, gradient_norm_d, update_g'),
    history($in_c, 'weights_digest, gradient_norm_g, gradient_norm_d, update_g'),
    'the median in SQL has the bits of the one in C';
is history($in_sql, 'aggregator, accounts, rule_failure IS NULL'),
    join("\n", ('sql:homework.my_median|4|t') x 3), 'the history says which rule it was';
like $class->psql("SELECT message FROM gan_verify(2, $in_sql)"), qr/bit by bit/,
    'gan_verify asks it again';

# ---- shares of the images, and another rule than C has
$class->psql(<<'SQL');
CREATE FUNCTION homework.weighted(numbers float8[], share float8[]) RETURNS float8[]
    LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(s ORDER BY j)
    FROM (SELECT j, sum(numbers[a][j] * share[a] ORDER BY a) AS s
          FROM generate_subscripts(numbers, 1) AS a, generate_subscripts(numbers, 2) AS j
          GROUP BY j) AS sums
$$;
SQL
my $mean = make_run('mean', aggregator => q{'mean'});
my $weighted = make_run('weighted', aggregator => q{'sql:homework.weighted'});
step('mean', $mean);
step('weighted', $weighted);
my ($norm, $other) = map { history($_, 'gradient_norm_g') } $mean, $weighted;
cmp_ok abs($norm / $other - 1), '<', 1e-6, 'weighted by the shares: the mean';
$class->psql("SELECT gan_stop($weighted), gan_drop_run($weighted)");

# ---- a name in quotes, and a fork of such a run
$class->psql(
    'CREATE FUNCTION homework."My ""Rule"""(float8[], float8[]) RETURNS float8[]
    LANGUAGE sql IMMUTABLE AS $$ SELECT array_fill(0::float8, ARRAY[array_length($1, 2)]) $$'
);
my $quoted = make_run('quoted', aggregator => q{'sql:"My ""Rule"""'}, checkpoint_every => 1);
like step('quoted', $quoted), qr/64 images averaged$/, 'a name in quotes is found';
my $fork = $class->psql("SELECT gan_fork($quoted, 1)");
is $class->psql("SELECT aggregator FROM gan_run WHERE run = $fork"),
    'sql:homework."My ""Rule"""', 'a fork has the same rule';
refused("SELECT gan_fork($quoted, 1, '{\"aggregator\": \"sql:nowhere\"}')",
    qr/there is no function nowhere/, 'unless it is given another one, which must be there');
$class->psql("SELECT gan_stop($_), gan_drop_run($_)") for $fork, $quoted;
refused("SELECT gan_create_run('wrong', aggregator => 'sql:$_')",
    qr/there is no function|not a valid identifier/, "no name of a function: $_")
    for '', 'a.b.c', '1', 'x; DROP TABLE gan_run', 'pg_catalog.array_cat';

# ---- what can't be a rule
my %wrong = (
    'LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $2; END $$' => qr/must be LANGUAGE sql/,
    'LANGUAGE sql AS $$ SELECT $2 $$' => qr/must be IMMUTABLE/,
    'LANGUAGE sql IMMUTABLE SET jit = on AS $$ SELECT $2 $$' => qr/must be without SET/,
    'LANGUAGE sql STABLE AS $$ SELECT $2 $$' => qr/must be IMMUTABLE/,
    'LANGUAGE sql IMMUTABLE SECURITY DEFINER AS $$ SELECT $2 $$' => qr/must be SECURITY INVOKER/,
);
for my $body (sort keys %wrong) {
    $class->psql(
        "DROP FUNCTION IF EXISTS homework.wrong;
        CREATE FUNCTION homework.wrong(float8[], float8[]) RETURNS float8[] $body"
    );
    refused(q{SELECT gan_create_run('wrong', aggregator => 'sql:homework.wrong')},
        $wrong{$body}, "refused: $body");
}
$class->psql(
    'DROP FUNCTION homework.wrong; CREATE FUNCTION homework.wrong(float8[], float8[])
    RETURNS SETOF float8[] LANGUAGE sql IMMUTABLE AS $$ SELECT $2 $$'
);
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'sql:homework.wrong')},
    qr/RETURNS float8\[\]/,
    'refused: a set'
);
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'sql:nowhere')},
    qr/there is no function nowhere\(float8\[\], float8\[\]\)/,
    'refused: a function that is not there'
);
$class->psql(
    'CREATE FUNCTION my_median(float8[], float8[]) RETURNS float8[] LANGUAGE sql IMMUTABLE
            AS
    $$ SELECT $2 $$'
);
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'sql:my_median')},
    qr/more than one function.*\n.*HINT:.*sql:/s,
    'refused: a name that two functions have'
);
$class->psql('DROP FUNCTION my_median(float8[], float8[])');
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'median(share=1)')},
    qr/must be 'median'/,
    'refused: a parameter that the rule has not'
);
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'trimmed(share=0.7)')},
    qr/must be 'trimmed' or 'trimmed\(share=0.2\)', share from 0 to 0.5/,
    'refused: a parameter out of its range'
);
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'sum')},
    qr/one of 'mean', .*'sql:'/,
    'refused: a rule that nobody has'
);
refused(
    q{SELECT gan_create_run('wrong', aggregator => 'sql:homework.weighted', fallback_aggregator
            => 'sql:homework.weighted')},
    qr/fallback_aggregator is .*must be one of/, 'refused: a rule in SQL to stand in for another'
);
is $class->psql(q{SELECT string_agg(rule || coalesce(':' || parameter, ''), ' ') FROM gan_rule}),
    'mean clipped:bound trimmed:share median multikrum:attackers', 'gan_rule lists them';

# ---- a rule that fails: the one in C takes the step, and everybody can see why
my $long = q{SELECT ARRAY[(SELECT count(*) FROM generate_series(1, 100000000000))::float8]};
my %failing = (
    'SELECT ARRAY[1 / (share[1] - share[1])]' => qr/division by zero/,
    'SELECT NULL::float8[]' => qr/did not return \d+ numbers/,
    'SELECT share' => qr/did not return \d+ numbers/,
    'SELECT numbers' => qr/did not return \d+ numbers/,
    q{SELECT array_fill('NaN'::float8, ARRAY[array_length(numbers, 2)])} => qr/it returned nan/i,
    q{SELECT array_fill('Infinity'::float8, ARRAY[array_length(numbers, 2)])} =>
        qr/it returned inf/i,
    q{SELECT array_fill(-1e20::float8, ARRAY[array_length(numbers, 2)])} =>
        qr/it returned -1e\+20, the largest/,
    'SELECT array_fill(NULL::float8, ARRAY[array_length(numbers, 2)])' => qr/no null/,
    'SELECT array_fill(random(), ARRAY[array_length(numbers, 2)])' =>
        qr/uses the function random\(\)/,
    'SELECT array_fill(extract(epoch FROM now())::float8, ARRAY[array_length(numbers, 2)])' =>
        qr/uses the function/,
    q{SELECT array_fill(extract(epoch FROM 'now'::timestamp)::float8,
                ARRAY[array_length(numbers, 2)])} => qr/uses (the function|a constant)/,
    q{SELECT array_fill((ARRAY['now'::timestamp] < ARRAY['tomorrow'::timestamp])::int::float8,
                ARRAY[array_length(numbers, 2)])} => qr/a constant that is not a number/,
    'SELECT array_fill(extract(epoch FROM CURRENT_TIMESTAMP)::float8,
                ARRAY[array_length(numbers, 2)])' => qr/uses (the clock|the function)/,
    'SELECT homework.weighted(numbers, share)' => qr/permission denied for schema/,
    'SELECT public.helper(numbers, share)' => qr/uses the function public.helper/,
    'SELECT numbers::public.evil' => qr/domains/,
    q{SELECT '{1}'::public.evil} => qr/domains/,
    q{SELECT ('{"{1}"}'::public.evil[])[1]::float8[]} => qr/uses/,
    'SELECT ARRAY[pg_sleep(100)::text::float8]' => qr/uses/,
    q{SELECT ARRAY[repeat('x', 300000000)::float8]} => qr/uses/,
    q{SELECT ARRAY[(xpath('count(//*)', XMLPARSE(DOCUMENT '<a/>')))[1]::text::float8]} => qr/uses/,
    'SELECT ARRAY[(2.0 ^ share[1]::numeric)::float8]' => qr/uses the function/,
    'SELECT array_fill(1::float8, ARRAY[100000000])' => qr/out of memory/,
    'SELECT array_agg(run::float8) FROM gan_run' => qr/a table|permission denied|does not exist/,
    'SELECT array_agg(relpages::float8) FROM pg_class' => qr/a table/,
    q{WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i FROM r) SELECT array_agg(i::float8)
            FROM r} => qr/longer than 0.3 s/,
    $long => qr/longer than 0.3 s/,
);
$class->psql(
    'CREATE FUNCTION helper(float8[], float8[]) RETURNS float8[] LANGUAGE sql IMMUTABLE AS
    $$ SELECT $2 $$'
);
$class->psql(
    'CREATE FUNCTION outlast(float8[]) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN
    LOOP BEGIN LOOP NULL; END LOOP; EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
    CREATE DOMAIN evil AS float8[] CHECK (outlast(VALUE))'
);
my $fail = make_run('fail', aggregator => q{'sql:homework.weighted'}, rule_seconds => 0.3);
my $twin = make_run('twin', aggregator => q{'clipped'});
for my $body (sort keys %failing) {
    $class->psql(
        "SET check_function_bodies = off;
        CREATE OR REPLACE FUNCTION homework.weighted(numbers float8[], share float8[])
        RETURNS float8[] LANGUAGE sql IMMUTABLE AS \$\$ $body \$\$"
    );
    my $answer = step('fail', $fail, 1);
    like $answer, $failing{$body}, "it fails, and the step says so: $body";
    like $answer, qr/by "clipped"/, 'the step says what took its place';
    step('twin', $twin, 1);
}
$class->psql('DROP FUNCTION homework.weighted');
like step('fail', $fail, 1), qr/there is no function homework.weighted/,
    'it is gone, and the step says so';
step('twin', $twin, 1);
is history($fail, 'weights_digest'), history($twin, 'weights_digest'),
    'each of these steps is that of the rule in C, bit by bit';
is $class->psql(
    "SELECT count(*) FROM gan_history
        WHERE run = $fail
        AND aggregator = 'clipped'
        AND rule_failure <> ''"
    ),
    1 + keys %failing, 'and the history says why';
like $class->psql("SELECT message FROM gan_verify(NULL, $fail)"), qr/bit by bit/,
    'gan_verify knows which rule it was';
like $class->psql(q{SELECT finding FROM gan_doctor() WHERE item LIKE 'rule of run "fail"'}),
    qr/there is no function/, 'gan_doctor says it, too';
is $class->psql(q{SELECT count(*) FROM pg_roles r
        WHERE rolname = 'gan_nobody'
        AND NOT rolcanlogin
        AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)}),
    1, 'gan_nobody is nobody';

# ---- another answer than before is found; a cancelled step is a cancelled step
step('sql', $in_sql);
$class->psql(
    'CREATE OR REPLACE FUNCTION homework.my_median(numbers float8[], share float8[])
            RETURNS
    float8[] LANGUAGE sql IMMUTABLE AS $$ SELECT array_fill(0::float8,
        ARRAY[array_length(numbers, 2)]) $$'
);
is $class->psql("SELECT answer FROM gan_verify(NULL, $in_sql)"), 'differs',
    'a rule that answers otherwise when it is asked again is found';
$class->psql('ALTER FUNCTION homework.my_median SET SCHEMA public');
is $class->psql("SELECT answer FROM gan_verify(NULL, $in_sql)"), 'not repeatable',
    'a rule that is gone accuses nobody';
$class->psql('ALTER FUNCTION my_median(float8[], float8[]) SET SCHEMA homework');
$class->psql(
    "CREATE OR REPLACE FUNCTION homework.my_median(numbers float8[], share float8[])
            RETURNS
    float8[] LANGUAGE sql IMMUTABLE AS \$\$ $long \$\$"
);
hand_in('sql', 4, 4);
refused(
    "SET statement_timeout = '500ms'; SELECT gan_aggregate(4, $in_sql)",
    qr/statement timeout/,
    'a statement_timeout ends the step, not the rule'
);
is $class->psql("SELECT iteration FROM gan_run WHERE run = $in_sql"), 4, 'nothing was stepped';
$class->psql("UPDATE gan_run SET rule_seconds = 0.2 WHERE run = $in_sql");
like $class->psql("SELECT gan_aggregate(4, $in_sql)"), qr/longer than 0.2 s/,
    'the next try continues';

# ---- parameters reach the step
my %digest;
for my $rule ('trimmed', 'trimmed(share=0.2)', 'trimmed(share=0)', 'trimmed(share=0.5)', 'median') {
    my $run = make_run("with $rule" =~ s/[^\w. ]/ /gr, aggregator => "'$rule'");
    step($class->psql("SELECT name FROM gan_run WHERE run = $run"), $run);
    $digest{$rule} = history($run, 'weights_digest');
}
is $digest{'trimmed(share=0.2)'}, $digest{trimmed}, 'a parameter as usual changes nothing';
isnt $digest{'trimmed(share=0)'}, $digest{trimmed}, 'another does';
is $digest{'trimmed(share=0.5)'}, $digest{median}, 'all but the middle trimmed: the median';
done_testing;
