#!/usr/bin/perl
# Stands between a worker and a server and notes how many bytes go which way.
#
#   count_bytes.pl PORT SERVER_PORT FOLDER
#
# Every read adds a line with its number of bytes to FOLDER/up or FOLDER/down.
use strict;
use warnings;
use IO::Socket::INET;

my ($port, $target, $folder) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 8, ReuseAddr => 1) or die "port $port: $!";
$SIG{CHLD} = 'IGNORE';

# Copies from one side to the other until it ends.
sub copy {
    my ($from, $to, $file) = @_;
    open my $log, '>>', $file or die "$file: $!";
    while (my $n = sysread $from, my $bytes, 1 << 16) {
        for (my $at = 0; $at < $n;) {
            my $written = syswrite $to, $bytes, $n - $at, $at;
            defined $written or exit;
            $at += $written;
        }
        syswrite $log, "$n\n";
    }
    shutdown $to, 1;
    exit;
}

while (my $client = $listener->accept) {
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $target) or next;
    fork // die "fork: $!" or copy($client, $server, "$folder/up");
    fork // die "fork: $!" or copy($server, $client, "$folder/down");
}
