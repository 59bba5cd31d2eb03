# The dashboard answers at the address that it prints, wherever it listens, and refuses the names of
# other sites.
use strict;
use warnings;
use Test::More;
use GannTest;
use IO::Socket::IP;
use Socket qw(getaddrinfo getnameinfo NI_NUMERICHOST SOCK_STREAM);

my $server = GannTest->new;
$server->psql('CREATE ROLE screen LOGIN IN ROLE gan_viewer');
my $database = 'host='
    . $server->host
    . ' port='
    . $server->port
    . ' user=screen dbname='
    . $server->{database};

# Sends a request to a numeric address by hand, under a name; returns the status.
sub status {
    my ($at, $port, $name) = @_;
    my $socket = IO::Socket::IP->new(PeerHost => $at, PeerPort => $port, Timeout => 10)
        or return "no connection: $@";
    print {$socket} "GET / HTTP/1.1\r\nHost: $name\r\nConnection: close\r\n\r\n";
    return ((<$socket> // '') =~ /^HTTP\/1\.1 (\d+)/)[0];
}

# Starts gan_dashboard; returns its pid and the addresses that it printed.
sub dashboard {
    my (@options) = @_;
    my $pid =
        $server->start_background({ name => 'dashboard', env => { GAN_DASHBOARD_TOKEN => '' } },
        'src/dashboard/gan_dashboard', '--connect', $database, @options);
    $server->wait_for_log($pid, qr{http://\S+:\d+/}, 20);
    my @printed = $server->log_of($pid) =~ m{http://(\S+?)/}g;
    return ($pid, @printed);
}

sub leave { my ($pid) = @_; $server->signal($pid, 'TERM'); return $server->wait_for($pid, 20) }

# Names that lead to this machine: which of them are there depends on /etc/hosts.
sub leads_to {
    my ($name) = @_;
    my ($error, @found) = getaddrinfo($name, 0, { socktype => SOCK_STREAM });
    return if $error || !@found;
    return (getnameinfo($found[0]{addr}, NI_NUMERICHOST))[1];
}

my $six = IO::Socket::IP->new(Listen => 1, LocalHost => '::1', LocalPort => 0);
chomp(my $own = `hostname`);
for my $case (
    [ '127.0.0.1', '127.0.0.1' ],
    [ '127.0.1.1', '127.0.1.1' ],    # what Debian calls the machine itself
    [ '127.9.8.7', '127.9.8.7' ],
    [ '127.1', '127.0.0.1' ],
    [ 'localhost', leads_to('localhost') ],
    (leads_to($own) // '') =~ /^127\./ ? [ $own, leads_to($own) ] : (),
    $six ? ([ '[::1]', '::1' ], [ '[::ffff:127.0.1.1]', '127.0.1.1' ]) : (),
    )
{
    my ($host, $at) = @{$case};
    my ($pid, $printed) = dashboard('--listen', "$host:0");
    like $printed, qr/^\Q$host\E:\d+$/i, "--listen $host prints its address";
    my ($port) = $printed =~ /:(\d+)$/;
    is status($at, $port, $printed), 200, "which answers: $printed";
    is status($at, $port, $_), 200, "$host: so does Host: $_"
        for "localhost:$port", $at =~ /:/ ? "[$at]:$port" : "$at:$port";
    is status($at, $port, $_), 403, "$host: Host: $_ is refused"
        for "evil.example:$port", "$at.evil.example", '10.9.8.7';
    is leave($pid), 0, 'it ends';
}

# At all addresses: what it prints can be opened, and it is reached by each address.
for my $any ('0.0.0.0', $six ? '[::]' : ()) {
    my ($pid, $printed, @others) = dashboard('--listen', "$any:0");
    like $printed, qr/^127\.0\.0\.1:\d+$/, "--listen $any prints an address that a browser opens";
    my ($port) = $printed =~ /:(\d+)$/;
    is status('127.0.0.1', $port, $printed), 200, 'which answers';
    is status(split(/:/, $_), $_), 200, "and from other machines $_" for @others;
    is status('127.0.0.2', $port, "127.0.0.2:$port"), 200, 'as does any other';
    is status('::1', $port, "[::1]:$port"), 200, 'of IPv6, too' if $any eq '[::]';
    like $server->log_of($pid),
        qr/everybody who reaches \S+ can see the class's names\nTo ask for a token, add --token-file FILE\.\n/,
        'it warns that everybody can look';
    leave($pid);
}

# A proxy's name, and one that isn't this program's.
my ($pid, $printed) = dashboard('--listen', '127.0.0.1:0', '--host', 'faces.example.edu');
my ($port) = $printed =~ /:(\d+)$/;
is status('127.0.0.1', $port, 'faces.example.edu'), 200, 'the name that --host gives is answered';
is status('127.0.0.1', $port, 'other.example.edu'), 403, 'and no other';

# Where it can't listen it ends, and says what to do.
for my $case (
    [
        "127.0.0.1:$port",
        qr/the port is taken by another program\nChoose another port with --listen HOST:PORT/
    ],
    [
        '192.0.2.1:0',
        qr/this machine doesn't have that address\nUse --listen 127\.0\.0\.1:8765 for this machine alone/
    ],
    [
        'no-such-host.invalid:0',
        qr/no-such-host\.invalid, port 0: .+\nGive --listen an address of this machine/
    ],
    )
{
    my ($status, $output) = $server->run({ timeout => 30, env => { GAN_DASHBOARD_TOKEN => '' } },
        'src/dashboard/gan_dashboard', '--connect', $database, '--listen', $case->[0]);
    is $status, 2, "--listen $case->[0] is a mistake";
    like $output, qr/^gan_dashboard: can't listen at .*$case->[1]/,
        'which is named, with the remedy';
    is scalar(() = $output =~ /\n/g), 2, 'in two lines';
}
leave($pid);

done_testing;
