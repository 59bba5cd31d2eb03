# The helper itself: a private server, without the extension.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../lib";

use GannTest qw(root_folder);
use Test::More;

my $server = GannTest->new(extension => 0, conf => ["work_mem = '5MB'"]);

is($server->psql('SELECT 1'), '1', 'the server answers');
is($server->psql('SELECT current_database()'), 'train', 'in the database train');
is($server->psql('SHOW work_mem'), '5MB', 'conf reaches the server');
is($server->psql("SELECT 1;\nSELECT 'ä', 'b'"), "1\nä|b", 'several statements');

my ($state, $message) = $server->psql_fails('SELECT * FROM missing');
is($state, '42P01', 'SQLSTATE of an error');
is($message, 'relation "missing" does not exist', 'its message');
($state) = $server->psql_fails('SELECT 1');
is($state, '00000', 'no error is told apart');
($state, $message) = $server->psql_fails(
    q{DO $$BEGIN RAISE EXCEPTION E'two\nlines' USING ERRCODE = 'GF001', HINT = 'none'; END$$});
is_deeply([ $state, $message ], [ 'GF001', "two\nlines" ], 'a message of two lines, with a hint');
ok(!eval { $server->psql('SELECT 1/0'); 1 }, 'psql dies of an error');
like($@, qr/division by zero/, 'and says which');

$server->psql(q{CREATE ROLE ann LOGIN PASSWORD 'p@ss:w/rd'});
is($server->psql('SELECT session_user', user => 'ann', password => 'p@ss:w/rd'),
    'ann', 'TCP with a password');
($state, $message) = $server->psql_fails('SELECT 1', user => 'ann', password => 'wrong');
is($state, '08001', 'a wrong password is refused');
like($message, qr/password authentication failed/, 'by the server');
my ($status, $output) =
    $server->run('psql', '-XAtc', 'SELECT session_user', $server->uri('ann', 'p@ss:w/rd'));
is_deeply([ $status, $output ], [ 0, "ann\n" ], 'the connection string is one that libpq takes');

$server->psql('CREATE TABLE kept AS SELECT 7 AS n');
$server->restart('immediate');
is($server->psql('SELECT n FROM kept'), '7', 'what was committed is there after a crash');
like($server->server_log, qr/not properly shut down/, 'it was a crash');
$server->restart('fast');
is($server->psql('SELECT n FROM kept'), '7', 'and after a restart');

my $pid = $server->start_background('sh', '-c', 'echo started; exec sleep 60');
ok($server->wait_for_log($pid, qr/^started$/m, 10), 'the log of a process');
ok($server->is_running($pid), 'which continues');
is($server->wait_for($pid, 0.1), undef, 'waiting has an end');
ok($server->signal($pid, 'TERM'), 'a signal');
is($server->wait_for($pid, 10), 143, 'ends it');
ok(!$server->signal($pid, 'TERM'), 'once only');

$pid =
    $server->start_background('psql', '-Xqh', $server->host, '-p', $server->port, '-U', 'postgres',
    '-d', 'train', '-c', 'SELECT pg_sleep(0.5); INSERT INTO kept VALUES (8)');
ok($server->poll_until('SELECT count(*) FROM kept', '2', 20), 'poll_until sees it come');
is($server->wait_for($pid, 10), 0, 'exit status 0');

# What a test leaves behind: the inner one dies with a server and a process on its hands.
my $inner = <<'PERL';
use GannTest;
my $server = GannTest->new(extension => 0);
my $pid = $server->start_background('sleep', '77');
print join(' ', $server->folder, $server->port, $pid), "\n";
STDOUT->flush;
kill $ARGV[0], $$ if $ARGV[0];
sleep 5 if $ARGV[0];
$! = 0;    # die's exit status
die "on purpose\n";
PERL
my @perl = ($^X, '-I' . root_folder() . '/test/lib', '-MIO::Handle', '-e', $inner);
for my $case ([ 0, 255 ], [ 'TERM', 143 ], [ 'INT', 130 ]) {
    my ($signal, $expected) = @{$case};
    my $what = $signal ? "after SIG$signal" : 'after die';
    ($status, $output) = $server->run(@perl, $signal);
    is($status, $expected, "exit status $what");
    my ($folder, $port, $process) = $output =~ m{^(/tmp/gann\.\S+) (\d+) (\d+)$}m;
    ok(defined $folder && !-e $folder, "no folder $what");
    ok(defined $process && !kill(0, $process), "no process $what");
    ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port // 1), "no server $what");
}

my $folder = $server->folder;
undef $server;
ok(!-e $folder, 'the folder goes with the object');

done_testing;
