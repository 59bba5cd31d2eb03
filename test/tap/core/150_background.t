# The server coordinates by itself: a background worker where a run is under way, none where there
# is none.
use strict;
use warnings;
use Test::More;
use GannClass;
use Time::HiRes qw(sleep time);

my $class = GannClass->new(
    conf => [
        "shared_preload_libraries = 'gannsfriends'",
        'gannsfriends.coordinator = on',
        'max_worker_processes = 8'
    ]
);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $there =
    q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'gannsfriends coordinator'};

sub finish {
    my ($run, $seconds) = @_;
    return $class->poll_until(
        "SELECT state FROM gan_run
        WHERE run = $run", 'finished', $seconds // 60
    );
}

is $class->psql('SELECT gan_background_coordinator()'), 'idle', 'the server says that it does';
my $doctor =
    q{SELECT state, finding FROM gan_doctor(everything => true) WHERE item = 'coordinator'};
is $class->psql($doctor), 'ok|the server coordinates by itself, as soon as a run is started',
    'and so does gan_doctor';
is $class->psql(q{SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'gannsfriends launcher'
        AND datname IS NULL}),
    '1', 'the launcher is connected to no database';
ok $class->poll_until($there, '0', 10), 'where no run is under way, nor is anything else';

# ---- nobody calls anything
my $run = $class->create_run('alone', target_iterations => 6);
$class->psql("SELECT gan_start($run)");
ok $class->poll_until($there, '1', 10), 'gan_start brings a coordinator';
is $class->psql($doctor), 'ok|the server coordinates by itself', 'gan_doctor says who it is';
is $class->psql(q{SELECT application_name || ' ' || (datname = current_database())
        FROM pg_stat_activity
        WHERE backend_type = 'gannsfriends coordinator'}),
    'gannsfriends coordinator true',
    'which is seen in pg_stat_activity';
is $class->wait_for($_, 120), 0, 'a worker works to the end'
    for map { $class->worker($_) } 'ann', 'bob';
ok finish($run), 'the run is trained';
ok $class->poll_until($there, '0', 10), 'and nothing is connected any more';
is $class->psql("SELECT count(*) FROM gan_sheet WHERE run = $run AND iteration = 6"), '1',
    'its sheets are drawn';

# ---- a lease that ends, with nobody who asks
$run = $class->create_run(
    'lease',
    target_iterations => 2,
    lease_seconds => 2,
    dataset_images => 60000,
    dataset_digest => "decode(repeat('00', 32), 'hex')"
);
$class->psql("SELECT gan_start($run)");
my $gone = $class->psql(
    "SELECT gan_join($run, 'gone', 60000, decode(repeat('00', 32), 'hex'), 1, 1,
            '', '')"
);
isnt $class->psql("SELECT unit FROM gan_claim($gone)"), '', 'a unit is claimed and left';
ok $class->poll_until("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'pending'",
    '2', 8),
    'it is given out again when its lease is over';
$class->psql("SELECT gan_stop($run)");
ok $class->poll_until($there, '0', 40), 'gan_stop ends the coordinator';

# ---- switched off while nobody asks; and a run that arrives under way, as after a restore
$run = $class->create_run('quiet', target_iterations => 2);
$class->psql("SELECT gan_start($run)");
ok $class->poll_until($there, '1', 10), 'a run is under way, and nobody there';
$class->configure('gannsfriends.coordinator = off');
ok $class->poll_until($there, '0', 10), 'the setting switches its coordinator off';
$class->configure('gannsfriends.coordinator = on');
ok $class->poll_until($there, '1', 10), 'and on';
$class->psql("SELECT gan_stop($run)");
ok $class->poll_until('SELECT gan_background_coordinator()', 'idle', 10),
    'there is nothing to coordinate';
$run = $class->create_run('restored', target_iterations => 2);
$class->psql(
    "UPDATE gan_run SET state = 'running', iteration_started_at = now()
        WHERE run = $run; SELECT gan_open_units($run)"
);
my $asks = $class->worker('ann', '--run', 'restored');
ok finish($run), 'a run of which no gan_start told continues when a worker asks';
is $class->wait_for($asks, 60), 0, 'to its end';

# ---- a unit that somebody keeps locked, where the quorum is in without it
$run = $class->create_run(
    'hoarded',
    target_iterations => 3,
    lease_seconds => 1,
    units_per_iteration => 3,
    quorum => 2
);
$class->psql("SELECT gan_start($run)");
my $hoarder = $class->start_background(
    { name => 'hoarder' }, $class->{bindir} . '/psql', '-X', '-h', $class->host, '-p',
    $class->port, '-U', 'postgres', '-d', 'train',
    '-c', "BEGIN; SELECT FROM gan_work_unit
            WHERE run = $run
            AND first_position = 0 FOR UPDATE; SELECT pg_sleep(600)"
);
ok $class->poll_until(
    "SELECT count(*) FROM pg_stat_activity
        WHERE query LIKE '%pg_sleep(600)%'
        AND wait_event = 'PgSleep'", '1', 30
    ),
    'a unit is locked and kept';
my $alone = $class->worker('ann', '--run', 'hoarded');
ok finish($run), 'the run continues without it';
is $class->wait_for($alone, 60), 0, 'and its worker';
$class->signal($hoarder, 'TERM');
ok $class->poll_until('SELECT gan_background_coordinator()', 'idle', 10),
    'then there is nothing to coordinate';
unlike $class->server_log, qr/ERROR: |exited with exit code 1/,
    'and all that went without an error';

# ---- it is ended, the server is restarted, or crashes: the run continues
$run = $class->create_run('through', target_iterations => 40);
$class->psql("SELECT gan_start($run)");
my @workers = map { $class->worker($_) } 'ann', 'bob';

sub goes_on {
    my $name = shift;
    my $from = $class->psql(
        "SELECT iteration FROM gan_run
        WHERE run = $run"
    );
    return ok $class->poll_until(
        "SELECT iteration > $from + 1
                OR state = 'finished' FROM gan_run
                WHERE run = $run", 't', 60
    ), $name;
}
goes_on('it trains');
$class->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'gannsfriends coordinator'});
goes_on('after its coordinator was ended, with another one');
$class->restart('fast');
goes_on('after a restart');
my $pid = $class->psql(q{SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'gannsfriends coordinator'});
kill 'KILL', $pid if $pid;
ok $class->poll_until('SELECT 1', '1', 30),
    'a coordinator that is killed takes the server with it, which recovers';
goes_on('after that');

# ---- by the setting; and another one does no harm
$class->configure('gannsfriends.coordinator = off');
ok $class->poll_until($there, '0', 10), 'the setting switches it off';
is $class->psql('SELECT gan_background_coordinator()'), 'off', 'which it says';
my $other = $class->coordinate(60);
goes_on('with gan_coordinate instead');
$class->configure('gannsfriends.coordinator = on');
ok $class->poll_until($there, '1', 30), 'the setting switches it on again';
goes_on('with both');
ok finish($run, 120), 'to the end';
is $class->wait_for($_, 60), 0, 'a worker worked to the end' for @workers;
is $class->psql("SELECT count(*) FROM gan_history WHERE run = $run"), '40', 'each step once';
$class->psql(q{SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE query ~ '^CALL gan_coordinate'});
$class->wait_for($other, 10);

# ---- what runs in it is gan_owner's, and can't become a superuser's
$run = $class->create_run('evil', target_iterations => 2);
$class->psql(q{CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE LOG ''evil is %'', current_user; SET SESSION AUTHORIZATION postgres; RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER evil AFTER UPDATE ON gan_run DEFERRABLE INITIALLY DEFERRED FOR EACH
        ROW WHEN (NEW.iteration = 1) EXECUTE FUNCTION evil()});
$class->psql("SELECT gan_start($run)");
my $tempted = $class->worker('ann', '--run', 'evil');
ok $class->poll_until("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'done'",
    '2', 60),
    'a step is due';
my $until = time + 20;
sleep 0.1
    until $class->server_log =~
    /cannot set parameter "session_authorization" within security-definer function/
    || time > $until;
cmp_ok time, '<=', $until, 'a deferred trigger can not become a superuser';
like $class->server_log, qr/evil is gan_owner/, 'it is gan_owner';
$class->psql('DROP TRIGGER evil ON gan_run');
ok finish($run), 'and without it the run continues';
is $class->wait_for($tempted, 60), 0, 'to its end';

# ---- databases come and go
$class->psql("CREATE DATABASE second TEMPLATE template0", db => 'postgres');
$class->psql('CREATE SCHEMA "class of 9"; CREATE EXTENSION gannsfriends SCHEMA "class of 9"',
    db => 'second');
$class->psql(
    q{SET search_path = "class of 9"; SELECT gan_create_run('second', local_steps => 0,
            images_per_unit => 20, target_iterations => 5); SELECT gan_start()}, db => 'second'
);
ok $class->poll_until(
    q{SELECT datname FROM pg_stat_activity
        WHERE backend_type = 'gannsfriends coordinator'}, 'second', 10
    ),
    'each database has its own coordinator';
my ($state) = $class->psql_fails('DROP DATABASE second', db => 'postgres');
is $state, '55006', 'a database with a run under way is not dropped by mistake';
$class->psql('DROP EXTENSION gannsfriends', db => 'second');
ok $class->poll_until($there, '0', 40), 'without the extension the coordinator ends';
$class->psql('DROP DATABASE second', db => 'postgres');
$class->psql(
    "CREATE DATABASE third; ALTER DATABASE third SET default_transaction_isolation =
            'serializable'", db => 'postgres'
);
$class->psql(
    q{CREATE EXTENSION gannsfriends; SELECT gan_create_run('third', local_steps => 0,
            images_per_unit => 20); SELECT gan_start()}, db => 'third'
);
ok $class->poll_until($there, '1', 10), 'a run is under way';
$class->psql('DROP DATABASE third WITH (FORCE)', db => 'postgres');
ok $class->poll_until($there, '0', 10), 'a database can be dropped by force';
sleep 6;
unlike $class->server_log, qr/database \d+ does not exist/, 'and nobody looks for it';

# ---- where the server has no room for one
my $full = GannClass->new(
    conf => [
        "shared_preload_libraries = 'gannsfriends'",
        'gannsfriends.coordinator = on',
        'max_worker_processes = 3'
    ]
);
$full->psql(q{SELECT gan_create_run('full'); SELECT gan_start()});
ok $full->poll_until(q{SELECT state FROM gan_doctor(everything => true) WHERE item = 'coordinator'},
    'fix', 20),
    'a coordinator that can\'t be started is found';
like $full->psql(q{SELECT remedy FROM gan_doctor() WHERE item = 'coordinator'}),
    qr/^ALTER SYSTEM SET max_worker_processes = 11;/, 'and what helps is said';
like $full->server_log,
    qr/no coordinator can be started: the server has no background worker left/, 'as in the log';
done_testing;
