# The backend that takes a step fails at each of its points, in several ways: the run is at
# iteration i or i + 1, and the next try gives the same bits.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use GannClass;
use GannModule;
use GannUnits;

my $class = GannClass->new(
    module => GannModule::build('faults', flags => '-DGANN_FAULTS'),
    conf => ['max_wal_size = 256MB']
);
my $units = GannUnits->new($class);
my $run = $units->{run};
my $long = GannTest::long_run();

# Points of a step that goes over the old rows page by page, and of one that finds the partition
# otherwise and empties it. The number is the time it is passed: in the middle.
my @reuse =
    qw(units_locked room_made reusable opened_to_fill tile_added:3 before_page:1 page_written:1 page_written:300 part_stored:2 shard_stored:1 shard_stored:2 statistics_stored before_close closed before_commit);
my @insert = qw(truncated row_without_entry:1 row_without_entry:300);
my @ways = ('term', 'kill', $long ? 'error' : ());    # errors: 073_failures.t
my @cases = (
    (
        map {
            my $p = $_;
            map { [ $p, $_, 0 ] } @ways
        } @reuse
    ),
    (
        map {
            my $p = $_;
            map { [ $p, $_, 1 ] } @ways
        } @insert
    ),
    [ 'page_not_logged:1', 'kill', 0 ],
    [ 'page_not_logged:300', 'kill', 0 ],
    [ 'committed', 'kill', 0 ]
);
if ($long) {
    srand($ENV{GANN_TEST_SEED} // 1);
    my @more = map {
        my ($p) = split /:/, $reuse[ rand @reuse ];
        $p =~ /page/
            ? [ $p . ':' . (1 + int rand 500), ('error', 'term', 'kill')[ rand 3 ], 0 ]
            : ()
    } 1 .. 600;
    push @cases, @more;
}

# A few iterations, so that both slots are as steps leave them.
for my $i (0 .. 2) {
    $units->hand_in;
    $class->psql("SELECT gan_aggregate($i, $run)");
}
my ($bad, %seconds) = (0);
my %points;
for my $case (@cases) {
    my ($point, $action, $insert) = @{$case};
    my ($name, $number) = split /:/, $point;
    my $i = $units->iteration;
    $points{$name}++;
    $units->hand_in;
    $class->psql("VACUUM gan_state_piece_r${run}_" . (($i + 1) % 2)) if $insert;
    my ($out, $err, $status) = $class->psql(
        "SET gann_test.fault = '$name:$action"
            . ($number ? ":$number" : '')
            . "'; SELECT gan_aggregate($i, $run)",
        on_error => 'return'
    );
    my $how =
          $action eq 'error' ? qr/fault at $name/
        : $action eq 'term' ? qr/terminating connection due to administrator command/
        : qr/server closed the connection|terminating connection because of crash/;
    my $begin = time;
    $class->poll_until('SELECT 1', '1', 60) or die 'the server does not come back';
    $seconds{$action} = time - $begin if time - $begin > ($seconds{$action} // 0);
    my $now = $units->iteration;
    my $broken = $class->broken_invariants;
    my $retried = '';
    if ($now == $i) {
        $units->hand_in;
        $retried = $class->psql("SELECT gan_aggregate($i, $run)", on_error => 'ignore');
    }
    my $digest = $units->digest($i);
    my $fine =
           $err =~ $how
        && $now == $i + ($name eq 'committed')
        && $broken eq ''
        && $digest eq $units->expected($i);
    ok $fine,
          "$action at $point"
        . ($insert ? ', where rows are inserted' : '')
        . ": iteration $now, and the step's bits are the same in the end"
        or diag
        "iteration $i, then $now\nerror: $err\nbroken: $broken\nretried: $retried\ndigest "
        . "$digest\nwanted @{[$units->expected($i)]}";
}
cmp_ok scalar keys %points, '>=', 12, keys(%points) . ' points: ' . join ' ', sort keys %points;
note sprintf 'after kill the server answered again within %.1f s', $seconds{kill};

# Nothing is left behind by those that failed
unlike $class->server_log, qr/leak|PANIC|TRAP|still referenced/, 'no leak and no panic';
is $class->psql(
    "SELECT pg_size_pretty(pg_relation_size('gan_state_piece_r${run}_0')) =
            pg_size_pretty(pg_relation_size('gan_state_piece_r${run}_1'))"
    ),
    't', 'both slots have the same size: nothing has grown';
done_testing;
