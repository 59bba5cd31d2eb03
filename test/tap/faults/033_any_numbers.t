# Any numbers: submissions with every class of float8 in every argument, uploads at the edge of what
# is accepted. After each hundred all views, the dashboard's documents, the exporter's queries and
# an export are read: nothing errs, and the run steps.
#
# GANN_TEST_SEED=n repeats a sequence. The long dose tries 10,000.
use strict;
use warnings;
use Test::More;
use GannBlob;
use GannClass;
use GannTest qw(long_run);

my $seed = $ENV{GANN_TEST_SEED} // int(rand 2**31);
srand $seed;
note "GANN_TEST_SEED=$seed";
my $rounds = long_run() ? 100 : 3;
my $class = GannClass->new;
my ($parameters, $statistics) = split /\|/, $class->psql(
    'SELECT parameters, statistics
        FROM gan_network_size(1, 32, 2, 1, 1)'
);
my @logins = qw(ann bo cy dee);
$class->student($_) for @logins;

# ---- what is drawn from
my @float8 =
    qw(0 -0 5e-324 -5e-324 2.3e-308 1e-308 1e-31 1e-30 0.5 1 1.0000000000000002 1e6 1000001 1e308 -1e308 1.7e308 Infinity -Infinity NaN);
sub one_of { return $_[ rand @_ ] }

sub float8 {
    return
          rand() < 0.05 ? 'NULL'
        : rand() < 0.5 ? one_of(0, 0.5, 1)
        : "'" . one_of(@float8) . "'::float8";
}

sub blob {
    my ($type, $count, $data, $scale) = @_;
    return q{'\x}
        . unpack('H*',
              'GANF'
            . pack('v2 Q< V s< v', 1, $type, $count, GannBlob::crc32c($data), $scale // 0, 0)
            . $data)
        . q{'};
}

# Numbers of which some are at an edge. edge: what each may be at most for the whole to be within
# the limit.
sub numbers {
    my ($count, $limit, @special) = @_;
    my $edge = $limit / sqrt $count;
    my $all = one_of(0, 1e-3, 1e-40, $edge * 0.999, $edge, $edge * 1.001, -$edge);
    my @x = ($all) x $count;
    $x[ rand @x ] = one_of(@special) if rand() < 0.4;
    return \@x;
}
my @specials = (
    3.4028234663852886e38, -3.4028234663852886e38, 1e-45, -0.0, 1e20, 9**9**9, -9**9**9,
    9**9**9 / 9**9**9
);

sub gradient {
    my ($run) = @_;
    if ($run->{element} eq 'float16') {
        my @h = map { one_of(0, 0x8000, 1, 0x3c00, 0x0400) } 1 .. $parameters;
        $h[ rand @h ] = one_of(0x7bff, 0xfbff, 0x7c00, 0x7e00, 1) if rand() < 0.5;
        return blob(2, $parameters, pack('v*', @h), one_of(-112, -20, -5, 0, 14, 112, 113));
    }
    if ($run->{element} eq 'int8') {
        my $blocks = int(($parameters + 255) / 256);
        my $scale =
            one_of(0, 0x00800000, 0x3a000000, 0x3f800000, 0x7c010200, 0x7a000000, 0x7f800000);
        return blob(3, $parameters,
                  pack('V*', ($scale) x $blocks)
                . pack('c*', map { one_of(-127, -1, 0, 1, 127) } 1 .. $parameters));
    }
    return blob(1, $parameters, pack('f<*', @{ numbers($parameters, $run->{limit}, @specials) }));
}

sub moments {
    return blob(1, $statistics, pack 'f<*', map {abs} @{ numbers($statistics, 1e6, @specials) });
}

# ---- the runs
my @runs;
for my $options (
    [ 'float32', 1e4, 'clipped' ],
    [ 'float32', 1e30, 'mean' ],
    [ 'float16', 1e30, 'median' ],
    [ 'int8', 1e4, 'multikrum' ],
    [ 'float32', 1e30, 'trimmed' ]
    )
{
    my ($element, $limit, $rule) = @$options;
    my $run = $class->create_run(
        "$element $rule $limit" =~ tr/+//dr,
        latent => 2,
        generator_features => 1,
        discriminator_features => 1,
        images_per_unit => 10,
        batch => 4,
        units_per_iteration => 4,
        lease_seconds => 3600,
        target_iterations => 1000000,
        dataset_images => 1000,
        dataset_digest => q{sha256('x')},
        upload_element => "'$element'",
        gradient_limit => $limit,
        aggregator => "'$rule'"
    );
    $class->psql("SELECT gan_start($run)");
    push @runs, {
        run => $run,
        element => $element,
        limit => $limit,
        worker => {
            map {
                $_ => $class->psql(
                    "SELECT gan_join($run, 'w', 1000, sha256('x'), 1, 1,
                    '', '')", user => $_
                )
            } @logins
        }
    };
}
my $honest = blob(1, $parameters, pack 'f<*', (1e-3) x $parameters);
my %honest = (
    float32 => $honest,
    float16 => blob(2, $parameters, pack 'v*', (0x1000) x $parameters),
    int8 => blob(
        3, $parameters,
        pack('V*', (0x3a000000) x int(($parameters + 255) / 256)) . pack 'c*',
        (1) x $parameters
    )
);
my $calm = blob(1, $statistics, pack 'f<*', (0.5) x $statistics);

# A unit from claim to submission.
sub attempt {
    my ($run, $who, $up, $stats, @numbers) = @_;
    return
        "SET SESSION AUTHORIZATION $who;\nSELECT unit, token, weights_nonce FROM "
        . "gan_claim($run->{worker}{$who}) \\gset u_\n\\if :{?u_unit}\n"
        . "SELECT gan_upload(:u_unit, :'u_token', 0, $up);\nSELECT gan_upload(:u_unit, :'u_token', 1,
                  $stats);\n"
        . "SELECT answer FROM gan_submit(:u_unit, :'u_token', :u_weights_nonce, "
        . join(', ', @numbers)
        . ") \\gset\n\\echo answer :answer\nSELECT gan_release(:u_unit, :'u_token');\n\\unset "
            . "u_unit\n\\endif\n"
        . "RESET SESSION AUTHORIZATION;\nUPDATE gan_worker SET refusals = 0 WHERE refusals > 0;\n";
}

my @views = split /\n/, $class->psql(q{SELECT c.oid::regclass FROM pg_class c
        JOIN pg_depend d ON d.objid = c.oid
        AND d.deptype = 'e'
        WHERE c.relkind = 'v' ORDER BY 1});
my @queries = do {
    local (@ARGV, $/) = 'monitoring/queries.yaml';
    my $text = <>;
    ($text =~ /query: \|\n(.*?)\n  metrics/gs, $text =~ /query: "(.*?)"\n/g);
};
cmp_ok scalar(@views), '>=', 20, scalar(@views) . ' views';
cmp_ok scalar(@queries), '>=', 5, scalar(@queries) . ' queries of the exporter';

my ($tries, %answers) = (0);
for my $round (1 .. $rounds) {
    my $run = $runs[ ($round - 1 + $seed) % @runs ];
    my $before = $class->psql("SELECT iteration FROM gan_run WHERE run = $run->{run}");
    my $script = '';
    for (1 .. 100) {
        $script .= attempt(
            $run, one_of(@logins),
            rand() < 0.5 ? gradient($run) : $honest{ $run->{element} },
            rand() < 0.5 ? moments() : $calm,
            one_of(4, 4, 4, 0, 4096, -1),
            map { float8() } 1 .. 4
        );
        $script .= "SELECT gan_start($run->{run});\nSELECT 'tick ' || gan_tick($run->{run});\n"
            if $_ % 4 == 0;
        $tries++;
    }
    my ($out, $err) =
        $class->psql($script, on_error => 'return', keep_going => 1, verbosity => 'sqlstate');
    $answers{$_}++ for $out =~ /^answer (\w+)/mg;
    my %states = map { $_ => 1 } $err =~ /ERROR:\s+(\w{5})/g;
    is join(' ', grep { !/^(22003|22P03)$/ } sort keys %states), '',
        "round $round, run $run->{run}: nothing but refusals"
        or diag substr $err, 0, 2000;

    # Honest units by everybody: the run steps, whatever was sent before.
    my $iteration = $before;
    for (1 .. 8) {
        $class->psql("SELECT gan_start($run->{run})");
        ($out) = $class->psql(
            join('',
                map { attempt($run, $_, $honest{ $run->{element} }, $calm, 4, 1, 1, 0.5, 0.5) }
                    @logins)
                . "SELECT gan_tick($run->{run}), gan_tick($run->{run});",
            on_error => 'return',
            keep_going => 1
        );
        $iteration = $class->psql("SELECT iteration FROM gan_run WHERE run = $run->{run}");
        last if $iteration > $before + 1;
    }
    cmp_ok $iteration, '>', $before, "round $round: the run steps" or diag $class->psql(
        "SELECT what
                FROM gan_incident
            WHERE run = $run->{run} ORDER BY incident DESC LIMIT 5"
    );
    ($out, $err) = $class->psql(
              join('', map {"SELECT count(v::text) FROM $_ AS v;\n"} @views)
            . join(";\n", @queries, '')
            . join(
            '',
            map {
                "SELECT length(gan_dashboard($_->{run})::text ||
                      gan_dashboard_curves($_->{run})::text), length(gan_export($_->{run})),
                      gan_inspect($_->{run}); SELECT count(r::text)
                  FROM gan_iteration_report(NULL, $_->{run}) AS r; SELECT *
                  FROM gan_ledger($_->{run});\n"
            } @runs
            ),
        on_error => 'return',
        keep_going => 1
    );
    is $err, '', "round $round: views, dashboard, exporter and export are read"
        or diag "GANN_TEST_SEED=$seed";
}
note "$tries submissions: " . join ', ', map {"$answers{$_} $_"} sort keys %answers;
cmp_ok $answers{accepted} // 0, '>=', $rounds, 'some were accepted';
cmp_ok $answers{refused} // 0, '>=', $rounds, 'some were refused';
unlike $class->server_log, qr/PANIC|was terminated by signal/, 'no process of the server died';
done_testing;
