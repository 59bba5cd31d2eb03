# The server crashes again and again under the load of 16 clients: nothing that it acknowledged is
# lost, and it is back in seconds.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;

my $seed = $ENV{GANN_TEST_SEED} // int rand 2**31;
srand $seed;
note "GANN_TEST_SEED=$seed";
my $long = GannTest::long_run();
my $cycles = $long ? 500 : 20;
my $class = GannClass->new(
    durable => 1,
    checksums => 1,
    conf => [
        'max_connections = 60',
        'checkpoint_timeout = 30s',
        'max_wal_size = 128MB',
        'autovacuum_naptime = 5s'
    ]
);
is system('make -s -f test/unit/Makefile build/test/swarm >build/test/swarm.log 2>&1'), 0,
    'the swarm is built';
my $run = $class->psql(q{SELECT gan_create_run('loop', seed => 7, channels => 1, image_size => 32,
            latent => 2, generator_features => 1, discriminator_features => 1,
    local_steps => 0, images_per_unit => 10, units_per_iteration => 32, batch => 4,
        lease_seconds => 600, target_iterations => 1000000, download_element => 'int8')});
my $shards = $class->psql("SELECT shards FROM gan_run WHERE run = $run");
$class->psql(
    "CREATE TABLE kept AS SELECT shard, data FROM gan_weights
        UNION ALL SELECT $shards, running FROM gan_batch_norm;
    CREATE TABLE acknowledged (cycle int, accepted boolean, unit bigint, token uuid);
        SELECT gan_start($run)"
);

my $history = $class->folder . '/history';
my $conninfo = 'host='
    . $class->host
    . ' port='
    . $class->port
    . " user=postgres dbname=train connect_timeout=10";
my $swarm = $class->start_background(
    { name => 'swarm' },
    GannTest::root_folder() . '/build/test/swarm',
    $conninfo, $run, $shards, 16, $history
);
$class->coordinate;

# Reads what the swarm has written since the last time.
my $at = 0;

sub answers {
    open my $in, '<', $history or return;
    seek $in, $at, 0;
    my @lines = grep {/\n$/} <$in>;
    $at += length for @lines;
    close $in;
    return map { [ split ' ' ] } @lines;
}

sub wait_for_claim {
    my $until = time + 60;
    while (time < $until) {
        my @new = answers();
        return @new if grep { $_->[1] eq 'claimed' } @new;
        sleep 0.005;
    }
    die 'nobody claims anything';
}

my $steps = "SELECT iteration, (SELECT count(*) FROM gan_history WHERE run = $run) FROM gan_run
        WHERE run = $run";
my $past = sub {
    "SELECT md5(string_agg(h::text, '' ORDER BY iteration)) FROM gan_history h
        WHERE run = $run
        AND iteration < $_[0]";
};
my @kept = wait_for_claim();
my (%problem, @recovery, $accepted);
for my $cycle (1 .. $cycles) {
    sleep($long ? rand 5 : 0.3 + rand 1);
    my ($before) = split /\|/, $class->psql($steps);
    my $digest = $class->psql($past->($before));
    $class->stop('immediate');
    kill 'STOP', -$swarm;
    my @answers = (@kept, answers());
    my $begin = time;
    $class->start;
    my $started = time - $begin;

    # The clients hold their breath: what the crash has left is looked at.
    my %tokens;
    for (grep { $_->[1] eq 'accepted' } @answers) {
        $accepted++;
        push @{ $problem{'a unit is accepted once'} }, "cycle $cycle, unit $_->[2]"
            if exists $tokens{ $_->[2] } && $tokens{ $_->[2] } ne $_->[3];
        $tokens{ $_->[2] } = $_->[3];
    }
    $class->psql(
        "COPY acknowledged FROM STDIN;\n"
            . join('',
            map { join("\t", $cycle, $_->[1] eq 'accepted' ? 't' : 'f', @{$_}[ 2, 3 ]) . "\n" }
            grep { $_->[1] =~ /accepted|unknown/ } @answers)
            . "\\."
    );
    my $lost = $class->psql(<<~SQL);
        SELECT a.* FROM acknowledged a JOIN gan_run r ON r.run = $run LEFT JOIN gan_work_unit u ON u.unit = a.unit
        WHERE a.accepted AND a.cycle >= $cycle - 1 AND NOT CASE WHEN u.unit IS NULL THEN false WHEN u.state = 'done' AND u.token = a.token THEN true
            WHEN u.iteration = r.iteration THEN true -- to be done again: the crash has taken its upload, which the invariants look at
            ELSE EXISTS (SELECT FROM acknowledged b WHERE b.unit = a.unit AND b.token = u.token AND b.cycle > a.cycle) END
        SQL
    push @{ $problem{'what was accepted is averaged, or to be done again'} }, $lost if $lost ne '';
    my ($after, $rows) = split /\|/, $class->psql($steps);
    push @{ $problem{'no step is lost'} }, "cycle $cycle: $before, then $after" if $after < $before;
    push @{ $problem{'nor changed'} }, "cycle $cycle" if $class->psql($past->($before)) ne $digest;
    my $broken = $class->broken_invariants;
    push @{ $problem{'every invariant holds'} }, "cycle $cycle: $broken" if $broken ne '';
    my $go = time;
    $class->coordinate;
    kill 'CONT', -$swarm;
    @kept = wait_for_claim();
    my ($first) = map { $_->[0] } grep { $_->[1] eq 'claimed' } @kept;
    push @recovery, $started + ($first > $go ? $first - $go : 0);
}
is_deeply $problem{$_}, undef, $_
    for 'a unit is accepted once', 'what was accepted is averaged, or to be done again',
    'no step is lost', 'nor changed', 'every invariant holds';
open my $load, '<', '/proc/loadavg' or die "loadavg: $!";
my ($waiting) = split ' ', <$load>;
my ($cores) = `nproc` =~ /(\d+)/;
my $busy = $waiting > 2 * $cores ? $waiting / $cores : 1;    # others are at work here
@recovery = sort { $a <=> $b } @recovery;
my $iteration = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
note sprintf
    '%d crashes, %d units accepted, %d steps; from the start to the first claim: %.2f s (median), %.2f s at most',
    $cycles, $accepted, $iteration, $recovery[ @recovery / 2 ], $recovery[-1];
cmp_ok $recovery[ @recovery / 2 ], '<', 5 * $busy, "it is back within five seconds"
    . ($busy > 1 ? sprintf ', times %.1f on a busy machine', $busy : '');
cmp_ok $accepted, '>', 10 * $cycles, "the clients were at work: $accepted units were accepted";
cmp_ok $iteration, '>', $cycles / 2, "and so was the coordinator: $iteration steps";
$class->psql("SELECT gan_stop($run)");
is $class->wait_for($swarm, 60), 0, 'the clients end with the run';
unlike $class->server_log, qr/PANIC|TRAP|invalid page|checksum/, 'no page was damaged';
SKIP: {
    skip 'there is no amcheck', 1 unless $class->psql(
        "SELECT count(*) FROM pg_available_extensions
            WHERE name = 'amcheck'"
    );
    $class->psql('CREATE EXTENSION amcheck');
    my ($status, $output) = $class->run(
        { timeout => 300 },
        $class->{bindir} . '/pg_amcheck',
        '-h', $class->host, '-p', $class->port, '-U', 'postgres', '--heapallindexed', 'train'
    );
    is $status, 0, 'pg_amcheck finds nothing' or diag $output;
}
done_testing;
