# What a student's statement may be: one call of the protocol, and nothing else; and what its
# session may take.
#
# The lists hold what was tried on a class. Then a generator sends what nobody thought of, and a
# watcher looks for a session that is older or larger than it may be: GANN_SEED repeats a run.
use strict;
use warnings;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;
use GannStatements;
use GannTest qw(long_run);
use GannWire;

my $limit = 3;    # gannsfriends.watchdog_seconds
my $memory = 128;    # gannsfriends.student_memory, in MB
my $class = GannClass->new(
    conf => [
        "shared_preload_libraries = 'gannsfriends'",
        "gannsfriends.watchdog_seconds = $limit",
        'jit_above_cost = 0'
    ]
);
my $run = $class->create_run('class', units_per_iteration => 8, target_iterations => 100000);
$class->psql("SELECT gan_start($run)");
$class->student($_) for qw(ann eve);

sub state_after {
    my ($wire, @bytes) = @_;
    $wire->send(join '', @bytes) or return 'hung up';
    return GannWire::state_of($wire->receive(20));
}

my $wire = GannWire->new($class, 'eve');
my $cube = 'GROUP BY CUBE (' . join(', ', map {"c$_"} 1 .. 12) . ')';
my $columns = join ', ', map {"c$_"} 1 .. 12;
my $nested =
      "SELECT 1 FROM (SELECT $columns FROM (SELECT $columns FROM (VALUES ("
    . join(', ', (1) x 12)
    . ")) AS v ($columns) $cube) AS a $cube) AS b $cube OFFSET 1000000000000";
for my $case (
    [ 'grouping sets of grouping sets', $nested ],
    [ 'texts of 10 MB', 'SELECT ' . join ', ', (q{'a'::char(10485760)}) x 100 ],
    [ 'copies of a parameter', 'SELECT ' . join ', ', (q{length(encode($1, 'hex'))}) x 400 ],
    [ 'the name of a login by its number', 'SELECT 16384::oid::regrole' ],
    [ 'a login by its name', q{SELECT to_regrole('alice')} ],
    [ 'rights in words', q{SELECT 'postgres=r/postgres'::aclitem} ],
    [ 'a constant', 'SELECT 1' ],
    [ 'nothing', 'SELECT' ],
    [ 'who I am', 'SELECT session_user' ],
    [ 'the time', 'SELECT now()' ],
    [ 'rows', 'VALUES (1), (2)' ],
    [ 'a table', 'TABLE gan_run' ],
    [ 'a view for everybody', 'SELECT * FROM gan_progress' ],
    [
        'an operator', 'SELECT gan_credit(1
                + 1)'
    ],
    [ 'a call in a call', 'SELECT gan_credit(length(gan_hello()::text))' ],
    [ 'two calls', 'SELECT gan_hello(), gan_hello()' ],
    [ 'a call beside a constant', 'SELECT gan_hello(), 1' ],
    [
        'a call beside a column', 'SELECT login, 1
            FROM gan_hello()'
    ],
    [ 'a whole row', 'SELECT h FROM gan_hello() AS h' ],
    [
        'a condition', 'SELECT login
                FROM gan_hello()
            WHERE student'
    ],
    [ 'a sorted answer', 'SELECT login FROM gan_hello() ORDER BY 1' ],
    [ 'a part of an answer', 'SELECT login FROM gan_hello() LIMIT 1' ],
    [
        'a distinct answer', 'SELECT DISTINCT login
            FROM gan_hello()'
    ],
    [ 'a count', 'SELECT count(*) FROM gan_hello()' ],
    [ 'a grouped answer', 'SELECT login FROM gan_hello() GROUP BY login' ],
    [
        'a window', 'SELECT rank() OVER ()
            FROM gan_hello()'
    ],
    [ 'a numbered answer', 'SELECT * FROM gan_hello() WITH ORDINALITY' ],
    [ 'rows from two', 'SELECT * FROM ROWS FROM (gan_hello(), gan_hello())' ],
    [
        'a join', 'SELECT a.login
            FROM gan_hello() AS a, gan_hello() AS b'
    ],
    [
        'a lateral join', 'SELECT FROM gan_hello()
                        AS a
                    CROSS JOIN LATERAL gan_hello() AS b'
    ],
    [ 'a union', 'SELECT login FROM gan_hello() UNION SELECT login FROM gan_hello()' ],
    [ 'a query in a query', 'SELECT login FROM (SELECT login FROM gan_hello()) AS s' ],
    [ 'a named query', 'WITH w AS (SELECT login FROM gan_hello()) SELECT login FROM w' ],
    [
        'a cast of an answer', 'SELECT login::varchar(5)
            FROM gan_hello()'
    ],
    [ 'a collation', 'SELECT login COLLATE "C" FROM gan_hello()' ],
    [ 'a cast of a constant', 'SELECT gan_credit(1::int8::int4)' ],
    [ 'an array', 'SELECT ARRAY[gan_hello()::text]' ],
    [ 'a case', q{SELECT CASE WHEN true THEN gan_renew('1', NULL) END} ],
    [ 'the instructor\'s function', "SELECT gan_tick($run)" ],
    [ 'a text that is long', 'SELECT gan_hello() /* ' . 'x' x 70000 . ' */' ],
    [ 'a second statement', 'SELECT 1; SELECT gan_hello()' ],
    [ 'a plan', 'EXPLAIN SELECT gan_hello()' ],
    [
        'a plan that runs', 'EXPLAIN ANALYZE SELECT
                gan_hello()'
    ],
    [ 'a prepared statement in SQL', 'PREPARE p AS SELECT gan_hello()' ],
    [ 'a cursor', 'DECLARE c CURSOR FOR SELECT gan_hello()' ],
    [ 'a setting read', 'SHOW work_mem' ],
    [ 'a setting put back', 'RESET ALL' ],
    [ 'a setting by its default', 'SET application_name TO DEFAULT' ],
    [
        'a setting from here', 'SET client_encoding
            FROM CURRENT'
    ],
    [ 'a chain', 'COMMIT AND CHAIN' ],
    [ 'a lock of a table', 'LOCK gan_run IN ACCESS SHARE MODE' ],
    [ 'a comment', q{COMMENT ON TABLE gan_run IS ''} ],
    [ 'a procedure', 'CALL gan_coordinate(1)' ],
    )
{
    my ($what, $sql) = @$case;
    is state_after($wire, GannWire::query($sql)), '42501', "$what is refused" unless $sql =~ /\$1/;
    next if $what eq 'a second statement';    # is no single one
    is state_after($wire, GannWire::parse($sql), GannWire::sync()), '42501',
        "$what is refused when it is prepared";
}
for my $sql (
    'SELECT gan_hello()', 'SELECT FROM gan_hello()', 'SELECT server_time, login, login
        FROM gan_hello() AS h', 'select * from gan_run_config(NULL)', 'SELECT gan_renew(unit => $1,
                    token => $2)'
    )
{
    is state_after($wire, GannWire::parse($sql), GannWire::sync()), '',
        "$sql is a call of the protocol";
}

# No lock outlives a statement that is refused, even where its transaction continues.
my $partition = "gan_state_piece_r${run}_0";

sub locked {
    return $class->psql(
        "SELECT count(*) FROM pg_locks l
        JOIN pg_class c ON c.oid = l.relation
        WHERE c.relname ~ '^gan_(state|gradient)_piece_'
        AND l.granted"
    );
}
for my $sql (
    "EXPLAIN SELECT FROM $partition", "PREPARE p AS SELECT FROM $partition",
    "DECLARE c CURSOR FOR SELECT FROM $partition", "CREATE TABLE t AS SELECT
        FROM $partition", "SELECT FROM $partition FOR UPDATE"
    )
{
    is state_after($wire, GannWire::parse($sql) . GannWire::message('H', ''), GannWire::sync()),
        '42501', "$sql is refused when it is prepared";
    $wire->send(GannWire::parse($sql) . GannWire::message('H', ''));
    $wire->receive(0.2);
    is locked(), 0, 'and leaves no lock behind, though its pipeline has no Sync';
    $wire->send(GannWire::sync());
    $wire->receive(10);
}

# Memory: of messages, of what the parser makes of them, of portals, of prepared statements.
sub sessions_of {
    my $login = shift;
    return split /\n/, $class->psql(
        "SELECT pid FROM
            pg_stat_activity
        WHERE usename = '$login'"
    );
}

sub taken {    # the peak of memory of its own that a process had, in MB
    my $pid = shift;
    open my $in, '<', "/proc/$pid/status" or return 0;
    my %is = map { /^(\w+):\s+(\d+)/ ? ($1 => $2 / 1024) : () } <$in>;
    return ($is{RssAnon} // 0);
}
my $peak = 0;

sub attack {    # sends in the background and watches; returns the SQLSTATE of the answer
    my ($bytes) = @_;
    my $other = GannWire->new($class, 'eve');
    pipe my $in, my $out or die "pipe: $!";
    my $child = fork // die "fork: $!";
    if (!$child) {
        $other->send($bytes);
        syswrite $out, GannWire::state_of($other->receive(60)) || 'none';
        POSIX::_exit(0);
    }
    close $out;
    until (waitpid($child, POSIX::WNOHANG()) > 0) {
        for my $session (sessions_of('eve')) {
            my $mb = taken($session);
            $peak = $mb if $mb > $peak;
        }
        sleep 0.1;
    }
    return scalar <$in>;
}
my $value = 'x' x (8 << 20);
my $portals = GannWire::parse('SELECT gan_upload($1, $2, $3, $4)', 'u') . join '', map {
    my @values = (pack('q>', 1), "\0" x 16, pack('N', 0), $value);
    GannWire::message('B',
              "portal$_\0u\0"
            . pack('nnn', 1, 1, 4)
            . join('', map { pack('N', length $_) . $_ } @values)
            . pack('n', 0))
} 1 .. 20;
$class->configure('gannsfriends.watchdog_seconds = 60');
for my $case (
    [ '53200', 'portals of 8 MB', $portals ],
    [
        '53200',
        'a statement of 40 MB, before anybody has seen its parse tree',
        GannWire::query('SELECT ' . join ',', (1) x 20_000_000)
    ],
    [
        '53200',
        'a text of 300 MB, before it is read',
        GannWire::query(q{SELECT '} . 'x' x 300_000_000 . q{'})
    ],
    [
        '42501',
        'a text of 10 MB, which is read and refused',
        GannWire::query(q{SELECT '} . 'x' x 10_000_000 . q{'})
    ],
    [
        '54001',
        'a constant that nests',
        GannWire::query(q{SELECT '} . '[' x 1_000_000 . q{'::json})
    ],
    [
        '54001',
        'a comment in a comment in a comment, which takes the scanner minutes',
        GannWire::query('SELECT gan_hello() /*' . '/*' x 400_000)
    ],
    [
        '54001',
        'GROUP BY of 100,000 expressions, which takes minutes to analyse',
        GannWire::query('SELECT 1 GROUP BY ' . join ',', map {"1+$_"} 1 .. 100_000)
    ],
    [
        '54001',
        'the same of ORDER BY, prepared, without a Sync',
        GannWire::parse(
            'SELECT 1 ORDER BY
                ' . join ',', map {"1+$_"} 1 .. 100_000
            )
            . GannWire::message('H', '')
    ],
    )
{
    my $start = time;
    is attack($case->[2]), $case->[0], sprintf '%s: %.1f s', $case->[1], time - $start;
}
$class->configure("gannsfriends.watchdog_seconds = $limit");
cmp_ok $peak, '<', $memory + 40, sprintf('no session took more than %.0f MB of its own', $peak);

# What nobody thought of.
my $seed = $ENV{GANN_SEED} // 20260801;
my $count = long_run() ? 20000 : 150;
note "GANN_SEED=$seed";
my @senders = map {
    my $sender = $_;
    my $child = fork // die "fork: $!";
    if (!$child) {
        my $random = GannStatements->new(seed => $seed + $sender);
        my ($session, $sent) = (undef, 0);
        for (1 .. $count) {
            $session //= eval { GannWire->new($class, 'eve') };
            if (!$session) { sleep 0.1; next }
            my $bytes = $random->messages;
            $sent++;
            $session->send($bytes)
                && (substr($bytes, -5, 1) ne 'S' || $session->receive(0.2 + $limit))
                or undef $session;
        }
        POSIX::_exit($sent < $count / 2);
    }
    $child;
} 1 .. 2;
my ($oldest, $largest, $ended, $idle) = (0, 0, 0, 0);
while (@senders > $ended) {
    for my $row (
        split /\n/,
        $class->psql(q{SELECT pid, greatest(0,
                extract(epoch FROM clock_timestamp() - least(xact_start,
                greatest(query_start, state_change))))
            FROM pg_stat_activity
            WHERE usename = 'eve'})
        )
    {
        my ($pid, $age) = split /\|/, $row;
        $oldest = $age if $age > $oldest;
        my $mb = taken($pid);
        $largest = $mb if $mb > $largest;
    }
    for my $sender (@senders) {
        next if waitpid($sender, POSIX::WNOHANG()) <= 0;
        $ended++;
        $idle ||= $?;
    }
    sleep 0.05;
}
is $idle, 0, 'the senders of random statements found sessions to send them in';
cmp_ok $oldest, '<', $limit + 12,
    sprintf('of twice %d random statements none kept a session for more than %.1f s',
    $count, $oldest);
cmp_ok $largest, '<', $memory + 40, sprintf('and no session took more than %.0f MB', $largest);

# Whatever they do, the server stops at once.
my @held = map { GannWire->new($class, 'eve') } 1 .. 4;
$held[0]->send(GannWire::parse('SELECT gan_hello()')
        . GannWire::bind_to()
        . GannWire::execute()
        . GannWire::message('H', ''));
$held[1]->send(GannWire::query($nested));
$held[2]->send(substr GannWire::query("SELECT '" . 'x' x 1_000_000 . "'"), 0, 1000);
$held[3]->flood(GannWire::query('SELECT 1/0'));
my $start = time;
$class->stop('fast');
cmp_ok time - $start, '<', 20, sprintf('a fast shutdown took %.1f s', time - $start);
my $log = $class->server_log;
unlike $log, qr/was terminated by signal|PANIC/, 'no process of the server died';
my ($unexpected) =
    $log =~ /ERROR:  XX000.*|ERROR:  (?:cache lookup failed|unrecognized node|could not find).*/g;
is $unexpected, undef, 'and nothing went wrong inside';
done_testing;
