# A name with several addresses, hosts that say nothing, names that nobody has: the worker and the
# dashboard get through where there is a way, and say in two sentences what is wrong where there is
# none.
use strict;
use warnings;
use Test::More;
use IO::Socket::INET;
use IO::Socket::IP;
use POSIX ();
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(sleep time);
use GannClass;

# /etc/hosts is this test's own where it may be.
if (!$ENV{GANN_HOSTS_INSIDE} && $> == 0 && system('unshare --mount true 2>/dev/null') == 0) {
    $ENV{GANN_HOSTS_INSIDE} = 1;
    exec 'unshare', '--mount', '--propagation', 'private', '--', $^X, (map {"-I$_"} @INC), $0;
}

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $program = GannClass::worker_program();
my $port = $class->port;
my $ann = $class->student('ann');
my $run = $class->create_run(
    'first',
    target_iterations => 100000,
    units_per_iteration => 1,
    images_per_unit => 4
);
$class->psql("SELECT gan_start($run)");
$class->coordinate(600);

# Who accepts and says nothing, and counts who came.
sub silent {
    my (%where) = @_;
    return IO::Socket::IP->new(Listen => 16, V6Only => 1, Type => SOCK_STREAM, %where);
}

# A worker that uses another address gets to work within $seconds.
sub works {
    my ($name, $uri, $seconds, %env) = @_;
    my $began = time;
    my $worker = $class->start_background({ name => $name, env => \%env },
        $program, $uri, '--data', $class->data, '--threads', 1, '--once', '--name', $name);
    ok $class->wait_for_log($worker, qr/^joined run "first"/m, $seconds + 20),
        "$name: the worker gets in"
        or diag $class->log_of($worker);
    cmp_ok time - $began, '<', $seconds + 8,
        "$name: after the time-out of the silent address, not later";
    $class->signal($worker, 'INT');
    $class->wait_for($worker, 30);
    return $class->log_of($worker);
}
sub at { my ($hosts, $more) = @_; return $ann =~ s/127\.0\.0\.1:\d+/$hosts/r . ($more // '') }

# ---- one name, two addresses, the first silent
my $six = silent(LocalAddr => '::1', LocalPort => $port);
SKIP: {
    skip 'no IPv6 loopback, or /etc/hosts can not be replaced', 7
        unless $six && $ENV{GANN_HOSTS_INSIDE};
    my $hosts = $class->folder . '/hosts';
    GannClass::write_file($hosts,
        "::1 twoface.test\n127.0.0.1 twoface.test\n127.0.0.1 localhost\n");
    skip 'no file can be put over /etc/hosts', 7 if system("mount --bind $hosts /etc/hosts") != 0;
    works('twoface', at("twoface.test:$port", '?connect_timeout=3'), 3);
    ok $six->accept, 'the silent address was asked first';
    $class->psql(q{CREATE ROLE screen LOGIN PASSWORD 'watch' IN ROLE gan_viewer});
    my $began = time;
    my $page = $class->start_background(
        { name => 'dashboard' },
        GannTest::root_folder() . '/src/dashboard/gan_dashboard',
        '--listen',
        '127.0.0.1:0',
        "postgresql://screen:watch\@twoface.test:$port/train?connect_timeout=3"
    );
    ok $class->wait_for_log($page, qr{http://127}, 30), 'so does the dashboard';
    cmp_ok time - $began, '<', 8, 'in time';
    $class->signal($page, 'TERM');
    $class->wait_for($page, 20);
    unlike works('patient', at("twoface.test:$port"), 4), qr/does not answer/,
        'without connect_timeout it does not take ten seconds, and nothing is said';
}

# ---- several hosts; literals; an address that is not a server's
my ($first, $second) = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) } 1, 2;
works(
    'three',
    at(
        '127.0.0.1:' . $first->sockport . ',127.0.0.1:' . $second->sockport . ",127.0.0.1:$port",
        '?connect_timeout=2'
    ),
    4
);
SKIP: {
    skip 'no IPv6 loopback', 2 unless $six;
    works('literal', at("[::1]:$port,127.0.0.1:$port", '?connect_timeout=2'), 2);
}
works('refused', at("127.0.0.1:1,no-such-host.invalid:$port,127.0.0.1:$port"), 1);
works(
    'environment', "user=ann dbname=train password=" . ($ann =~ m{ann:(\w+)@})[0], 3,
    PGHOST => "127.0.0.1,127.0.0.1",
    PGPORT => $first->sockport . ",$port",
    PGCONNECT_TIMEOUT => 2
);
close $_ for $first, $second;

# ---- what is wrong, and what to do: two lines and no more
sub ends {
    my ($name, $uri, $pattern, %opt) = @_;
    my ($status, $output) = $class->run(
        { timeout => 60, env => $opt{env} // {} },
        $program, ref $uri ? @$uri : ($uri),
        '--data', $class->data
    );
    is $status, 2, "$name: exit status 2" or diag $output;
    like $output, $pattern, "$name: what is wrong, and what to do";
    is scalar(() = $output =~ /\n/g), 2, "$name: in two lines" or diag $output;
    return;
}
ends(
    'a mistyped host',
    at("no-such-host.invalid:$port"),
    qr/\AThere is no computer named "no-such-host\.invalid"\.\nCheck the host in your connection string\.\n\z/
);
ends(
    'two mistyped hosts',
    at("a b.example:$port,no-such-host.invalid:$port") =~ s/a b/a%20b/r,
    qr/\AThere is no computer named /
);
ends(
    'a wrong password',
    $class->uri('ann', 'wrong'),
    qr/\APassword authentication failed for user "ann"\.\nCopy the whole connection string again, or ask your instructor for a new one\.\n\z/
);
ends(
    'no password',
    $class->uri('ann'),
    qr/\AThe connection string has no password\.\nPut the password into the connection string, or into PGPASSWORD\.\n\z/
);
ends(
    'no such database',
    $ann =~ s/train$/trian/r,
    qr/\ADatabase "trian" does not exist\.\nCheck the database's name at the end of your connection string\.\n\z/
);
$class->psql('CREATE DATABASE empty', db => 'postgres');
ends(
    'another database',
    $ann =~ s/train$/empty/r,
    qr/\AThis database has no class \(gannsfriends is not installed in it\)\.\nAsk your instructor for the address: this may be the wrong database\.\n\z/
);
$class->psql(q{CREATE ROLE passer LOGIN PASSWORD 'secret'});
ends(
    'no student',
    $class->uri('passer', 'secret'),
    qr/\APermission denied for function gan_run_config\.\nTell your instructor: this login is not a student of this class\.\n\z/
);
ends(
    'an "@" in the password',
    'postgresql://ann:pa@ss@127.0.0.1/train',
    qr/\AThe connection string has a port, sslmode or other option that can't be\.\nIn a password, write @ as %40.*\n\z/
);
ends(
    'hosts and ports that do not fit',
    "host=a,b,c port=1,2 dbname=train",
    qr/\AThe connection string has a port/
);
ends('no such service',
    'service=nowhere',
    qr/\A.*service.*\.\nCheck the service in your connection string, or PGSERVICE\.\n\z/);
ends(
    'TLS that is not there',
    "$ann?sslmode=require",
    qr/\AThe server has no TLS, which your connection string asks for\.\nTell your instructor, or leave sslmode out of the connection string\.\n\z/
);

# Something else listens at the port: it answers like a web server.
my $web = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die "$!";
my $answering = fork // die "fork: $!";
if ($answering == 0) {
    while (my $visitor = $web->accept) {
        sysread $visitor, my $bytes, 8;
        print $visitor "HTTP/1.1 400 Bad Request\r\n\r\n";
        close $visitor;
    }
    POSIX::_exit(0);
}
ends(
    'no PostgreSQL server',
    at('127.0.0.1:' . $web->sockport),
    qr/\AThat address is not a PostgreSQL server's\.\nCheck the host and the port in your connection string\.\n\z/
);
kill 'KILL', $answering;
waitpid $answering, 0;

# ---- what may pass is said once, and tried again
my $waiting = $class->start_background({ name => 'waiting' },
    $program, at('127.0.0.1:1'), '--data', $class->data);
ok $class->wait_for_log(
    $waiting,
    qr/^127\.0\.0\.1 refuses connections on port 1: no server runs there\.\nCheck the host and the port in your connection string; trying again until the server answers\.\n/,
    20
    ),
    'a port at which nobody listens is tried again, and the port named';
sleep 3;
is scalar(() = $class->log_of($waiting) =~ /\n/g), 2, 'which is said once'
    or diag $class->log_of($waiting);
$class->signal($waiting, 'INT');
is $class->wait_for($waiting, 10), 0, 'Ctrl-C ends it';
is scalar(() = $class->log_of($waiting) =~ /\n/g), 2, 'without another word';
$class->psql("SELECT gan_stop($run)");
done_testing;
