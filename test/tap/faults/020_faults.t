# Workers and backends die; nothing acknowledged is lost and nobody has to do anything.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep);
use GannClass;

my $class = GannClass->new(durable => 1);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

# kill -9 in mid-unit: another worker does the unit after the lease
my $run = $class->create_run('kill', lease_seconds => 3, target_iterations => 2);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate(600);
my $victim = $class->worker({ env => { GANN_TEST_PAUSE_MS => 60000 } }, 'ann');
ok $class->poll_until("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'claimed'",
    '1', 30),
    'a worker holds a unit';
my $unit = $class->psql("SELECT unit FROM gan_work_unit WHERE run = $run AND state = 'claimed'");
sleep 4;
is $class->psql("SELECT state, attempts FROM gan_work_unit WHERE unit = $unit"), 'claimed|1',
    'renewal keeps it beyond one lease';
$class->signal($victim, 'KILL');
is $class->wait_for($victim, 5), 137, 'the worker is killed';
my $other = $class->worker('bo');
is $class->wait_for($other, 60), 0, 'another worker finishes the run';
is $class->psql(
    "SELECT u.state, w.login FROM gan_work_unit u JOIN gan_worker w USING (worker)
        WHERE u.state = 'done'
        AND (u.run, u.first_position) = (SELECT run, first_position FROM gan_work_unit
            WHERE unit = $unit)"
    ),
    'done|bo',
    'it did the dead worker\'s unit (or the copy of it: it was held for longer than a lease)';
is $class->psql("SELECT sum(w.images) FROM gan_worker w WHERE run = $run AND login = 'ann'"), '0',
    'who is not credited for it';
is $class->psql("SELECT max(upper(positions)), sum(images) FROM gan_history WHERE run = $run"),
    '80|80', 'every position was averaged once';

# Ctrl-C hands the unit back at once
$run = $class->create_run('stop', lease_seconds => 3600, target_iterations => 2);
$class->psql("SELECT gan_start($run)");
my $leaver = $class->worker({ env => { GANN_TEST_PAUSE_MS => 60000 } }, 'ann', '--run', 'stop');
ok $class->poll_until("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'claimed'",
    '1', 30),
    'a worker holds a unit for an hour';
sleep 1;
$class->signal($leaver, 'INT');
is $class->wait_for($leaver, 10), 0, 'Ctrl-C ends it in good order';
is $class->psql("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'claimed'"), '0',
    'and the unit is free again';

# The server crashes in mid-class: workers come back by themselves
my @workers = map { $class->worker($_, '--run', 'stop') } 'ann', 'bo';
$class->psql("UPDATE gan_run SET target_iterations = 60 WHERE run = $run");
ok $class->poll_until("SELECT iteration > 5 FROM gan_run WHERE run = $run", 't', 60),
    'the class is at work';
my $before = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
$class->restart('immediate');
cmp_ok $class->psql("SELECT iteration FROM gan_run WHERE run = $run"), '>=', $before,
    'no step is lost in a crash of the server';
$coordinator = $class->coordinate(600);
is $class->wait_for($_, 120), 0, 'a worker reconnects and continues to the end' for @workers;
is $class->psql(
    "SELECT count(*), max(upper(positions)), sum(images) FROM gan_history
        WHERE run = $run"
    ),
    '60|2400|2400', 'and every position was averaged once';
is $class->psql("SELECT sum(images) FROM gan_worker WHERE run = $run"), '2400', 'and credited once';

# kill -9 of the backend in the step: iteration i or i + 1, never between
$run = $class->create_run(
    'step',
    latent => 100,
    generator_features => 64,
    discriminator_features => 64,
    image_size => 64,
    channels => 3,
    images_per_unit => 4,
    batch => 4,
    units_per_iteration => 1,
    target_iterations => 100
);
$class->psql("SELECT gan_start($run)");
$class->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE query LIKE 'CALL gan_coordinate%'});
$class->wait_for($coordinator, 10);
my $worker = $class->worker('ann', '--run', 'step');
my ($in_between, $stepped, $kills) = (0, 0, 0);
for my $delay (map { 0.02 + 0.03 * $_ } 0 .. 9) {
    $class->poll_until(
        "SELECT count(*) FROM gan_work_unit JOIN gan_run USING (run, iteration)
            WHERE run = $run
            AND gan_work_unit.state = 'done'", '1', 60
    );
    my $i = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
    my $step = $class->start_background(
        { name => 'step' }, $class->{bindir} . '/psql',
        '-X', '-h',
        $class->host, '-p',
        $class->port, '-U',
        'postgres', '-d',
        'train', '-c',
        "SET application_name = 'step'", '-c',
        "SELECT gan_aggregate($i, $run)"
    );
    sleep 0.05 + $delay;
    my $pid = $class->psql(
        "SELECT pid FROM pg_stat_activity
            WHERE query LIKE 'SELECT gan_aggregate%'
            AND application_name = 'step'
            AND state = 'active'"
    );
    $kills += kill 'KILL', $pid if $pid =~ /^\d+$/;
    $class->wait_for($step, 30);
    $class->poll_until('SELECT NOT pg_is_in_recovery()', 't', 60);
    my $now = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
    $stepped += $now == $i + 1;
    my $whole = $class->psql(
        "SELECT (SELECT count(*) = r.shards FROM gan_weights w
            WHERE w.run = r.run
            AND w.iteration = r.iteration)
        AND (SELECT count(*) = r.shards FROM gan_moments m
        WHERE m.run = r.run
        AND m.iteration = r.iteration)
        AND (SELECT count(*) = 1 FROM gan_batch_norm b
        WHERE b.run = r.run
        AND b.iteration = r.iteration)
        AND (SELECT count(*) = r.iteration FROM gan_history h WHERE h.run = r.run)
        AND (SELECT count(*) = 1 FROM gan_work_unit u WHERE u.run = r.run
            AND u.iteration = r.iteration)
        FROM gan_run r
        WHERE run = $run"
    );
    $in_between++ unless $whole eq 't' && ($now == $i || $now == $i + 1);
    # The gradients went with the server: the worker does the unit again.
    $class->poll_until("SELECT gan_tick($run)", qr/^step/, 60) if $now == $i;
}
is $in_between, 0,
    "the backend was killed $kills times in ten steps, $stepped of them were committed: always "
    . "iteration i or i + 1";
cmp_ok $kills, '>', 0, 'at least once it was killed in the midst of the step';
$class->psql("SELECT gan_stop($run)");
is $class->wait_for($worker, 60), 0, 'the worker outlived all of it';

# A unit that somebody keeps locked is replaced
$run = $class->create_run('hoard', lease_seconds => 2, target_iterations => 2);
$class->psql("SELECT gan_start($run)");
my $hoarder = $class->start_background(
    { name => 'hoarder' }, $class->{bindir} . '/psql', '-X', '-h', $class->host, '-p',
    $class->port, '-U', 'postgres', '-d', 'train',
    '-c', "BEGIN; SELECT FROM gan_work_unit
            WHERE run = $run ORDER BY unit LIMIT 1 FOR UPDATE; SELECT pg_sleep(60)"
);
sleep 0.5;
$coordinator = $class->coordinate(60);
$worker = $class->worker('ann', '--run', 'hoard');
is $class->wait_for($worker, 40), 0, 'the run ends although a unit stays locked';
ok $class->is_running($hoarder), 'and the hoarder still holds it';
is $class->psql("SELECT count(*) > 0 FROM gan_work_unit WHERE run = $run AND replaces IS NOT NULL"),
    't', 'a substitute was opened';
is $class->psql("SELECT sum(images), max(upper(positions)) FROM gan_history WHERE run = $run"),
    '80|80', 'and every position was averaged once';

# A quorum below all: what is not done in time moves on to the next iteration
$run = $class->create_run('quorum', units_per_iteration => 3, quorum => 2, target_iterations => 6);
$class->psql("SELECT gan_start($run)");
$worker = $class->worker('ann', '--run', 'quorum');
$coordinator = $class->coordinate(60);
is $class->wait_for($worker, 60), 0, 'a run with a quorum ends';
is $class->psql(
    "SELECT bool_and(units >= 2), (SELECT count(*)
            FROM (SELECT unnest(positions) AS span FROM gan_history WHERE run = $run) s
            JOIN (SELECT iteration, unnest(positions) AS span FROM gan_history WHERE run = $run) t
            ON s.span && t.span AND s.span <> t.span)
        FROM gan_history
        WHERE run = $run"
    ),
    't|0', 'no position was averaged twice';
done_testing;
