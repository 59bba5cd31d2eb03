# What a student reads when something is wrong: one sentence that says what, one that says what to
# do; what the server passes through is waited for, and said once.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $program = GannClass::worker_program();
my $ann = $class->student('ann');

sub run_worker {
    my (@arguments) = @_;
    return $class->run({ timeout => 100 },
        $program, $ann, '--data', $class->data, '--threads', 1, @arguments);
}

sub no_sql {
    my ($text, $name) = @_;
    return unlike $text, qr/\b(?:SELECT|GRANT|ALTER|CALL)\b|=>/, "$name: no SQL";
}
my ($status, $output);

# ---- several runs: by name or by number
my $alpha = $class->create_run('alpha', target_iterations => 100000, units_per_iteration => 6);
my $beta = $class->create_run('beta', target_iterations => 1, units_per_iteration => 1);
($status, $output) = run_worker();
is $status, 2, 'two runs, and none named';
is $output, "This class has 2 runs.\nChoose one with --run: \"alpha\", \"beta\".\n",
    'the runs, and how to choose';
($status, $output) = run_worker('--run', 'gamma');
is "$status $output",
    "2 There is no run named \"gamma\".\nChoose one with --run: \"alpha\", \"beta\".\n",
    'a run that is not there';
$class->psql("SELECT gan_start($alpha), gan_start($beta)");
my $coordinator = $class->start_background(
    { name => 'coordinator' },
    $class->{bindir} . '/psql',
    '-Xq', '-h', $class->host, '-p', $class->port, '-U', 'postgres', '-d', $class->database,
    '-c', "CALL gan_coordinate(300, $beta)"
);
($status, $output) = run_worker('--run', $beta, '--once');
is $status, 0, 'a run by its number' or diag $output;
like $output, qr/^joined run "beta"/m, 'is the one';

# ---- Ctrl-C: what was submitted and not averaged yet waits for the next step (nobody takes
# alpha's)
my $five = $class->worker('ann', '--run', 'alpha');
ok $class->poll_until("SELECT count(*) FROM gan_work_unit WHERE run = $alpha AND state = 'done'",
    '6', 60),
    'six units are submitted';
$class->signal($five, 'INT');
is $class->wait_for($five, 30), 0, 'Ctrl-C';
like $class->log_of($five),
    qr/^submitted 6 units in .*\naveraged into the model so far, .* 0 units, 0 images; 6 wait for the next step$/m,
    'six wait for the next step';

# ---- threads
my $cores = `nproc` + 0;
my $many = $class->worker({ name => 'threads' }, 'ann', '--run', 'alpha', '--threads', $cores + 1);
ok $class->wait_for_log(
    $many,
    qr/^--threads @{[$cores + 1]} is more than the $cores cores? of this computer, which makes it slower\.\nUse --threads $cores\.$/m,
    30
    ),
    'more threads than cores';
my $some = $class->start_background({ name => 'default-threads' },
    $program, $ann, '--data', $class->data, '--run', 'alpha', '--name', 'other');
ok $class->wait_for_log($some, qr/^computing with \d+ of $cores cores? \(--threads changes it\)$/m,
    30),
    'how many compute, where nobody said';
for my $pid ($many, $some) { $class->signal($pid, 'INT'); $class->wait_for($pid, 30) }

# ---- --check: one remedy; what could not be tried is no fault
sub checked {
    my ($uri, @more) = @_;
    ($status, $output) =
        $class->run({ timeout => 100 }, $program, $uri, '--data', $class->data, '--check', @more);
    return $output;
}
is checked($class->uri('ann', 'wrong')),
    <<"END", '--check with a wrong password: one remedy, and what was not tried is no fault';
connection NOT OK Password authentication failed for user "ann".
                  Copy the whole connection string again, or ask your instructor for a new one.
TLS        not tried
clock      not tried
role       not tried
run        not tried
link       not tried
dataset    ok     60000 images in IDX file train-images-idx3-ubyte.gz, digest 0dfde18c63c6787ab029d04d59b6eafae962d32a10d34822dcfb526ca4383d88
speed      not tried
END
is $status, 2, 'which only a person can mend';
like checked($ann =~ s/:\d+\//:1\//r),
    qr/\Aconnection NOT OK 127\.0\.0\.1 refuses connections on port 1: no server runs there\.\n +Check the host and the port in your connection string, or try again\.\nTLS +not tried\n/,
    'a server that is away';
is $status, 1, 'which may come back';
like checked($ann), qr/^run +NOT OK This class has 2 runs\.|^run +ok/m, 'the run';

# ---- read only for a while
my $stay = $class->worker({ name => 'stay' }, 'bo', '--run', 'alpha');
ok $class->wait_for_log($stay, qr/^joined run/m, 30), 'a worker';

sub setting {
    my ($value) = @_;
    $class->psql(
        "SET default_transaction_read_only = off;
            ALTER DATABASE train $value default_transaction_read_only"
            . ($value eq 'SET' ? ' = on' : '')
    );
    $class->psql(
        q{SELECT pg_terminate_backend(pid)
                    FROM pg_stat_activity
                    WHERE application_name = 'gan_worker'}, db => 'postgres'
    );
}
setting('SET');
ok $class->wait_for_log(
    $stay,
    qr/^The server accepts no changes at the moment: maintenance, or a failover\.\nThere is nothing to do: trying again until the server answers\.$|session/m,
    30
    ),
    'the database is read only';
sleep 4;
ok $class->is_running($stay), 'the worker stays';
setting('RESET');
my $before = $class->psql(
    "SELECT coalesce(max(last_seen), '-infinity') FROM gan_worker
        WHERE run = $alpha
        AND login = 'bo'"
);
ok $class->poll_until(
    "SELECT max(last_seen) > '$before' FROM gan_worker
        WHERE run = $alpha
        AND login = 'bo'", 't', 60
    ),
    'and continues when it is not any more';
cmp_ok scalar(() = $class->log_of($stay) =~ /trying again/g), '<=', 2, 'what passes is said once'
    or diag $class->log_of($stay);
# ---- the login is taken away: final
$class->psql(q{ALTER ROLE bo NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'bo'});
is $class->wait_for($stay, 60), 2, 'a login that may not come in any more ends it';
like $class->log_of($stay),
    qr/^Role "bo" is not permitted to log in\.\nCheck the login in your connection string; if it is right, tell your instructor: .*\.$/m,
    'and says why';
no_sql($class->log_of($stay), 'a worker\'s whole log');

# ---- the next run
$class->psql("SELECT gan_stop($alpha)");
my $lasting = $class->start_background({ name => 'lasting' },
    $program, $ann, '--data', $class->data, '--threads', 1);
ok $class->wait_for_log($lasting,
    qr/^run "beta" is finished; waiting for the next run \(Ctrl-C ends the program\)$/m, 30),
    'when all runs are over the program waits for the next one';
is $class->psql(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'gan_worker'
        AND state = 'active'}),
    '0', 'and asks for nothing meanwhile';
for my $name ('next', 'third') {
    my $next = $class->create_run($name, target_iterations => 1, units_per_iteration => 1);
    $class->psql("SELECT gan_start($next)");
    my $step = $class->coordinate(60);
    ok $class->poll_until("SELECT state FROM gan_run WHERE run = $next", 'finished', 60),
        "it computes the run $name, too"
        or diag $class->log_of($lasting);
    $class->wait_for($step, 30);
}
ok $class->wait_for_log($lasting, qr/^joined run "third".*\n(?s:.*)waiting for the next run/m, 30),
    'and waits again';
$class->signal($lasting, 'INT');
is $class->wait_for($lasting, 20), 0, 'until Ctrl-C';
my ($said) = $class->log_of($lasting) =~ /\A(?s:.*?)waiting for the next run.*?\n((?s:.*?))joined/;
unlike $said // '', qr/waiting/, 'which is said once';

# ---- a class without a run
$class->psql("SELECT gan_drop_run(run) FROM gan_run");
my $early = $class->start_background({ name => 'early' },
    $program, $ann, '--data', $class->data, '--threads', 1, '--once');
is $class->wait_for($early, 30), 2, 'no run yet, and --once';
is $class->log_of($early), "This class has no run yet.\nAsk your instructor when it begins.\n",
    'is said';
$early = $class->start_background({ name => 'early' },
    $program, $ann, '--data', $class->data, '--threads', 1);
ok $class->wait_for_log($early, qr/^This class has no run yet; waiting for the next run/m, 30),
    'without --once it waits for the first one';
$class->signal($early, 'INT');
is $class->wait_for($early, 20), 0, 'until Ctrl-C';
done_testing;
