# What stands between a bad input and the model: each guard of uploads, submissions and steps stops
# what it is there for.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannUnits;

my $class = GannClass->new;
my $units = GannUnits->new(
    $class,
    generator_features => 2,
    discriminator_features => 2,
    gradient_limit => 100
);
my $run = $units->{run};
my ($left, $right) = split /\n/, $class->psql(
    "SELECT worker FROM hand
        WHERE run = $run ORDER BY worker"
);

# A blob of n numbers, of which one is another word
sub blob {
    my ($n, $at, $word) = @_;
    my $data = pack 'f<*', (0.001) x $n;
    substr $data, 4 * $at, 4, $word if defined $at;
    my $crc = 0xffffffff;
    for my $byte (unpack 'C*', $data) {
        $crc ^= $byte;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 for 1 .. 8;
    }
    return '\\x' . unpack 'H*', 'GANF' . pack('v2 Q< V2', 1, 1, $n, $crc ^ 0xffffffff, 0) . $data;
}
my $n = $class->psql("SELECT parameters FROM gan_run WHERE run = $run");
my ($unit, $token, $nonce) = split /\|/, $class->psql(
    "SELECT unit, token, weights_nonce
        FROM gan_claim($left)"
);
sub upload { return [ $class->psql_fails("SELECT gan_upload($unit, '$token', $_[0], '$_[1]')") ] }

sub submit {
    return $class->psql(
        "SELECT answer, code
        FROM gan_submit($unit, '$token', $nonce, 4, 1, 1, 0.5, 0.5)"
    );
}

my $bad = blob($n, $n - 1, pack 'V', 0x7fc00000);
is upload(0, $bad)->[0], '22003', 'NaN is refused';
is upload(0, blob($n, 0, pack 'V', 0xff800000))->[0], '22003', 'infinity is refused';
is upload(0, blob($n, 5, pack 'f<', 101))->[0], '22003', 'a norm above the limit is refused';
(my $flipped = blob($n)) =~ s/.$/1/;
is upload(0, $flipped)->[0], '22P03', 'a flipped bit is refused';
is upload(1, blob($class->psql("SELECT (gan_network_size(1, 32, 16, 2, 2)).statistics")))->[0],
    '00000', 'statistics may be as they are';
is submit(), 'refused|incomplete', 'a unit without its gradient is refused';
is upload(0, blob($n, 5, pack 'f<', 99))->[0], '00000', 'what is within the limits is taken';
is submit(), 'accepted|', 'and the unit, too';
like $class->psql("SELECT gan_tick($run)"), qr/1 of 2 units are done/, 'one unit is not a quorum';
is [ $class->psql_fails("SELECT gan_aggregate(0, $run)") ]->[0], '55000',
    'nor is it for a step by hand';
$class->psql(
    "UPDATE gan_gradient_piece SET token = gen_random_uuid()
        WHERE run = $run
        AND unit = $unit
        AND token IS NOT NULL"
);
is $class->psql(
    "SELECT gan_tick($run) ~ 'to be done again'; SELECT state FROM gan_work_unit
        WHERE unit = $unit"
    ),
    "t\npending", 'a unit whose upload vanished is opened again';
$units->hand_in;
is [ $class->psql_fails("SELECT gan_aggregate(1, $run)") ]->[0], '55000',
    'a step of another iteration is refused';

# While one session takes the step, another does not
my @psql = (
    $class->{bindir} . '/psql',
    '-X', '-q', '-h', $class->host, '-p', $class->port, '-U', 'postgres', '-d', 'train'
);
my $holder = $class->start_background(
    { name => 'holder' }, @psql, '-c', "BEGIN; SELECT FROM gan_run
        WHERE run = $run FOR NO KEY UPDATE; SELECT pg_sleep(600)"
);
$class->poll_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", '1', 30);
is [ $class->psql_fails("SET statement_timeout = '20s'; SELECT gan_aggregate(0, $run)") ]->[0],
    '55P03', 'while one session works on the run, another one\'s step is refused';
like $class->psql("SET statement_timeout = '20s'; SELECT gan_tick($run)", on_error => 'ignore'),
    qr/^busy/, 'and its tick returns at once';
$class->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
$class->wait_for($holder, 30);

# What was damaged on disk stops the step
my $piece = "UPDATE gan_gradient_piece SET data = set_byte(data, 2000, get_byte(data, 2000) # 1)
        WHERE run = $run
        AND iteration = 0
        AND shard = 0
        AND piece = 0
        AND unit = $unit";
is [ $class->psql_fails("BEGIN; $piece; SELECT gan_aggregate(0, $run)") ]->[0], 'XX001',
    'an upload that doesn\'t match its checksum stops the step';
is [
    $class->psql_fails(
        "BEGIN; UPDATE gan_state_piece
        SET data = set_byte(data, 2000, get_byte(data, 2000) # 1)
        WHERE run = $run
        AND iteration = 0
        AND part = 1
        AND piece = 0; SELECT gan_aggregate(0, $run)"
    )
]->[0], 'XX001', 'so does a moment';
is [
    $class->psql_fails(
        "BEGIN; DELETE FROM gan_gradient_piece
        WHERE run = $run
        AND unit = $unit
        AND shard = 0; SELECT gan_aggregate(0, $run)"
    )
]->[0], 'XX001', 'so does an upload that is missing';
like $class->psql("SELECT gan_aggregate(0, $run)"), qr/^step/,
    'and with all as it was, the step is taken';
is $units->digest(0), $units->expected(0), 'with the same bits as elsewhere';
is [ $class->psql_fails("SELECT gan_aggregate(0, $run)") ]->[0], '55000', 'once';
is [ $class->psql_fails("INSERT INTO gan_history SELECT * FROM gan_history WHERE run = $run") ]
    ->[0], '23505', 'a second step of an iteration can\'t even be written down';
is $class->psql("SELECT sum(units), sum(images) FROM gan_worker WHERE run = $run"), '2|20',
    'and credited once';
done_testing;
