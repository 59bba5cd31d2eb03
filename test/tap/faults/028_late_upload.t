# The server is still processing an upload when its worker reconnects and claims again. The upload
# then comes too late: the shards of the new claim stay.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannModule;
use GannUnits;

my $class = GannClass->new(module => GannModule::build('faults', flags => '-DGANN_FAULTS'));
my $units = GannUnits->new($class);
my $run = $units->{run};
my @psql = (
    $class->{bindir} . '/psql',
    '-X', '-q', '-A', '-t', '-h', $class->host, '-p', $class->port, '-U', 'postgres', '-d', 'train'
);

sub claim {
    return $class->psql(
        "SELECT unit, quote_literal(token), weights_nonce
        FROM gan_claim((SELECT min(worker) FROM hand WHERE run = $run))"
    );
}

sub upload {
    my ($unit, $token) = @_;
    return "SELECT gan_upload($unit, $token, k.shard, k.data)
        FROM kept k
        WHERE NOT k.second ORDER BY k.shard";
}

my ($unit, $old) = split /\|/, claim();
$class->start_background(
    { name => 'gate' }, @psql, '-c', 'SELECT pg_advisory_lock(4711),
            pg_sleep(600)'
);
$class->poll_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted", '1',
    30);
my $late = $class->start_background(
    { name => 'late' }, @psql, '-c', "SET gann_test.fault =
            'upload_to_store:wait'", '-c', upload($unit, $old) . ' LIMIT 1'
);
ok $class->poll_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'",
    '1', 60),
    'an upload has been checked, and is about to be stored';
my ($again, $new, $nonce) = split /\|/, claim();
is $again, $unit, 'its worker claims again, and gets the unit';
isnt $new, $old, 'under another token';
is $class->psql(upload($unit, $new)) =~ s/\s+/ /gr, 'accepted accepted accepted',
    'and uploads all of it';
$class->psql(
    "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory'
        AND granted"
);
is $class->wait_for($late, 60), 0, 'now the first upload continues';
like $class->log_of($late), qr/^stale$/m, 'and is told that it is too late';
is $class->psql("SELECT (gan_uploaded($unit, $new)).missing"), '0',
    'nothing of the unit was replaced';
is $class->psql("SELECT answer FROM gan_submit($unit, $new, $nonce, 4, 1, 1, 0.5, 0.5)"),
    'accepted', 'it is submitted';
$units->hand_in;
$class->psql("SELECT gan_aggregate(0, $run)");
is $class->psql("SELECT iteration FROM gan_run WHERE run = $run"), '1', 'and averaged';
done_testing;
