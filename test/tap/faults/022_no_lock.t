# Without the lock on the run two steps of one iteration may begin: another look under the next
# lock, and the history's key, let only one of them end, and the other destroys nothing.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannModule;
use GannUnits;

# The library without the locks on the run and on its units, and with a point at which the steps can
# be held.
my $module = GannModule::build(
    'no_lock',
    flags => '-DGANN_FAULTS',
    changes => [
        [ 'run.c', 'psprintf("%s FOR NO KEY UPDATE SKIP LOCKED", query)', 'psprintf("%s", query)' ],
        [
            'aggregate.c', 'UNITS_OF_ITERATION " FOR UPDATE OF u SKIP LOCKED"',
            'UNITS_OF_ITERATION'
        ],
    ]
);
my $class = GannClass->new(module => $module);
my $units = GannUnits->new($class);
my $run = $units->{run};
my @psql = (
    $class->{bindir} . '/psql',
    '-X', '-q', '-h', $class->host, '-p', $class->port, '-U', 'postgres', '-d', 'train'
);
my $waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'";
for my $i (0 .. 3) {
    $units->hand_in;
    $class->start_background(
        { name => 'gate' }, @psql, '-c', 'SELECT pg_advisory_lock(4711),
                pg_sleep(600)'
    );
    $class->poll_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted",
        '1', 30);
    my @steps = map {
        $class->start_background(
            { name => "step-$_" },
            @psql, '-c', "SET gann_test.fault = 'units_locked:wait'",
            '-c', "SELECT gan_aggregate($i, $run)"
        )
    } 1, 2;
    ok $class->poll_until($waiting, '2', 60),
        "iteration $i: two steps have read the run and its units";
    $class->psql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE locktype = 'advisory'
            AND granted"
    );
    my @status = map { $class->wait_for($_, 60) } @steps;
    is_deeply [ sort { $a <=> $b } @status ], [ 0, 1 ], 'one of them is taken';
    like join('', map { $class->log_of($_) } @steps),
        qr/another session has taken the step of iteration $i|duplicate key value violates unique constraint/,
        'and the other one fails';
    is $units->iteration, $i + 1, 'the run is one iteration further';
    is $units->digest($i), $units->expected($i), 'with the weights of one step';
    is $class->broken_invariants, '', 'and all invariants hold';
}
done_testing;
