# The server's clock is set forward and back by an hour: no unit in progress is lost, and none is
# held for an hour.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;

my ($library) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' unless $library;
plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();

# Every process of the server's reads from this file, at every look at the clock, by how much it is
# wrong.
my $offset = "/tmp/gann-clock.$$";
END { unlink $offset if defined $offset }

sub set_clock {
    open my $out, '>', "$offset.new" or die "$offset: $!";
    print {$out} "$_[0]\n";
    close $out or die "$offset: $!";
    rename "$offset.new", $offset or die "$offset: $!";
}
set_clock('+0');
my $class = GannClass->new(
    env => {
        LD_PRELOAD => $library,
        FAKETIME_TIMESTAMP_FILE => $offset,
        FAKETIME_NO_CACHE => 1,
        FAKETIME_DONT_FAKE_MONOTONIC => 1,
        FAKETIME_DISABLE_SHM => 1
    }
);

sub hour_ahead {
    return $class->psql(
        'SELECT round(extract(epoch FROM clock_timestamp()) / 3600 - ' . time() / 3600 . ')');
}
is hour_ahead(), '0', 'the server has the right time';

# A unit is in progress while the clock moves.
my $run = $class->create_run(
    'clock',
    lease_seconds => 5,
    units_per_iteration => 1,
    target_iterations => 1000
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate;

sub unit_in_work {
    $class->poll_until(
        "SELECT count(*) FROM gan_work_unit
        WHERE run = $run
        AND state = 'claimed'", '1', 60
    );
    return $class->psql(
        "SELECT unit FROM gan_work_unit
                WHERE run = $run
                AND state = 'claimed'"
    );
}
for my $to ('+3600', '+0') {
    my $worker = $class->worker({ env => { GANN_TEST_PAUSE_MS => 3000 } }, 'ann');
    my $unit = unit_in_work();
    my $attempts = $class->psql("SELECT attempts FROM gan_work_unit WHERE unit = $unit");
    set_clock($to);
    is hour_ahead(), $to / 3600, "the clock is set to $to s";
    ok $class->poll_until("SELECT state FROM gan_work_unit WHERE unit = $unit", 'done', 60),
        'the unit in progress is submitted';
    is $class->psql("SELECT attempts FROM gan_work_unit WHERE unit = $unit"), $attempts,
        'by the worker that had claimed it';
    $class->signal($worker, 'TERM');
    $class->wait_for($worker, 60);
    unlike $class->log_of($worker), qr/lost|too late/, 'who noticed nothing';
}

# Who dies holding a lease from an hour ahead does not hold it for an hour, and neither does who
# hoards a unit; and both with no coordinator there to see the clock move.
for my $case ('dies', 'hoards') {
    set_clock('+3600');
    my $unit = unit_in_work_of_somebody_who($case);
    $class->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE 'CALL gan_coordinate%'});
    set_clock('+0');
    $coordinator = $class->coordinate;
    my ($iteration, $start) =
        ($class->psql("SELECT iteration FROM gan_run WHERE run = $run"), time);
    my $worker = $class->worker('bo');
    ok $class->poll_until("SELECT iteration > $iteration FROM gan_run WHERE run = $run", 't', 90),
        sprintf 'after a worker that %s the class went on in %.0f s', $case, time - $start;
    $class->signal($worker, 'TERM');
    $class->wait_for($worker, 60);
}

sub unit_in_work_of_somebody_who {
    my $case = shift;
    if ($case eq 'hoards') {
        $class->poll_until(
            "SELECT count(*) FROM gan_work_unit JOIN gan_run USING (run, iteration)
                WHERE run = $run
                AND gan_work_unit.state = 'pending'", '1', 60
        );
        my $hoarder = $class->start_background(
            { name => 'hoarder' }, $class->{bindir} . '/psql', '-X', '-h', $class->host, '-p',
            $class->port, '-U', 'postgres', '-d', 'train',
            '-c', "BEGIN; SELECT FROM gan_work_unit
                    WHERE run = $run
                    AND state = 'pending' FOR UPDATE; SELECT pg_sleep(600)"
        );
        $class->poll_until(
            "SELECT count(*) FROM pg_stat_activity
                WHERE query LIKE '%pg_sleep(600)%'
                AND wait_event = 'PgSleep'", '1', 30
        );
        return;
    }
    my $victim = $class->worker({ env => { GANN_TEST_PAUSE_MS => 60000 } }, 'ann');
    my $unit = unit_in_work();
    $class->signal($victim, 'KILL');
    $class->wait_for($victim, 10);
    return $unit;
}

# A machine that stood still: nothing of its session ran while CLOCK_MONOTONIC went on. (What it
# sleeps too long by a little is no reason.)
for my $seconds (2, 12) {
    my $before = () = $class->server_log =~ /the clock has moved by/g;
    my $sleeper = $class->coordinate($seconds + 4);
    my $asleep = q{SELECT coalesce((SELECT pid FROM pg_stat_activity
            WHERE query LIKE 'CALL gan_coordinate(%)'
            AND wait_event_type = 'Extension' LIMIT 1), 0)};
    my ($backend, $until) = (0, time + 30);
    sleep 0.05 until ($backend = $class->psql($asleep)) > 1 || time > $until;
    $backend > 1 or die 'no session sleeps';
    kill 'STOP', $backend;
    sleep $seconds;
    kill 'CONT', $backend;
    is $class->wait_for($sleeper, 60), 0, "a coordinator ends that was stopped for $seconds s";
    my @moved = $class->server_log =~ /the clock has moved by (-?[\d.]+) s: leases move with it/g;
    splice @moved, 0, $before;
    if ($seconds < 5) { is "@moved", '', 'which was no reason to move leases'; next }
    ok @moved == 1 && $moved[0] > $seconds - 2 && $moved[0] < 30,
        "leases have moved by that time (@moved s)";
}

# A coordinator's seconds are those that pass.
for my $to ('+3600', '+0') {
    my $start = time;
    my $short = $class->coordinate(5);
    sleep 1;
    set_clock($to);
    is $class->wait_for($short, 30), 0, "gan_coordinate(5) ends while the clock is set to $to s";
    cmp_ok time - $start, '>', 4.5, 'but not before 5 s are over';
}
is $class->psql("SELECT count(*) FROM gan_history WHERE run = $run AND ended_at < started_at"),
    '0', 'no iteration ends before it began';
my $done = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
is $class->psql(
    "SELECT count(*), sum(images), range_agg(positions) FROM gan_history
        WHERE run = $run"
    ),
    sprintf('%d|%d|{[0,%d)}', $done, 20 * $done, 20 * $done),
    'every position was averaged once';
is $class->psql("SELECT sum(images) FROM gan_worker WHERE run = $run"), 20 * $done,
    'and credited once';
done_testing;
