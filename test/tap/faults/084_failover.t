# The primary dies and a standby that lacked its last steps takes its place: workers find it by
# themselves, compute the lost iterations again, and a worker that still holds lost weights
# recognises them as lost.
use strict;
use warnings;
use Test::More;
use IO::Socket::INET;
use GannClass;

plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $primary = GannClass->new;
my $run = $primary->create_run(
    'failover',
    units_per_iteration => 2,
    images_per_unit => 8,
    lease_seconds => 60,
    target_iterations => 1000
);
$primary->psql("SELECT gan_start($run)");
$primary->student($_) for 'ann', 'bo';
my $standby = GannClass->new(standby_of => $primary);
ok $standby->poll_until('SELECT status FROM pg_stat_wal_receiver', 'streaming', 60),
    'a standby follows the primary';

# What a student is given where there is a standby
my ($old, $new) = ($primary->port, $standby->port);
s{\@127\.0\.0\.1:$old/(\w+)}{\@127.0.0.1:$old,127.0.0.1:$new/$1?target_session_attrs=read-write}
    for values %{ $primary->{students} };
my %worker = map { $_ => $primary->worker({ env => { GANN_TEST_PAUSE_MS => 500 } }, $_) } 'ann',
    'bo';

# The steps are taken here, one by one, so that it is known who holds what.
sub step {
    my $server = shift;
    return $server->poll_until("SELECT gan_tick($run)", qr/^step/, 120);
}

sub digests {
    return {
        map { split /\|/ } split /\n/,
        $_[0]->psql(
            "SELECT iteration,
            encode(weights_digest, 'hex')
        FROM gan_history
        WHERE run = $run"
        )
    };
}
step($primary) for 1 .. 3;
ok $standby->poll_until("SELECT iteration FROM gan_run WHERE run = $run", '3', 60),
    'three steps have come to the standby';
$standby->configure("primary_conninfo = ''");
ok $standby->poll_until('SELECT count(*) FROM pg_stat_wal_receiver', '0', 60), 'then it is cut off';
step($primary) for 4 .. 6;
ok $primary->poll_until(
    "SELECT count(*) > 0 FROM gan_work_unit u JOIN gan_worker w USING (worker)
        WHERE u.run = $run
        AND iteration = 6
        AND state = 'done'
        AND w.login = 'bo'", 't', 60
    ),
    'a worker has done a unit of iteration 6: it holds its weights';
$primary->signal($worker{bo}, 'STOP');
my $lost = digests($primary);
$primary->stop('immediate');
$standby->promote;

is $standby->psql("SELECT iteration FROM gan_run WHERE run = $run"), '3',
    'the standby, promoted, has iteration 3 and knows nothing of three more steps';
# Steps of another length: what is done again leads elsewhere, so that nobody can use the lost
# weights unnoticed.
$standby->psql(
    "UPDATE gan_run
        SET generator_learning_rate = 0.01, discriminator_learning_rate = 0.01
        WHERE run = $run"
);
step($standby) for 4 .. 6;
my $again = digests($standby);
is join(' ', sort keys %{$again}), join(' ', 0 .. 5),
    'a worker has found it by itself and has done the lost iterations again';
is join(' ', grep { $again->{$_} ne $lost->{$_} } 0 .. 5), '3 4 5',
    'they lead elsewhere, those before are the same';
ok $primary->is_running($worker{ann}), 'the worker is the same process';
$primary->signal($worker{ann}, 'TERM');
is $primary->wait_for($worker{ann}, 60), 0, 'and ends when it is asked to';

# The other one wakes up with weights of iteration 6 that are lost, and gets a unit of iteration 6.
$standby->psql(
    "UPDATE gan_work_unit
        SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, lease_seconds = NULL,
            lease_until = NULL
        WHERE run = $run
        AND iteration = 6
        AND state = 'claimed'"
);
$primary->signal($worker{bo}, 'CONT');
ok $standby->poll_until(
    "SELECT count(*) > 0 FROM gan_work_unit u JOIN gan_worker w USING (worker)
        WHERE u.run = $run
        AND iteration = 6
        AND state = 'done'
        AND w.login = 'bo'", 't', 120
    ),
    'who slept through it wakes up and does a unit of the iteration that it had begun before';
my $unit = $standby->psql(
    "SELECT unit FROM gan_work_unit u JOIN gan_worker w USING (worker)
        WHERE u.run = $run
        AND iteration = 6
        AND state = 'done'
        AND w.login = 'bo' ORDER BY unit LIMIT 1"
);
is $standby->psql(
    "SELECT u.weights_nonce = r.weights_nonce FROM gan_work_unit u
        JOIN gan_run r USING (run)
        WHERE unit = $unit"
    ),
    't', 'at the weights that this server has, says their nonce';
SKIP: {
    skip 'python3-numpy and python3-pil are not installed', 1
        if system('/usr/bin/python3 -c "import numpy, PIL" 2>/dev/null');
    my $folder = $standby->folder . '/unit';
    $standby->export_unit($unit, $folder);
    my ($status, $output) = $standby->run(
        { timeout => 120 },
        '/usr/bin/python3', 'test/independent/recompute.py',
        $folder, $standby->data
    );
    is $status, 0,
        'and so says the gradient: an independent program computes the same one at these weights'
        or diag $output;
}
my $coordinator = $standby->coordinate(300);
ok $standby->poll_until("SELECT iteration >= 9 FROM gan_run WHERE run = $run", 't', 120),
    'the class continues';
$standby->psql("SELECT gan_stop($run)");
is $primary->wait_for($worker{bo}, 60), 0, 'and the worker ends with the run';
my $done = $standby->psql("SELECT iteration FROM gan_run WHERE run = $run");
is $standby->psql(
    "SELECT count(*), sum(images), range_agg(positions) FROM gan_history
        WHERE run = $run"
    ),
    sprintf('%d|%d|{[0,%d)}', $done, 16 * $done, 16 * $done),
    'every position was averaged once';
is $standby->psql("SELECT sum(images) FROM gan_worker WHERE run = $run"), 16 * $done,
    'and credited once';

# A host that is silent, as a machine that hangs, is not the first to be asked again.
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8) or die "$!";
my ($status, $output) = $standby->run(
    { timeout => 60 },
    GannClass::worker_program(),
    '--once', '--run', 'failover', '--connect',
    $primary->student('ann') =~ s/127\.0\.0\.1:$old/'127.0.0.1:' . $silent->sockport/er,
    '--data', $standby->data
);
like $output, qr/run "failover" was stopped/, 'a silent host keeps nobody from the next one'
    or diag $output;
done_testing;
