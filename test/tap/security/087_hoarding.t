# A student who holds on to what everybody needs: each way ends within the watchdog's time, or costs
# the others nothing.
#
# The watchdog's limit is 3 s here, and in the long dose as it comes: 60 s, and then nothing may
# last longer than 75 s.
use strict;
use warnings;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;
use GannTest qw(long_run);
use GannWire;

my $limit = long_run() ? 60 : 3;
my $allowed = $limit + 15;
my $class = GannClass->new(
    conf => [
        "shared_preload_libraries = 'gannsfriends'",
        "gannsfriends.watchdog_seconds = $limit",
        "authentication_timeout = '5s'"
    ]
);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $run = $class->create_run(
    'class',
    units_per_iteration => 8,
    target_iterations => 100000,
    lease_seconds => 5
);
$class->psql("SELECT gan_start($run)");
$class->student($_) for qw(ann eve);
my $coordinator = $class->coordinate(1000);
my $worker = $class->worker('ann');
ok $class->poll_until("SELECT iteration > 2 FROM gan_run WHERE run = $run", 't', 60),
    'a class is at work';
my $eve = $class->psql(q{SELECT gan_run_config()}) && do {
    my $wire = GannWire->new($class, 'eve');
    my $dataset = $class->psql(
        "SELECT format('%L, %L', dataset_images, dataset_digest) FROM gan_run
            WHERE run = $run"
    );
    $wire->send(GannWire::parse("SELECT gan_join($run, 'eves', $dataset, 1, 1, '', '')")
            . GannWire::bind_to()
            . GannWire::execute()
            . GannWire::sync());
    my ($row) = grep { $_->[0] eq 'D' } $wire->receive(10);
    substr $row->[1], 6;
};
like $eve, qr/^\d+$/, 'Eve is a student of it';

sub goes_on {
    return $class->poll_until("SELECT iteration > $_[0] FROM gan_run WHERE run = $run", 't', 30);
}
sub iteration { return $class->psql("SELECT iteration FROM gan_run WHERE run = $run") }

sub ends {
    my ($wire, $what) = @_;
    my $before = iteration();
    my $seconds = $wire->ended($allowed);
    ok defined $seconds, sprintf('%s: ended after %.1f s', $what, $seconds // -1);
    ok goes_on($before), "$what: the class went on";
    return;
}

# What the guard refuses at once.
my $claim = "SELECT unit FROM gan_claim($eve)";
my $wire = GannWire->new($class, 'eve');
for my $case (
    [ 'an open transaction', 'BEGIN' ],
    [ 'a savepoint', 'SAVEPOINT a' ],
    [ 'a transaction prepared', q{PREPARE TRANSACTION 'x'} ],
    [ 'a setting', 'SET statement_timeout = 0' ],
    [ 'memory', q{SET work_mem = '100GB'} ],
    [ 'a lazy commit', 'SET synchronous_commit = off' ],
    [ 'a setting by function', q{SELECT set_config('work_mem', '1GB', false)} ],
    [ 'a setting of the login', q{ALTER ROLE eve SET work_mem = '1GB'} ],
    [ 'another password', q{ALTER ROLE eve PASSWORD 'x'} ],
    [ 'another role', 'SET ROLE gan_student' ],
    [ 'an advisory lock', 'SELECT pg_advisory_lock(1)' ],
    [
        'all locks', 'SELECT pg_advisory_lock(i)
            FROM generate_series(1, 10000000) AS i'
    ],
    [ 'a word', 'NOTIFY gan_run_1' ],
    [ 'a word by function', q{SELECT pg_notify('gan_run_1', '')} ],
    [ 'another channel', 'LISTEN x' ],
    [ 'a long sleep', 'SELECT pg_sleep(3600)' ],
    [ 'a loop', 'DO $$ BEGIN LOOP END LOOP; END $$' ],
    [
        'many rows', 'SELECT count(*)
            FROM generate_series(1, 1000000000)'
    ],
    [ 'recursion', 'WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT FROM r' ],
    [ 'a large text', q{SELECT repeat('x', 1000000000)} ],
    [ 'a query for each row', 'SELECT (SELECT v) FROM (VALUES (1), (2)) AS r (v)' ],
    [
        'a condition that asks', 'SELECT v FROM (VALUES (1), (2)) AS r (v)
            WHERE EXISTS (SELECT v)'
    ],
    [ 'rows for rows', "SELECT gan_iteration_report(0, $run) FROM (VALUES (1), (2)) AS r (v)" ],
    [ 'a cross join', 'SELECT FROM (VALUES (1), (2)) AS a, (VALUES (1), (2)) AS b' ],
    [ 'a power', 'SELECT 9.0 ^ 99999' ],
    [ 'a temporary table', 'CREATE TEMP TABLE t (a int)' ],
    [ 'a cursor', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1' ],
    [ 'a copy', 'COPY (SELECT 1) TO STDOUT' ],
    [ 'a large object', 'SELECT lo_creat(-1)' ],
    [
        'the names of others', 'SELECT rolname
            FROM pg_roles'
    ],
    [ 'the sessions of others', 'SELECT * FROM pg_stat_activity' ],
    [ 'a session\'s end', 'SELECT pg_terminate_backend(1)' ],
    [ 'a library', q{LOAD 'gannsfriends'} ],
    [ 'a checkpoint', 'CHECKPOINT' ],
    )
{
    my ($what, $sql) = @$case;
    $wire->send(GannWire::query($sql));
    is GannWire::state_of($wire->receive(10)), '42501', "$what is refused";
    $wire->send(
        GannWire::parse($sql) . GannWire::bind_to() . GannWire::execute() . GannWire::sync());
    is GannWire::state_of($wire->receive(10)), '42501', "$what is refused in the extended protocol";
}
my $lock = $class->psql(q{SELECT 'pg_advisory_lock(bigint)'::regprocedure::oid});
$wire->send(GannWire::call($lock, pack 'Q>', 1));
is GannWire::state_of($wire->receive(10)), '42501', 'a function call without SQL is refused';
is $class->psql('SELECT count(*) FROM pg_locks WHERE locktype = \'advisory\''), '0',
    'and nobody holds an advisory lock';
for my $sql (
    "LISTEN gan_run_$run", 'UNLISTEN *', 'DISCARD ALL', 'DEALLOCATE ALL',
    'SHOW transaction_read_only', q{SET application_name = 'x'}, "SELECT * FROM gan_credit($eve)",
    "SELECT rank, messages
        FROM gan_standing($eve)", 'SELECT login, student, server_time FROM gan_hello()',
    "SELECT gan_renew(unit => '1', token => NULL)"
    )
{
    $wire->send(GannWire::query($sql));
    is GannWire::state_of($wire->receive(10)), '', "$sql is not";
}
my ($checked, $table) = $class->run(
    { timeout => 120 },
    GannClass::worker_program(),
    $class->student('eve'),
    '--data', $class->data, '--check'
);
is $checked, 0, 'nor anything that gan_worker --check asks' or diag $table;

# Settings at the connection's start have no effect, and those that are meant for students go before
# the login's. (The function is one of the protocol's for the guard: it belongs to gan_owner and
# students may call it.)
$class->psql($_) for q{CREATE FUNCTION gan_test_setting(text) RETURNS text LANGUAGE sql SECURITY
            DEFINER AS 'SELECT current_setting($1)'}, 'ALTER FUNCTION gan_test_setting(text) OWNER
                        TO gan_owner',
    q{ALTER ROLE eve SET jit = on},
    q{ALTER DATABASE } . $class->database . q{ SET default_transaction_isolation = 'serializable'};

sub setting {
    my ($session, $name) = @_;
    $session->send(GannWire::query("SELECT gan_test_setting('$name')"));
    my ($row) = grep { $_->[0] eq 'D' } $session->receive(10);
    return $row ? substr $row->[1], 6 : 'refused';
}
for my $startup (
    [ options => '-c work_mem=1GB' ],
    [ work_mem => '1GB' ],
    [ options => '--work_mem=1GB' ],
    [ options => '-c jit=on -c default_transaction_isolation=serializable' ]
    )
{
    my $other = GannWire->new($class, 'eve', @$startup);
    is join('|', map { setting($other, $_) } qw(work_mem jit transaction_isolation)),
        '4MB|off|read committed', "@$startup: no effect";
}
$class->psql($_)
    for 'ALTER ROLE eve RESET jit',
    'ALTER DATABASE ' . $class->database . ' RESET default_transaction_isolation',
    'DROP FUNCTION gan_test_setting(text)';

# What can't be refused ends.
$wire = GannWire->new($class, 'eve');
$wire->send(GannWire::parse($claim)
        . GannWire::bind_to()
        . GannWire::execute()
        . GannWire::message('H', ''));
ok scalar(grep { $_->[0] eq 'D' } $wire->receive(1)),
    'a claim in a pipeline without a Sync: Eve has a unit';
ends($wire, 'a pipeline without a Sync');

$wire = GannWire->new($class, 'eve');
$wire->send(GannWire::parse('SELECT gan_claim(0)')
        . GannWire::bind_to()
        . GannWire::execute()
        . GannWire::parse('SELECT gan_hello()')
        . GannWire::bind_to());
ends($wire, 'a pipeline that failed, without a Sync');

$wire = GannWire->new($class, 'eve');
my $dripped = 'B' . pack('N', 0x3fffff00) . "\0\0";
my ($start, $gone) = (time);
while (!$gone && time - $start < $allowed) {
    $gone = !$wire->send(substr $dripped, 0, 1, '') || defined $wire->ended(0.5);
    $dripped .= "\0";
}
ok $gone, sprintf('a message that comes by drops: ended after %.1f s', time - $start);

$wire = GannWire->new($class, 'eve');
my $reads =
      GannWire::parse("SELECT gan_fetch_weights($run, " . iteration() . ', 0)')
    . (GannWire::bind_to() . GannWire::execute()) x 200
    . GannWire::sync();
$wire->send($reads);
sleep 1;
my $ended = $class->poll_until(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'eve'},
    '0', $allowed);
ok $ended, 'a client that does not read its answers is ended';

# While PostgreSQL reports an error it ignores SIGTERM, and 64 kB of wrong statements make that
# report wait for the client.
for my $case ([ 'wrong statements', GannWire::query('SELECT 1/0') ],
    [ 'long ones', GannWire::query(q{SELECT '} . 'x' x 30000 . q{'::int}) ])
{
    my ($what, $bytes) = @{$case};
    $wire = GannWire->new($class, 'eve');
    cmp_ok $wire->flood($bytes), '>', 10_000, "$what, and no answer is read: the session is full";
    ok $class->poll_until(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'eve'},
        '0', $allowed),
        "$what: it is ended all the same";
}

$wire = GannWire->new($class, 'eve');
$wire->send(GannWire::query("LISTEN gan_run_$run"));
$wire->receive(5);
ends($wire, 'a session that does nothing');

# Connections: Eve has four, the others have theirs, and silent sessions are ended.
my @sessions = map { GannWire->new($class, 'eve') } 1 .. 4;
ok !eval { GannWire->new($class, 'eve'); 1 }, 'a fifth session of one login is refused';
like $@, qr/too many connections for role "eve"/, 'and the reason is said';
@sessions = ();
my $before = iteration();
$start = time;
my @silent = map {
    eval { GannWire->connected($class) } // ()
} 1 .. (long_run() ? 500 : 150);
ok $class->poll_until('SELECT 1', '1', 30),
    sprintf(
    '%d connections that say nothing: the instructor gets in %.1f s after they began',
    scalar @silent,
    time - $start
    );
ok goes_on($before), 'and the class went on';
@silent = ();

# Messages as long as the server takes, from all of Eve's sessions at once: the others' calls are
# answered as ever. A message asks for its memory before any hook can look at it; the bound of the
# session makes that an error.
sub giant {
    my ($bytes) = @_;
    my $giant = GannWire->new($class, 'eve');
    my @small = map { pack('N', length $_) . $_ } pack('q>', 1), "\0" x 16, pack('N', 0);
    my $body = "\0\0" . pack('nnn', 1, 1, 4) . join('', @small) . pack('N', $bytes);
    $giant->send(GannWire::parse('SELECT gan_upload($1, $2, $3, $4)') . 'B'
            . pack('N', 4 + length($body) + $bytes + 2)
            . $body);
    my $megabyte = "\0" x (1 << 20);
    $giant->send($megabyte) or return 'hung up' for 1 .. $bytes >> 20;
    $giant->send(pack('n', 0) . GannWire::execute() . GannWire::sync());
    my @answers = $giant->receive(60);
    my ($row) = grep { $_->[0] eq 'D' } @answers;
    return GannWire::state_of(@answers) || ($row ? substr $row->[1], 6 : 'no answer');
}
# gigabytes take their time on a busy machine
$class->configure('gannsfriends.watchdog_seconds = 600');
my $size = (long_run() ? 1000 : 200) << 20;
my @senders = map {
    my $pid = fork;
    if (!$pid) {
        my $answer = eval { giant($size) } // $@;
        POSIX::_exit($answer eq '53200' ? 0 : 1);
    }
    $pid
} 1 .. 4;
my $honest = GannWire->new($class, 'ann');
my (@times, @codes);
while (@codes < @senders) {
    my $asked = time;
    $honest->send(GannWire::query('SELECT * FROM gan_credit(1)'));
    $honest->receive(60);
    push @times, time - $asked;
    sleep 0.01;
    push @codes, $? while waitpid(-1, POSIX::WNOHANG()) > 0 && grep {$_} @senders;
}
@times = sort { $a <=> $b } @times;
is "@codes", '0 0 0 0',
    sprintf('four messages of %d MB at once are errors of their sessions', $size >> 20);
cmp_ok $times[ 0.99 * $#times ], '<', 1,
    sprintf(
    'and of %d calls of another student meanwhile 99 %% took less than %.3f s',
    scalar @times,
    $times[ 0.99 * $#times ]
    );
my $pile = GannWire->new($class, 'eve');
my ($prepared, @said) = (0);
while ($prepared++ < 1500 && !@said) {
    last
        if !$pile->send(
              GannWire::parse('SELECT gan_hello() /* ' . 'x' x 60000 . ' */', "s$prepared")
            . GannWire::sync());
    @said = grep { $_->[0] eq 'E' } $pile->receive(30);
}
is GannWire::state_of(@said), '53200',
    "a session that prepares $prepared long statements is ended for its memory";
# Who is shut out is out, and has nothing any more.
my $second = $class->create_run('second', lease_seconds => 3600);
$class->psql("SELECT gan_start($second)");
@sessions = map { GannWire->new($class, 'eve') } 1 .. 3;
$sessions[0]->send(
    GannWire::parse("SELECT gan_join($second, 'eves', '9', '\\x" . '00' x 32 . "', 1, 1, '', '')")
        . GannWire::bind_to()
        . GannWire::execute()
        . GannWire::sync());
my ($joined) = map { substr $_->[1], 6 } grep { $_->[0] eq 'D' } $sessions[0]->receive(10);
$sessions[0]->send(GannWire::query("SELECT reason FROM gan_claim($joined)"));
is + (map { substr $_->[1], 6 } grep { $_->[0] eq 'D' } $sessions[0]->receive(10))[0], 'work',
    'Eve has three sessions and a unit for an hour';
$start = time;
$class->psql(q{CALL gan_expel('eve')});
cmp_ok time - $start, '<', 5, sprintf('gan_expel took %.2f s', time - $start);
is $class->psql(
    "SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'eve'), (SELECT count(*) FROM gan_work_unit
        WHERE run = $second
        AND state = 'claimed')"
    ),
    '0|0',
    'no session is left, and no claim';
ok !eval { GannWire->new($class, 'eve'); 1 }, 'there is no way back in';
like $@, qr/not permitted to log in/, 'the login is none any more';
is + ($class->psql_fails(q{CALL gan_expel('postgres')}))[0], '42704',
    'nobody but a student can be shut out so';
delete $class->{students}{eve};
$class->student('eve');
ok eval { GannWire->new($class, 'eve'); 1 }, 'gan_enroll lets her in again';

ok $class->is_running($worker), 'the honest worker outlived it all';
unlike $class->log_of($worker), qr/server: /, 'and was not disturbed';
unlike $class->server_log, qr/was terminated by signal|PANIC/, 'no process of the server died';
done_testing;
