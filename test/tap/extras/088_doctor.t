# gan_doctor: each check turns when what it looks at is changed, and its remedy, pasted as it
# stands, turns it back.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannTest qw(long_run);
use GannWire;

my $cron = -e '/usr/share/postgresql/15/extension/pg_cron.control';
my @libraries = ('gannsfriends', $cron ? 'pg_cron' : ());
my $class = GannClass->new(
    durable => 1,
    conf => [
        "shared_preload_libraries = '" . join(',', @libraries) . q{'},
        $cron ? "cron.database_name = 'train'" : (),
        q{shared_buffers = '256MB'},
        'superuser_reserved_connections = 5'
    ]
);
my $run =
    $class->create_run('class', latent => 2, generator_features => 1, discriminator_features => 1);
$class->student('ann');
$class->psql('CREATE EXTENSION pg_cron') if $cron;

sub state_of {
    return $class->psql(
        "SELECT state FROM gan_doctor(everything => true)
        WHERE item = '$_[0]'"
    );
}

sub becomes {
    my ($item, $state, $why) = @_;
    return ok $class->poll_until(
        "SELECT state
            FROM gan_doctor(everything => true)
        WHERE item = '$item'", $state, 10
        ),
        "$item: $state $why";
}

# The remedy of a check, as it stands; to the other databases those commands go one by one.
sub paste {
    my ($item) = @_;
    my $remedy = $class->psql(
        "SELECT remedy FROM gan_doctor()
        WHERE item = '$item'"
    );
    return $class->psql($remedy);
}

# A fresh server: what it lacks is found, and all that SQL can do is done by what is pasted.
my %fresh = map { split /\|/, $_, 2 } split /\n/, $class->psql(
    'SELECT item, state
        FROM gan_doctor(everything => true)'
);
cmp_ok scalar(keys %fresh), '>', 40, scalar(keys %fresh) . ' checks';
is $fresh{$_}, 'fix', "a fresh server: $_"
    for 'CONNECT for everybody', 'log_parameter_max_length', 'tcp_keepalives_idle';
is $fresh{$_}, 'ok', "a fresh server: $_"
    for 'guard', 'watchdog', 'fsync', 'superuser_reserved_connections', 'shared_buffers';
my @lines = split /\n/, $class->psql('SELECT gan_doctor_sql()');
cmp_ok scalar(@lines), '>', 20, 'gan_doctor_sql() prints what is to be done';
$class->psql(join "\n", @lines);

sub left {
    return $class->psql(q{SELECT string_agg(item, ', ' ORDER BY item) FROM gan_doctor()
        WHERE state <> 'ok'});
}
ok $class->poll_until(
    q{SELECT count(*) FROM gan_doctor()
        WHERE state <> 'ok'
        AND item NOT IN ('reach', 'coordinator', 'data checksums', 'memory')}, '0', 10
    ),
    'pasted as it stands it mends all that SQL can mend'
    or diag left();

$class->psql('SELECT cron.unschedule(jobid) FROM cron.job') if $cron;

# What is not seen is said, and an instructor who is no superuser gets an answer.
$class->psql(
    'CREATE ROLE teacher LOGIN; GRANT gan_owner TO teacher; GRANT CONNECT ON DATABASE train
            TO teacher'
);
is $class->psql(
    q{SELECT string_agg(state, ' ') FROM gan_doctor()
        WHERE item IN ('pg_hba.conf', 'stored passwords')}, user => 'teacher'
    ),
    'warn warn', 'who may not see something is told so';

# Each setting, turned and turned back by its remedy.
my %bad = (
    fsync => 'off',
    full_page_writes => 'off',
    synchronous_commit => 'off',
    autovacuum => 'off',
    track_activities => 'off',
    password_encryption => 'md5',
    log_parameter_max_length => -1,
    log_parameter_max_length_on_error => -1,
    tcp_keepalives_idle => 7200,
    tcp_keepalives_interval => 75,
    tcp_keepalives_count => 10,
    client_connection_check_interval => 0,
    authentication_timeout => '60s',
    max_wal_size => '1GB',
);
for my $setting (sort keys %bad) {
    $class->psql("ALTER SYSTEM SET $setting = '$bad{$setting}'; SELECT pg_reload_conf()");
    ok $class->poll_until("SELECT state FROM gan_doctor() WHERE item = '$setting'",
        qr/^(fix|warn)$/, 10),
        "$setting = $bad{$setting}: found";
    paste($setting);
    becomes($setting, 'ok', 'after its remedy');
}
for my $case (
    [ 'gannsfriends.guard', 'off', 'guard' ],
    [ 'gannsfriends.watchdog_seconds', '0', 'watchdog' ],
    [ 'gannsfriends.watchdog_seconds', '3600', 'watchdog' ]
    )
{
    my ($setting, $value, $item) = @$case;
    $class->psql("ALTER SYSTEM SET $setting = '$value'; SELECT pg_reload_conf()");
    becomes($item, 'fix', "with $setting = $value");
    paste($item);
    becomes($item, 'ok', 'after its remedy');
}

# Rights, roles and passwords.
for my $case (
    (
        map { [ 'limits of students', "ALTER ROLE ann IN DATABASE train RESET $_", 'warn' ] }
        qw(idle_session_timeout idle_in_transaction_session_timeout temp_file_limit log_min_error_statement)
    ),
    [
        'limits of students',
        'ALTER ROLE ann IN DATABASE train SET idle_session_timeout = 0', 'warn'
    ],
    [ 'CONNECT for everybody', 'GRANT CONNECT ON DATABASE train TO PUBLIC', 'fix' ],
    [
        'CONNECT for students',
        'REVOKE CONNECT ON DATABASE train FROM gan_student, gan_viewer', 'fix'
    ],
    [ 'CONNECT for viewers', 'REVOKE CONNECT ON DATABASE train FROM gan_viewer', 'fix' ],
    [ 'TEMPORARY for everybody', 'GRANT TEMPORARY ON DATABASE train TO PUBLIC', 'warn' ],
    [ 'other databases', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC', 'warn' ],
    [ 'CREATE in schemas', 'GRANT CREATE ON SCHEMA public TO PUBLIC', 'fix' ],
    [ 'languages', 'GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC', 'warn' ],
    [
        'functions of PostgreSQL',
        'GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC', 'warn'
    ],
    [ 'privileges of students', 'ALTER ROLE ann CREATEDB', 'fix' ],
    [ 'other roles of students', 'GRANT pg_read_all_data TO ann', 'fix' ],
    [ 'superusers among students', 'GRANT gan_student TO postgres', 'fix' ],
    [ 'connections of a student', 'ALTER ROLE ann CONNECTION LIMIT -1', 'fix' ],
    [ 'settings of students', q{ALTER ROLE ann IN DATABASE train SET work_mem = '1GB'}, 'warn' ],
    [ 'settings of students', q{ALTER ROLE ann SET work_mem = '1GB'}, 'warn' ],
    [
        'stored passwords',
        q{SET password_encryption = 'md5'; ALTER ROLE ann PASSWORD 'weak'}, 'fix'
    ],
    )
{
    my ($item, $break, $state) = @$case;
    $class->psql($break);
    is state_of($item), $state, "$item: $state after $break";
    paste($item);
    is state_of($item), 'ok', "$item: ok after its remedy";
}
$class->psql('ALTER FUNCTION gan_tick(int) OWNER TO postgres');
is state_of('owner of the extension'), 'fix', 'a function of a superuser\'s is found';
unlike $class->psql('SELECT gan_doctor_sql()'), qr/^\s*DROP\b/m,
    'what is pasted as it stands deletes nothing';
$class->psql('ALTER FUNCTION gan_tick(int) OWNER TO gan_owner');
is state_of('owner of the extension'), 'ok', 'and is not any more';

# The class.
$class->psql(
    "INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, last_seen)
        VALUES ($run, 'ann', 'x', 1, 1, '', '', now() + interval '1 h')"
);
is state_of('clock'), 'fix', 'a clock that was put back is found';
$class->psql('UPDATE gan_worker SET last_seen = now()');
is state_of('clock'), 'ok', 'and one that was not is not';
$class->psql(q{DO $$ BEGIN FOR i IN 1 .. 40 LOOP PERFORM gan_enroll('s' || i); END LOOP; END $$});
is state_of('max_connections'), 'warn', 'fifty connections are few for forty-one students';
like $class->psql(q{SELECT finding FROM gan_doctor() WHERE item = 'memory'}),
    qr/students' 164 sessions may take 20\.5 GB/,
    'and the memory that they may ask for is added up';
$class->psql(q{DO $$ BEGIN FOR i IN 1 .. 40 LOOP EXECUTE 'DROP ROLE s' || i; END LOOP; END $$});
is state_of('max_connections'), 'ok', 'but not for one';

# pg_hba.conf, and a login that comes from three addresses.
my $hba = "$class->{data}/pg_hba.conf";
my $lines = do { open my $in, '<', $hba or die; local $/; <$in> };

sub write_hba {
    open my $out, '>', $hba or die;
    print $out $_[0], $lines;
    close $out;
    $class->psql('SELECT pg_reload_conf()');
    return;
}
write_hba("host train ann 127.0.0.0/24 trust\n");
becomes('pg_hba.conf', 'fix', 'with a line that trusts');
my @sessions = map {
    my $n = $_;
    my $wire;
    for (1 .. 20) {
        last if $wire = eval { GannWire->new($class, 'ann', from => "127.0.0.$n") };
        sleep 1;
    }
    $wire
} 1 .. 3;
is state_of('addresses of a login'), 'warn', 'a login that comes from three addresses is found';
@sessions = ();
becomes('addresses of a login', 'ok', 'when they are gone');
write_hba('');
becomes('pg_hba.conf', 'ok', 'without it');

# The coordinator. (What was pasted above has switched the server's on.)
$class->psql('ALTER SYSTEM SET gannsfriends.coordinator = off; SELECT pg_reload_conf()');
ok $class->poll_until('SELECT gan_background_coordinator()', 'off', 10),
    'the server does not coordinate by itself';
$class->psql("SELECT gan_start($run)");
is state_of('coordinator'), 'fix', 'a run that nobody coordinates is found';
my $coordinator = $class->coordinate(60);
becomes('coordinator', 'warn', 'if a session coordinates that nothing would start again');
$class->signal($coordinator, 'TERM');
$class->wait_for($coordinator, 10);
SKIP: {
    skip 'postgresql-15-cron is not installed', 4 if !$cron;
    becomes('coordinator', 'fix', 'when it is gone');
    paste('coordinator');
    becomes('coordinator', 'ok', 'when the server coordinates by itself')
        or diag $class->psql(q{SELECT finding, gan_background_coordinator()
            FROM gan_doctor(everything => true)
            WHERE item = 'coordinator'}),
        substr $class->server_log, -3000;
    $class->psql(q{ALTER SYSTEM SET gannsfriends.coordinator = off; SELECT pg_reload_conf();
                CREATE EXTENSION IF NOT EXISTS pg_cron; SELECT cron.schedule('gannsfriends',
                '* * * * *', 'CALL gan_coordinate(58)')});
    $class->psql(q{INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username,
                command, status, start_time) SELECT jobid, 1000000, 1, 'train', 'postgres', command,
                'succeeded', now()
            FROM cron.job});
    becomes('coordinator', 'ok', 'with a job of pg_cron that ran lately');
    $class->psql(
        'UPDATE cron.job SET active = false; UPDATE cron.job_run_details
            SET start_time = now() - interval \'1 h\''
    );
    becomes('coordinator', 'fix', 'with one that is switched off');
}

if (long_run()) {
    my $old = $class->start_background({ name => 'old' }, 'sh', '-c',
              "(echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;'; sleep 200) | psql -Xqh "
            . $class->host . ' -p '
            . $class->port
            . ' -U postgres train');
    ok $class->poll_until(q{SELECT state FROM gan_doctor() WHERE item = 'old snapshots'},
        'warn', 180),
        'a snapshot of two minutes is found';
    paste('old snapshots');
    becomes('old snapshots', 'ok', 'after its remedy');
}

# What takes a restart.
$class->configure(
    "shared_preload_libraries = ''",
    "shared_buffers = '64MB'",
    'superuser_reserved_connections = 3',
    'max_prepared_transactions = 5',
    "listen_addresses = '127.0.0.1,127.0.0.2'",
    'fsync = on'
);
$class->restart;
for my $case (
    [ 'guard', 'fix' ],
    [ 'watchdog', 'warn' ],
    [ 'reach', 'fix' ],
    [ 'shared_buffers', 'warn' ],
    [ 'superuser_reserved_connections', 'warn' ],
    [ 'max_prepared_transactions', 'warn' ],
    [ 'TLS', 'fix' ],
    [ 'data checksums', 'warn' ]
    )
{
    is state_of($case->[0]), $case->[1],
        "after a restart with other settings: $case->[0]: $case->[1]";
}
is $class->psql('SELECT gan_guard()'), 'not loaded', 'nothing guards';
$class->psql('ALTER ROLE ann IN DATABASE train SET idle_session_timeout = 0');
is state_of('watchdog'), 'fix', 'nor do time-outs end sessions';
paste('watchdog');
is state_of('watchdog'), 'warn', 'with time-outs, which a session may change';
paste('guard');
$class->restart;
is state_of('guard'), 'ok', 'the remedy loads the guard';
my ($status, $output) =
    $class->_as_server("$class->{bindir}/pg_ctl", '-D', $class->{data}, '-w', '-s', 'stop');
is + ($class->_as_server("$class->{bindir}/pg_checksums", '--enable', '-D', $class->{data}))[0], 0,
    'checksums are switched on';
$class->start;
is state_of('data checksums'), 'ok', 'and found';
done_testing;
