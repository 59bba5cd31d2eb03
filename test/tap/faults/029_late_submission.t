# The server is still processing a submission when its worker has reconnected: the worker is told
# first that the unit is incomplete, then that it comes too late, and yet the unit counts. What
# rounding left of it (int8) must move on, or all later weights are others.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannModule;
use GannProxy;

my $class = GannClass->new(module => GannModule::build('faults', flags => '-DGANN_FAULTS'));
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my %network = (
    local_steps => 2,
    batch => 4,
    images_per_unit => 8,
    units_per_iteration => 1,
    lease_seconds => 60,
    target_iterations => 6,
    upload_element => "'int8'"
);
my ($smooth, $rough) = map { $class->create_run($_, %network) } 'smooth', 'rough';
$class->psql("SELECT gan_start(run) FROM gan_run");
my $proxy = GannProxy->new($class);
$class->{students}{ann} = $proxy->uri($class->student('ann'));
my @psql = (
    $class->{bindir} . '/psql',
    '-X', '-q', '-h', $class->host, '-p', $class->port, '-U', 'postgres', '-d', 'train'
);
my $waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ann' AND wait_event";

# Two steps; then ann's next upload waits before it is committed (advisory lock 4711), and so does
# her next claim but one (a table that only claims read: gan_trust).
my $worker = $class->worker({ env => { GANN_TEST_PAUSE_MS => 700 } }, 'ann', '--run', 'rough');
my $other = $class->worker('bo', '--run', 'smooth');
my $coordinator = $class->coordinate;
ok $class->poll_until("SELECT iteration >= 2 FROM gan_run WHERE run = $rough", 't', 60),
    'two iterations';
$class->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE query LIKE 'CALL gan_coordinate%'});
$class->wait_for($coordinator, 30);
ok $class->poll_until(
    "SELECT u.state FROM gan_work_unit u JOIN gan_run r USING (run, iteration)
        WHERE run = $rough", 'done', 60
    ),
    'the next unit is in';
my $iteration = $class->psql("SELECT iteration FROM gan_run WHERE run = $rough");
$class->psql(q{ALTER ROLE ann SET gann_test.fault = 'upload_stored:wait:2';
            SELECT pg_terminate_backend(pid)
        FROM pg_stat_activity
        WHERE usename = 'ann'});
$class->start_background(
    { name => 'upload gate' }, @psql, '-c', 'SELECT pg_advisory_lock(4711),
            pg_sleep(600)'
);
$class->poll_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted", '1',
    30);
$class->psql("SELECT gan_tick($rough)");
ok $class->poll_until(
    "SELECT u.state FROM gan_work_unit u JOIN gan_run r USING (run, iteration)
        WHERE run = $rough", 'claimed', 60
    ),
    'ann has claimed another';
my $unit = $class->psql(
    "SELECT unit FROM gan_work_unit u JOIN gan_run r USING (run, iteration)
        WHERE run = $rough"
);
$class->start_background(
    { name => 'claim gate' }, @psql, '-c',
    'BEGIN; LOCK TABLE gan_trust IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)'
);
ok $class->poll_until("$waiting = 'advisory'", '1', 60), 'her upload is stored, and not committed';
$proxy->cut_when_quiet;    # behind her submission
ok $class->poll_until("$waiting = 'relation'", '1', 60),
    'on a new one she was told that it is incomplete, and claims';
is $class->psql("SELECT state FROM gan_work_unit WHERE unit = $unit"), 'claimed',
    'the unit is not in';
$class->psql(
    "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory'
        AND granted"
);
ok $class->poll_until("SELECT state FROM gan_work_unit WHERE unit = $unit", 'done', 60),
    'now the server continues, and takes the unit';
$class->psql(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE query LIKE '%pg_sleep(600)%'
        AND pid <> pg_backend_pid()"
);
$class->psql('ALTER ROLE ann RESET ALL');
$class->coordinate;
is $class->wait_for($worker, 120), 0, 'the worker continues to the end of the run';
is $class->wait_for($other, 120), 0, 'and so does the other class';
unlike $class->log_of($worker), qr/came too late/, 'it learned that the unit counts';
is $class->psql("SELECT attempts FROM gan_work_unit WHERE unit = $unit"), '1',
    'which was computed once';
is $class->psql(
    "SELECT count(*), min(iteration) FILTER (WHERE a.weights_digest <> b.weights_digest)
        FROM gan_history a JOIN gan_history b USING (iteration)
        WHERE a.run = $rough
        AND b.run = $smooth"
    ),
    '6|', 'all weights are those of the class whose network never failed';
done_testing;
