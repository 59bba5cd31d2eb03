# A TCP proxy between a worker and its server that counts bytes, knows the protocol's messages, and
# can cut a connection at a chosen point.
#
#   my $proxy = GannProxy->new($class);                           # $class->worker(…) connects through $proxy->uri($class->student('ann'))
#   $proxy->cut('up bytes 1000 from gan_upload');
#   $proxy->cut_done(30) or …;
#   $proxy->bytes('up');
#   $proxy->cut_when_quiet;
#
# A rule is for the first connection that comes to its point; the proxy then closes both sides of
# it, and lets later ones through:
#
#   DIRECTION bytes K from FUNCTION      after K more bytes, counted from the next statement that calls FUNCTION ("up", from the
#                                        worker) or from the answer to it ("down"); also from "connection", its first byte
#   DIRECTION messages N from FUNCTION   after N more messages of the protocol
#   answer from FUNCTION                 the statement is executed and committed, but nothing of its answer arrives
#
# The worker must not use TLS: the proxy reads along. A program and its library: the proxy is `perl
# GannProxy.pm PORT SERVER_PORT FOLDER`.
package GannProxy;
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

# ---- the library

sub new {
    my ($class, $server, %opt) = @_;
    my $self = bless {
        server => $server,
        folder => $server->folder . '/proxy' . ++$server->{proxies},
        port => GannTest::_free_port()
    }, $class;
    mkdir $self->{folder} or die "$self->{folder}: $!";
    $self->{pid} = $server->start_background({ name => 'proxy' },
        $^X, __FILE__, $self->{port}, $server->port, $self->{folder});
    for (1 .. 200) {
        last if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port});
        sleep 0.05;
    }
    return $self;
}

# A connection string that leads through the proxy, without TLS.
sub uri {
    my ($self, $uri) = @_;
    return $uri =~ s/:\d+\/(\w+)$/:$self->{port}\/$1?sslmode=disable&gssencmode=disable/r;
}

# Bytes that went one way so far, 'up' (to the server) or 'down'.
sub bytes {
    my ($self, $way) = @_;
    open my $in, '<', "$self->{folder}/$way" or return 0;
    my $sum = 0;
    $sum += $_ while <$in>;
    return $sum;
}

sub cut {
    my ($self, $rule) = @_;
    $rule =~ /^(?:(?:up|down) (?:bytes|messages) \d+|answer) from \w+$/ or die "no rule: $rule";
    unlink "$self->{folder}/cut";
    open my $out, '>', "$self->{folder}/new" or die "$self->{folder}/new: $!";
    print {$out} $rule;
    close $out or die "$self->{folder}/new: $!";
    rename "$self->{folder}/new", "$self->{folder}/rule" or die "$self->{folder}/rule: $!";
    return;
}

# Cuts all connections that there are, once nothing has come over them for half a second: whatever
# was sent has arrived on both sides.
sub cut_when_quiet {
    my $self = shift;
    for (
        my $before = -1;
        (my $now = $self->bytes('up') + $self->bytes('down')) != $before;
        $before = $now
        )
    {
        sleep 0.5;
    }
    kill 'KILL', split ' ', `pgrep -P $self->{pid}`;
    return;
}

# What was cut, in words, once it is; undef at the end of the time.
sub cut_done {
    my ($self, $timeout) = @_;
    my $until = time + ($timeout // 30);
    while (!-e "$self->{folder}/cut") {
        return if time >= $until;
        sleep 0.01;
    }
    return GannTest::_slurp("$self->{folder}/cut");
}

# ---- the program: one process for each connection

# Takes the rule if it is one for this anchor; only one connection gets it.
sub take_rule {
    my ($c, $text) = @_;
    my $file = "$c->{folder}/rule";
    return if $c->{rule} || !-e $file;
    my $rule = GannProxy::read_file($file);
    my ($what, $anchor) = $rule =~ /^(.*) from (\w+)$/ or return;
    return unless $text =~ /\b\Q$anchor\E\b/ && rename $file, "$file.$$";
    my ($way, $unit, $left) = $what eq 'answer' ? ('answer', '', 0) : split / /, $what;
    # The answer to the statement whose Parse this is follows as many ends of answers as there were
    # Syncs before it, and the login's.
    $c->{rule} = {
        text => $rule,
        way => $way,
        unit => $unit,
        left => $left,
        ready_before => $anchor eq 'connection' ? 0 : $c->{syncs} + 1
    };
    return;
}

sub read_file {
    open my $in, '<', $_[0] or return '';
    local $/;
    return scalar(<$in>) // '';
}

# Tells whether a rule counts in this direction now.
sub is_counting {
    my ($c, $way) = @_;
    my $rule = $c->{rule} or return 0;
    return $rule->{way} eq $way && ($way eq 'up' || $c->{ready} >= $rule->{ready_before});
}

sub cut_now {
    my $c = shift;
    my $file = "$c->{folder}/cut";
    open my $out, '>', "$file.$$" or exit;
    print {$out} $c->{rule}{text};
    close $out;
    close $c->{$_}{from} for qw(up down);
    rename "$file.$$", $file;
    exit;
}

sub write_all {
    my ($c, $way, $bytes) = @_;
    my $to = $c->{ $way eq 'up' ? 'down' : 'up' }{from};
    for (my $at = 0; $at < length $bytes;) {
        $at += syswrite($to, $bytes, length($bytes) - $at, $at) // exit;
    }
    syswrite $c->{$way}{log}, length($bytes) . "\n" if length $bytes;
    return;
}

# Forwards bytes of one message, of which they may be the end.
sub forward {
    my ($c, $way, $bytes, $ends) = @_;
    my $rule = $c->{rule};
    if ($rule && $rule->{way} eq 'answer' && $way eq 'down' && $c->{ready} >= $rule->{ready_before})
    {
        cut_now($c) if $ends && $c->{down}{type} eq 'Z';    # ReadyForQuery: the transaction is over
        return;
    }
    my $counts = is_counting($c, $way);
    if ($counts && $rule->{unit} eq 'bytes' && $rule->{left} <= length $bytes) {
        write_all($c, $way, substr $bytes, 0, $rule->{left});
        cut_now($c);
    }
    write_all($c, $way, $bytes);
    $rule->{left} -= length $bytes if $counts && $rule->{unit} eq 'bytes';
    return unless $ends;
    cut_now($c) if $counts && $rule->{unit} eq 'messages' && --$rule->{left} <= 0;
    $c->{syncs}++ if $way eq 'up' && $c->{up}{type} eq 'S';
    $c->{ready}++ if $way eq 'down' && $c->{down}{type} eq 'Z';
    return;
}

# Cuts what came into messages. A message is a type, a length that counts itself, and the rest; the
# first of a worker's has no type.
sub feed {
    my ($c, $way) = @_;
    my $d = $c->{$way};
    while (length $d->{buffer}) {
        if (!$d->{left}) {
            my $typed = $way eq 'down' || $d->{greeted};
            my $head = $typed ? 5 : 4;
            return if length $d->{buffer} < $head;
            $d->{type} = $typed ? substr $d->{buffer}, 0, 1 : '';
            my $whole = $typed + unpack 'N', substr $d->{buffer}, $typed ? 1 : 0, 4;
            # Parse: the statement's text is looked at before it continues
            if ($way eq 'up' && $d->{type} eq 'P') {
                return if length $d->{buffer} < $whole;
                take_rule($c, substr $d->{buffer}, 0, $whole);
            }
            take_rule($c, 'connection') if !$typed;
            $d->{greeted} = 1;
            $d->{left} = $whole;
        }
        my $piece = substr $d->{buffer}, 0, $d->{left}, '';
        $d->{left} -= length $piece;
        forward($c, $way, $piece, $d->{left} == 0);
    }
    return;
}

sub serve_connection {
    my ($client, $server, $folder) = @_;
    my $c = {
        folder => $folder,
        syncs => 0,
        ready => 0,
        up => { from => $client },
        down => { from => $server }
    };
    for my $way ('up', 'down') {
        $c->{$way}{buffer} = '';
        $c->{$way}{left} = 0;
        open $c->{$way}{log}, '>>', "$folder/$way" or die "$folder/$way: $!";
    }
    my $select = IO::Select->new($client, $server);
    while (1) {
        for my $from ($select->can_read) {
            my $way = $from == $client ? 'up' : 'down';
            # an end, or an error: of both sides
            sysread($from, $c->{$way}{buffer}, 1 << 16, length $c->{$way}{buffer}) or exit;
            feed($c, $way);
        }
    }
}

sub serve {
    my ($port, $target, $folder) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $port,
        Listen => 8,
        ReuseAddr => 1
    ) or die "port $port: $!";
    $SIG{CHLD} = 'IGNORE';
    $SIG{PIPE} = 'IGNORE';
    while (1) {
        my $client = $listener->accept or next;
        my $pid = fork // die "fork: $!";
        next if $pid;
        close $listener;
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $target) or exit;
        serve_connection($client, $server, $folder);
    }
}

serve(@ARGV) unless caller;
1;
