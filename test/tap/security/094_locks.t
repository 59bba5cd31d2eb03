# The step needs partitions for itself. No student keeps it from them: a call's locks end with the
# call, a session that keeps one all the same is ended, and where somebody else reads a partition
# its growth is bounded, and given back.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep);
use GannClass;
use GannWire;

my $class = GannClass->new(
    conf => [ "shared_preload_libraries = 'gannsfriends'", 'gannsfriends.watchdog_seconds = 600' ]);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $run = $class->create_run('class', units_per_iteration => 2, target_iterations => 100000);
$class->psql("SELECT gan_start($run)");
$class->student($_) for qw(ann eve);
my $coordinator = $class->coordinate(1000);
my $worker = $class->worker('ann', '--threads', 1);
ok $class->poll_until("SELECT iteration > 2 FROM gan_run WHERE run = $run", 't', 60),
    'a class is at work';

sub iteration { return $class->psql("SELECT iteration FROM gan_run WHERE run = $run") }

sub goes_on {
    my $from = iteration();
    return $class->poll_until(
        "SELECT iteration >= $from + $_[0]
        FROM gan_run
        WHERE run = $run", 't', 60
    );
}

sub pages {
    return $class->psql(
        "SELECT max(pg_relation_size(oid)) / 8192 FROM pg_class
        WHERE relname ~ '^gan_(state|gradient)_piece_r$run'"
    );
}

sub locks {
    return $class->psql(q{SELECT count(*) FROM pg_locks l
        JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a USING (pid)
        WHERE a.usename = 'eve'
        AND c.relname ~ '^gan_(state|gradient)_piece_r'});
}
my $usual = pages();

# Calls whose transaction continues: read and written is a partition in the call, and locked no
# longer.
my $dataset = $class->psql(
    "SELECT format('%L, %L', dataset_images, dataset_digest) FROM gan_run
        WHERE run = $run"
);
my $eve = GannWire->new($class, 'eve');

sub ask {
    my $sql = shift;
    $eve->send(GannWire::parse($sql)
            . GannWire::bind_to()
            . GannWire::execute()
            . GannWire::message('H', '')
            . (@_ ? GannWire::sync() : ''));
    my ($row) = grep { $_->[0] eq 'D' } $eve->receive(@_ ? 10 : 1);
    return $row;
}
my $me = substr ask("SELECT gan_join($run, 'eves', $dataset, 1, 1, '', '')", 1)->[1], 6;
ok ask("SELECT gan_fetch_weights($run, " . iteration() . ', 0)'),
    'Eve asks for weights, and does not end the transaction';
is locks(), 0, 'no lock is left of it';
my $before = iteration();
ok goes_on(3), 'the class continues';
$eve->send(GannWire::sync());
$eve->receive(10);

# An upload, likewise: of a unit that Eve has, by the bytes of somebody else's.
sub fields {    # the texts of a row; undef for NULL
    my ($bytes, @texts) = substr $_[0][1], 2;
    while (length $bytes) {
        my $size = unpack 'l>', substr $bytes, 0, 4, '';
        push @texts, $size < 0 ? undef : substr $bytes, 0, $size, '';
    }
    return @texts;
}
my ($unit, $token);
for (1 .. 200) {
    ($unit, $token) = fields(ask("SELECT unit, token FROM gan_claim($me)", 1));
    last if $unit;
    sleep 0.05;
}
SKIP: {
    skip 'no unit was free for Eve', 2 if !$unit;
    my ($hex) = $class->psql(
        "SELECT encode(data, 'hex') FROM gan_gradient
            WHERE run = $run
            AND shard = 0 LIMIT 1"
    );
    my $blob = pack 'H*', $hex =~ s/\n//gr;
    my @values = (pack('q>', $unit), pack('H*', $token =~ s/-//gr), pack('N', 0), $blob);
    $eve->send(GannWire::parse('SELECT gan_upload($1, $2, $3, $4)')
            . GannWire::bind_to(@values)
            . GannWire::execute()
            . GannWire::message('H', ''));
    my ($row) = grep { $_->[0] eq 'D' } $eve->receive(1);
    is $row ? substr($row->[1], 6) : 'none', 'accepted',
        'Eve uploads, and does not end the transaction';
    is locks(), 0, 'no lock is left of that, either';
}
undef $eve;
ok goes_on(3), 'the class continues';

# Without the guard a statement that is only parsed locks what it names. The step ends the session.
$class->configure('gannsfriends.guard = off');
sleep 0.5;
my @relay = map { GannWire->new($class, 'eve') } 1 .. 3;
for my $n (0 .. $#relay) {
    $relay[$n]->send(
        join('',
            map { GannWire::parse("EXPLAIN SELECT FROM gan_state_piece_r${run}_$_", "s$_") } 0, 1)
            . GannWire::message('H', '')
    );
    $relay[$n]->receive(0.3);
}
ok goes_on(4), 'sessions that keep locks on both partitions: the class continues';
ok defined $_->ended(10), 'and such a session is ended' for @relay;
cmp_ok pages(), '<=', 2 * $usual + 2, 'nothing has grown';
like $class->server_log,
    qr/session \d+ of student "eve" is ended: it keeps a lock on gan_state_piece_r${run}_\d, which the step needs/,
    'the log says which and why';
$class->configure('gannsfriends.guard = on');

# The instructor's own session is not ended: the step continues beside it, for as long as that costs a
# bounded room.
my $instructor = GannWire->new($class, 'postgres');
$instructor->send(
    GannWire::query(
        "BEGIN; SELECT FROM gan_state_piece_r${run}_0; SELECT
        FROM gan_state_piece_r${run}_1"
    )
);
$instructor->receive(10);
ok goes_on(4), 'the instructor reads both partitions in an open transaction: the class continues';
my $limit = 16 * $usual + 256;
ok $class->poll_until(
    "SELECT count(*) > 0 FROM pg_class
        WHERE relname ~ '^gan_state_piece_r$run'
        AND pg_relation_size(oid) / 8192 > $limit * 0.8 - 64", 't', 90
    ),
    'the partitions grow';
sleep 2;
my $grown = pages();
cmp_ok $grown, '<=', $limit + 2 * $usual,
    "they don't grow beyond 16 times their size: $grown pages, usually $usual";
$instructor->send(GannWire::query('COMMIT'));
$instructor->receive(10);
ok goes_on(6), 'when that session ends its transaction, the class continues';
cmp_ok pages(), '<=', 2 * $usual + 2, 'and the room is given back';
unlike $class->server_log, qr/was terminated by signal|PANIC/, 'no process of the server died';
done_testing;
