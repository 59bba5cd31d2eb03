# Many coordinators at once, as when firings of pg_cron pile up, and a server that is restarted in
# mid-class: nobody has to do anything.
use strict;
use warnings;
use Test::More;
use GannClass;

my $cron = -e '/usr/share/postgresql/15/extension/pg_cron.control';
my $class = GannClass->new(
    conf => $cron && GannTest::long_run()
    ? [
        "shared_preload_libraries = 'pg_cron'",
        "cron.database_name = 'train'",
        'cron.use_background_workers = on',
        'max_worker_processes = 20'
        ]
    : []
);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

# The workers are the same to the end; whatever it is that calls the coordinators continues calling.
sub class_goes_on {
    my ($name, $iterations, $timeout) = @_;
    my $run = $class->psql("SELECT run FROM gan_run WHERE name = '$name'");
    my @workers = map { $class->worker($_, '--run', $name) } 'ann', 'bo';
    ok $class->poll_until("SELECT iteration > 10 FROM gan_run WHERE run = $run", 't', $timeout),
        "$name: the class is at work";
    for my $mode ('fast', 'immediate') {
        my $before = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
        $class->restart($mode);
        cmp_ok $class->psql("SELECT iteration FROM gan_run WHERE run = $run"), '>=', $before,
            "$name: a restart ($mode) loses no step";
        ok $class->poll_until("SELECT iteration > $before + 5 FROM gan_run WHERE run = $run",
            't', $timeout),
            "$name: and the class continues by itself";
    }
    $class->psql(
        "UPDATE gan_run SET target_iterations = greatest($iterations, iteration + 2)
            WHERE run = $run"
    );
    is $class->wait_for($_, $timeout), 0, "$name: a worker reconnected and went on to the end"
        for @workers;
    my $done = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
    is $class->psql(
        "SELECT count(*), sum(images), range_agg(positions) FROM gan_history
            WHERE run = $run"
        ),
        sprintf('%d|%d|{[0,%d)}', $done, 40 * $done, 40 * $done),
        "$name: every step was taken once, every position averaged once";
    is $class->psql("SELECT sum(images) FROM gan_worker WHERE run = $run"), 40 * $done,
        "$name: and credited once";
    return;
}
my $run = $class->create_run('coordinators', target_iterations => 1000);
$class->psql("SELECT gan_start($run)");
my @coordinators = map { $class->coordinate_again } 1 .. 5;
class_goes_on('coordinators', 40, 120);
$class->signal($_, 'TERM') for @coordinators;
$class->wait_for($_, 10) for @coordinators;
unlike $class->log_of($_), qr/ERROR|WARNING.*run \d+:/, 'no coordinator was in the way of another'
    for @coordinators;
unlike $class->server_log, qr/deadlock/, 'nor was there a deadlock';

# pg_cron itself, whose firings come every minute
SKIP: {
    skip 'a matter of minutes: GANN_LONG=1', 1 unless GannTest::long_run();
    skip 'postgresql-15-cron is not installed', 1 unless $cron;
    $class->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE 'CALL gan_coordinate%'});
    $class->psql('CREATE EXTENSION pg_cron');
    # longer than a minute: they pile up
    $class->psql("SELECT cron.schedule('gannsfriends $_', '* * * * *', 'CALL gan_coordinate(90)')")
        for 1 .. 3;
    $run = $class->create_run('cron', target_iterations => 1000);
    $class->psql("SELECT gan_start($run)");
    class_goes_on('cron', 40, 400);
}
done_testing;
