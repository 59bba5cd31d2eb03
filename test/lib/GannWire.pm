# PostgreSQL's protocol, message by message: what a client can do that libpq would not.
#
#   my $wire = GannWire->new($server, 'ann');            # by the Unix-domain socket, where the test is trusted
# by TCP, where pg_hba.conf must trust
#   my $wire = GannWire->new($server, 'ann', from => '127.0.0.2');
#   $wire->send(GannWire::query('SELECT 1'));
#   my @messages = $wire->receive(5);                    # until ReadyForQuery: [type, body], …
#   $wire->ended(75);                                    # seconds until the server hung up; undef: it did not
package GannWire;
use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(time);

# Connects and waits until the session is ready; options are settings of the startup message. Dies
# with the server's message.
sub new {
    my ($class, $server, $user, %options) = @_;
    my $self = $class->connected($server, delete $options{from});
    my %startup = (user => $user, database => $server->database, %options);
    my $body = pack('N', 196608) . join('', map {"$_\0$startup{$_}\0"} sort keys %startup) . "\0";
    $self->send(pack('N', 4 + length $body) . $body);
    my @messages = $self->receive(20);
    die error_of(@messages) . "\n" if !@messages || $messages[-1][0] ne 'Z';
    return $self;
}

# A connection on which nothing was said yet.
sub connected {
    my ($class, $server, $from) = @_;
    my $socket = $from
        ? IO::Socket::INET->new(
        PeerAddr => '127.0.0.1',
        PeerPort => $server->port,
        LocalAddr => $from
        )
        : IO::Socket::UNIX->new(
        Type => SOCK_STREAM,
        Peer => $server->host . '/.s.PGSQL.' . $server->port
        );
    $socket or die "connect: $!\n";
    return bless { socket => $socket, buffer => '' }, $class;
}

# Sends bytes; false where the server has hung up.
sub send {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $sent = 0; $sent < length $bytes;) {
        my $now = syswrite $self->{socket}, $bytes, 1 << 20, $sent;
        return 0 if !$now;
        $sent += $now;
    }
    return 1;
}

# Sends the same bytes again and again and reads nothing, until the server takes no more for a
# second and a half; how many it took.
sub flood {
    my ($self, $bytes) = @_;
    my ($all, $sent) = ($bytes x (1 + (1 << 20) / length $bytes), 0);
    local $SIG{PIPE} = 'IGNORE';
    $self->{socket}->blocking(0);
    while ($sent < 1 << 30 && IO::Select->new($self->{socket})->can_write(1.5)) {
        my $now = syswrite $self->{socket}, $all, 1 << 16, $sent % length $bytes;
        last if !defined $now && !$!{EAGAIN};
        $sent += $now // 0;
    }
    $self->{socket}->blocking(1);
    return $sent;
}

# Reads messages until ReadyForQuery, the end of the connection or of the time.
sub receive {
    my ($self, $seconds) = @_;
    my ($until, @messages) = time + $seconds;
    while (1) {
        while (length $self->{buffer} >= 5) {
            my ($type, $size) = unpack 'aN', $self->{buffer};
            last if length $self->{buffer} < 1 + $size;
            my $message = substr $self->{buffer}, 0, 1 + $size, '';
            push @messages, [ $type, substr $message, 5 ];
            return @messages if $type eq 'Z';
        }
        my $rest = $until - time;
        return @messages if $rest <= 0 || !IO::Select->new($self->{socket})->can_read($rest);
        sysread($self->{socket}, $self->{buffer}, 65536, length $self->{buffer})
            or return @messages;
    }
}

# Waits until the server hangs up: the seconds it took, or undef if it didn't within $seconds.
sub ended {
    my ($self, $seconds) = @_;
    my $start = time;
    while ((my $rest = $start + $seconds - time) > 0) {
        next if !IO::Select->new($self->{socket})->can_read($rest);
        return time - $start if !sysread $self->{socket}, my $ignored, 65536;
    }
    return;
}

# The SQLSTATE of the first error among messages; '' if there is none.
sub state_of {
    my ($error) = grep { $_->[0] eq 'E' } @_;
    return $error ? ($error->[1] =~ /(?:^|\0)C([0-9A-Z]{5})\0/)[0] // '?' : '';
}

sub error_of {
    my ($error) = grep { $_->[0] eq 'E' } @_;
    return $error ? ($error->[1] =~ /(?:^|\0)M([^\0]*)\0/)[0] // '?' : 'no answer';
}

# Messages of the client.
sub message { return $_[0] . pack('N', 4 + length $_[1]) . $_[1] }
sub query { return message('Q', "$_[0]\0") }
sub parse { return message('P', ($_[1] // '') . "\0$_[0]\0" . pack('n', 0)) }
sub execute { return message('E', "\0" . pack('N', $_[0] // 0)) }
sub sync { return message('S', '') }

# The unnamed portal of the unnamed statement with parameters, binary.
sub bind_to {
    my @values = @_;
    return message('B',
              "\0\0"
            . pack('nnn', 1, 1, scalar @values)
            . join('', map { pack('N', length $_) . $_ } @values)
            . pack('n', 0));
}

# A function call without SQL ("fast path").
sub call {
    my ($function, @values) = @_;
    return message('F',
              pack('Nnnn', $function, 1, 1, scalar @values)
            . join('', map { pack('N', length $_) . $_ } @values)
            . pack('n', 1));
}

1;
