# Poisoned updates: 32 accounts, some of which attack, against every rule; accounts, not programs,
# count; the limit of a step.
use strict;
use warnings;
use Test::More;
use GannClass;

plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $class = GannClass->new(conf => ['max_connections = 120']);
my $program = GannTest::root_folder() . '/build/test/poison';
is
    system(
    'make -s -f test/unit/Makefile build/test/poison build/test/feed_units '
    . '>build/test/poison.log 2>&1'
    ), 0, 'the class of attackers is built';
my $admin = sprintf 'host=%s port=%d user=postgres dbname=%s', $class->host, $class->port,
    $class->database;
my @rules = qw(mean clipped trimmed median multikrum);
my @attacks = qw(nan million flip flip10 gauss zeros copy);

# A run whose first moments are what the rule made of an iteration (beta1 = 0), and that stays where
# it is.
sub make_run {
    my ($name, $units, %options) = @_;
    my $run = $class->create_run(
        $name,
        units_per_iteration => $units,
        images_per_unit => 32,
        batch => 16,
        beta1 => 0,
        learning_rate => 1e-9,
        gradient_limit => 1e30,
        lease_seconds => 600,
        %options
    );
    $class->psql("SELECT gan_start($run)");
    return $run;
}

# A file of programs: each with the login of its number.
sub programs {
    my ($name, @logins) = @_;
    my $file = $class->folder . "/$name.programs";
    my $n = 0;
    open my $out, '>', $file or die "$file: $!";
    print {$out} $class->student("s$_"), ' p', $n++, "\n" for @logins;
    close $out or die "$file: $!";
    return $file;
}

# Plays scenarios; returns a hash of their figures.
sub play {
    my ($run, $programs, @scenarios) = @_;
    my ($status, $output) = $class->run({ timeout => 600 },
        $program, $admin, $run, GannTest::fashion_file(), $programs, @scenarios);
    is $status, 0, "$run: " . @scenarios . ' iterations' or diag $output;
    my %all;
    for (split /\n/, $output) {
        my ($rule, $attack, $count, %figures) = split / /;
        $all{"$rule:$attack:$count"} = \%figures;
        note $_;
    }
    return \%all;
}

# ---- 32 accounts What each rule promises: the most attackers of each kind at which the step still
# goes where the honest ones wanted it to (cosine of at least 0.9 between what moves the weights and
# the mean of the honest gradients; of both networks together).
my %promise = (
    mean => { nan => 9 },
    clipped =>
        { nan => 9, million => 9, flip => 6, flip10 => 6, gauss => 9, zeros => 9, copy => 9 },
    trimmed => { nan => 9, map { $_ => 6 } qw(million flip flip10 gauss zeros copy) },
    median => { map { $_ => 9 } @attacks },
    multikrum => { map { $_ => 9 } @attacks },
);
my $long = GannTest::long_run();
my @counts = $long ? (3, 6, 9) : (6, 9);
my @class = programs('class', 0 .. 31);
my %seen;
make_run('class', 32, target_iterations => 1000);
for my $rule (@rules) {
    # The long dose is the whole table; the short one has the most attackers that are promised for.
    my @scenarios = ("$rule:none:0");
    for my $attack (@attacks) {
        my $most = $promise{$rule}{$attack} // ($attack eq 'flip10' ? 9 : 0);
        push @scenarios, map {"$rule:$attack:$_"} grep { $long || $_ == $most } @counts;
    }
    %seen = (%seen, %{ play('class', @class, @scenarios) });
    my @broken = grep {
        my ($r, $attack, $count) = split /:/;
        $count <= ($promise{$r}{$attack} // 0) && $seen{$_}{cosine} < 0.9
    } @scenarios;
    is "@broken", '', "$rule keeps what it promises";
    cmp_ok $seen{$_}{reference}, '<', 1e-6,
        "$_: the step is what plain loops make of the same uploads"
        for @scenarios;
}
cmp_ok $seen{'mean:flip10:9'}{cosine}, '<', 0, 'a mean without a rule is turned around';
is $seen{"$_:nan:9"}{refused}, 9, "$_: NaN is refused at the door" for @rules;
is $seen{'clipped:million:9'}{touched}, 9, 'what was clipped is counted in gan_history';
is $class->psql(
    "SELECT count(*), bool_and(u.scale < 1e-3) FROM gan_work_unit u
        JOIN gan_history h USING (run, iteration) JOIN gan_run r USING (run)
    WHERE r.name = 'class'
    AND h.aggregator = 'multikrum'
    AND h.iteration = (SELECT max(iteration) FROM gan_history)
    AND u.scale IS NOT NULL"
    ),
    '9|t', 'and stands with the unit';
my @table = map {
    my $rule = $_;
    map {
        my $count = $_;
        "| `$rule` | $count | "
            . join(' | ', map { $seen{"$rule:$_:$count"}{cosine} // '' } $count ? @attacks : 'none')
            . ' |'
    } 0, @counts
} @rules;
note $_ for '| rule | attackers | ' . join(' | ', @attacks) . ' |', @table;

# ---- one student as 24 programs, beside eight honest accounts
my $sybils = make_run('sybil', 32, target_iterations => 1000);
$class->psql("SELECT gan_trust_login('s40', $sybils)");    # a newcomer would hold one unit
my $sybil = play('sybil', programs('sybil', (40) x 24, 1 .. 8), map {"$_:flip10:24"} @rules);
for my $rule (qw(trimmed median multikrum)) {
    cmp_ok $sybil->{"$rule:flip10:24"}{cosine}, '>=', 0.9,
        "$rule: 24 programs of one login weigh as one account";
    cmp_ok $sybil->{"$rule:flip10:24"}{reference}, '<', 1e-6, "$rule: and are averaged first";
}
is $sybil->{'clipped:flip10:24'}{touched}, 24, 'clipped: they do not move the bound';

# ---- the same bits, in whatever order units arrive, and of clipped as of the mean
my %digest;
for my $name (qw(forward backward)) {
    make_run($name, 8, seed => 3, target_iterations => 1000);
    my $order = $name eq 'backward' ? ':backwards' : '';
    my $played = play($name, programs($name, 0 .. 7), map {"$_:none:0$order"} @rules);
    $digest{$name} = join ' ', map { $played->{"$_:none:0"}{digest} } @rules;
}
is $digest{backward}, $digest{forward}, 'every rule: the same bits whatever the order of arrival';
my %first;
for my $rule (qw(mean clipped)) {
    make_run("first $rule", 8, seed => 3, target_iterations => 1);
    $first{$rule} =
        play("first $rule", programs("first$rule", 0 .. 7), "$rule:none:0")->{"$rule:none:0"};
}
is $first{clipped}{touched}, 0, 'of an honest class nothing is clipped';
is $first{clipped}{digest}, $first{mean}{digest}, 'and it has the bits of the mean';

# ---- memory: of 64 accounts as of 8
for my $rule ($long ? qw(trimmed median multikrum) : 'multikrum') {
    my %growth;
    for my $accounts (8, 64) {
        my $name = "$rule $accounts";
        my $run = $class->create_run(
            $name,
            image_size => 64,
            channels => 3,
            latent => 100,
            generator_features => 16,
            discriminator_features => 16,
            units_per_iteration => $accounts,
            target_iterations => 1,
            aggregator => "'$rule'"
        );
        $class->psql("SELECT gan_start($run)");
        feed($name, $_) for 0 .. $accounts - 1;
        my $peak = q{\\! grep VmPeak /proc/$PID/status};
        my $out = $class->psql(
            "SELECT pg_backend_pid() AS pid \\gset\n\\setenv PID :pid\nSELECT "
            . "gan_run_config('$name') IS NULL;\n$peak\nSELECT gan_aggregate(0, $run);\n$peak"
        );
        my @kb = $out =~ /VmPeak:\s+(\d+)/g;
        $growth{$accounts} = ($kb[1] - $kb[0]) / 1024;
        is $class->psql("SELECT accounts FROM gan_history WHERE run = $run"), $accounts,
            "$rule: $accounts accounts";
    }
    cmp_ok $growth{64}, '<', 100,
        sprintf '%s: the step of 64 accounts takes %.1f MB, that of 8 takes %.1f MB', $rule,
        @growth{ 64, 8 };
    cmp_ok $growth{64} - $growth{8}, '<', 16,
        "$rule: tiles become shorter where there are more accounts";
}

# ---- the limit of a step
my $run = $class->create_run(
    'limit',
    units_per_iteration => 2,
    learning_rate => 0.1,
    update_limit => 0.01,
    target_iterations => 4,
    gradient_limit => 1e30
);
my $free = $class->create_run(
    'free',
    units_per_iteration => 2,
    learning_rate => 0.1,
    update_limit => "'Infinity'",
    target_iterations => 4,
    gradient_limit => 1e30
);
for my $n ($run, $free) {
    my $name = $class->psql("SELECT name FROM gan_run WHERE run = $n");
    $class->psql("SELECT gan_start($n)");
    for my $i (0 .. 3) {
        feed($name, $_) for 0, 1;
        my @before = weights($n);
        like $class->psql("SELECT gan_aggregate($i, $n)"), qr/^step/, "$name: step $i";
        my @after = weights($n);
        my ($ratio_g, $ratio_d) = ratios($n, \@before, \@after);
        my ($wanted_g, $wanted_d, $capped) = split /\|/, $class->psql(
            "SELECT update_g, update_d,
                    capped
                FROM gan_history
                WHERE run = $n
                AND iteration = $i"
        );
        is $capped, $n == $run ? 't' : 'f', "$name: history says whether it was shortened";
        cmp_ok $wanted_g, '>', 0.02, "$name: G's step is longer than the limit";
        my ($expected_g, $expected_d) = $n == $run ? (0.01, 0.01) : ($wanted_g, $wanted_d);
        cmp_ok abs($ratio_g / $expected_g - 1), '<', 1e-3, "$name: G moves by its full limit";
        cmp_ok abs($ratio_d / $expected_d - 1), '<', 1e-3, "$name: so does D";
    }
}
my $one = "SELECT md5(string_agg(first || second, '' ORDER BY shard)) FROM gan_moments
        WHERE iteration = 4
        AND run";
is $class->psql("$one = $run"), $class->psql("$one = $free"),
    'the moments are those of the whole step';
is $class->psql(
    "SELECT pg_relation_size('gan_state_piece_r${run}_0') =
            pg_relation_size('gan_state_piece_r${free}_0')"
    ),
    't', 'and a step taken twice leaves nothing behind';
done_testing;

# Hands in a unit of random numbers by a student of its own.
sub feed {
    my ($name, $student) = @_;
    my ($status, $output) = $class->run(
        { timeout => 120 },
        GannTest::root_folder() . '/build/test/feed_units',
        $class->student("s$student"),
        $name, 1, 'feeder', $student + 1
    );
    $status == 0 or BAIL_OUT("feed_units: $output");
}

# All parameters of the newest weights.
sub weights {
    my $n = shift;
    my @shards = split /\n/, $class->psql(
        "SELECT encode(substr(w.data, 25), 'hex')
            FROM gan_weights w JOIN gan_run r USING (run, iteration)
            WHERE run = $n ORDER BY shard"
    );
    return unpack 'f<*', join '', map { pack 'H*', $_ } @shards;
}

# The length of a step beside the weights', of G and of D.
sub ratios {
    my ($n, $before, $after) = @_;
    my $border = 0;
    my ($size, $latent, $channels) = (32, 16, 1);
    my $f = 8 * $size / 8;    # the generator's widest layer
    $border = $latent * $f * 16 + 2 * $f;
    for (my $c = $f; $c > 8; $c /= 2) { $border += $c * $c / 2 * 16 + $c }
    $border += 8 * $channels * 16;
    return map {
        my ($change, $whole) = (0, 0);
        for my $j ($_->[0] .. $_->[1] - 1) {
            $change += ($after->[$j] - $before->[$j])**2;
            $whole += $before->[$j]**2;
        }
        sqrt($change / $whole)
    } [ 0, $border ], [ $border, scalar @{$before} ];
}
