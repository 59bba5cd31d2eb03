# A run without a number of units: as many as there are workers, decided when an iteration opens.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(conf => ['log_min_messages = warning']);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

# Tiny networks, and iterations of a third of a second: who joins is there in time.
my %tiny = (
    latent => 2,
    generator_features => 1,
    discriminator_features => 1,
    local_steps => 4,
    batch => 5,
    images_per_unit => 'NULL',
    units_per_iteration => 'NULL',
    target_iterations => 100000,
    learning_rate => 'NULL'
);

sub start_worker {
    return $class->worker({ env => { GANN_TEST_PAUSE_MS_PER_IMAGE => 15 } },
        $_[0], '--run', $_[1], '--threads', 1);
}

sub newest {
    return $class->psql(
        "SELECT opened, units, workers FROM gan_history
        WHERE run = $_[0] ORDER BY iteration DESC LIMIT 1"
    );
}
my $newest = 'SELECT opened, units, workers FROM gan_history
        WHERE run = %s ORDER BY iteration DESC LIMIT 1';

my %run;
for my $sizing ('equal', 'measured') {
    my $run = $run{$sizing} = $class->create_run($sizing, %tiny, unit_sizing => "'$sizing'");
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate(120);
    my @workers = start_worker('ann', $sizing);
    ok $class->poll_until(sprintf($newest, $run), '2|2|1', 30), "$sizing: two units for one worker"
        or diag newest($run);
    push @workers, start_worker($_, $sizing) for 'bo', 'cy', 'dee';
    ok $class->poll_until(sprintf($newest, $run), '4|4|4', 30), "$sizing: four for four"
        or diag newest($run);
    is $class->psql(
        "SELECT string_agg(DISTINCT opened::text, ' ' ORDER BY opened::text)
            FROM gan_history
            WHERE run = $run
            AND opened NOT BETWEEN 2 AND 4"
        ),
        '', "$sizing: and never others";
    # two leave, one of them without a word: its unit goes to somebody else when the lease ends
    if ($sizing eq 'equal') {
        $class->signal($workers[2], 'KILL');
        $class->signal($workers[3], 'INT');
        ok $class->poll_until(sprintf($newest, $run), '2|2|2', 60),
            "$sizing: two of them leave, two units are left"
            or diag newest($run);
    }
    is $class->psql("SELECT bool_and(units = opened) FROM gan_history WHERE run = $run"), 't',
        "$sizing: all that were opened were averaged";
    is $class->psql(
        "SELECT sum(h.images) = max(upper(h.positions))
            AND range_agg(p) = int8multirange(int8range(0, max(upper(h.positions))))
        FROM gan_history h, unnest(h.positions) p WHERE run = $run"
        ),
        't', "$sizing: every position once";
    $class->signal($coordinator, 'INT');
    $class->wait_for($coordinator, 30);
    ok $class->poll_until(
        "SELECT count(*) >= min(r.quorum) FROM gan_work_unit u
            JOIN gan_run r USING (run, iteration)
            WHERE run = $run
            AND u.state = 'done'", 't', 30
        ),
        "$sizing: another iteration is in";
    like $class->psql("SELECT gan_aggregate(iteration, run) FROM gan_run WHERE run = $run"),
        qr/^step/, "$sizing: its step";
    $class->psql("SELECT gan_pause($run)");
    is $class->psql("SELECT answer FROM gan_verify(run => $run)"), 'verified',
        "$sizing: a step is replayed to the bit";
    $class->signal($_, 'INT') for @workers;
}
$class->psql("SELECT gan_stop($run{equal})");

# What is made of it
my $at = $class->psql("SELECT iteration FROM gan_run WHERE run = $run{measured}");
my $fork = $class->psql("SELECT gan_fork($run{measured}, $at - 1)");
is $class->psql("SELECT units_follow FROM gan_run WHERE run = $fork"), 't', 'a fork follows, too';
is $class->psql(
    "SELECT opened = (SELECT opened FROM gan_history WHERE run = $run{measured}
            AND iteration = 3)
        FROM gan_history
        WHERE run = $fork
        AND iteration = 3"
    ),
    't', 'and knows what was opened';
my $seven =
    $class->psql("SELECT gan_fork($run{measured}, $at - 1, '{\"units_per_iteration\": 7}')");
is $class->psql("SELECT units_follow, units_per_iteration FROM gan_run WHERE run = $seven"), 'f|7',
    'one with a number does not';
my $imported =
    $class->psql("SELECT gan_import('back', gan_export($run{measured}, moments => true))");
is $class->psql("SELECT units_follow, local_steps FROM gan_run WHERE run = $imported"), 't|4',
    'an imported run follows';
$class->psql("SELECT gan_rollback($run{measured}, $at - 1)");
is $class->psql("SELECT units_follow FROM gan_run WHERE run = $run{measured}"), 't',
    'after a rollback it still does';
is $class->psql(
    "SELECT count(*) FROM gan_abandoned
        WHERE run = $run{measured}
        AND opened IS NOT NULL"
    ),
    '1', 'what was taken back keeps its number';

done_testing;
