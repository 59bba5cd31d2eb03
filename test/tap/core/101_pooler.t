# A pooler between the worker and the server: PgBouncer, by session and by transaction.
use strict;
use warnings;
use Test::More;
use GannClass;

my ($pooler) = grep {-x} '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer';
plan skip_all => 'pgbouncer is not installed' unless $pooler;

my $class = GannClass->new;
my $port = $class->port;
$class->{data_file} = $class->folder . '/images-idx3-ubyte';
GannClass::write_file(
    $class->data,
    pack('N4', 0x803, 64, 28, 28) . join '',
    map { chr($_ * 37 % 251) } 1 .. 64 * 28 * 28
);
my @student = ('ann', 'bo');
my %uri = map { $_ => $class->student($_) } @student;
GannClass::write_file($class->folder . '/users',
    join '', map { my ($password) = $uri{$_} =~ m{:([^:@]+)\@}; qq{"$_" "$password"\n} } @student);

# Starts a pooler; returns its pid and its port.
sub pooler {
    my ($mode) = @_;
    my $listens = GannTest::_free_port();
    my $config = $class->folder . "/$mode.ini";
    GannClass::write_file($config, <<"INI");
[databases]
train = host=127.0.0.1 port=$port dbname=train
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $listens
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${\$class->folder}/users
pool_mode = $mode
default_pool_size = 2
INI
    chmod 0644, $config, $class->folder . '/users';
    chmod 0755, $class->folder;
    my $pid =
        $class->start_background({ name => "pgbouncer-$mode", $> == 0 ? (user => 'postgres') : () },
        $pooler, $config);
    $class->wait_for_log($pid, qr/process up/, 20);
    return ($pid, $listens);
}

for my $mode ('session', 'transaction') {
    my $run = $class->create_run(
        $mode,
        latent => 2,
        generator_features => 1,
        discriminator_features => 1,
        images_per_unit => 8,
        target_iterations => 10
    );
    $class->psql("SELECT gan_start($run)");
    my ($pid, $listens) = pooler($mode);
    my $coordinator = $class->coordinate;
    my @worker = map {
        $class->{students}{$_} = $uri{$_} =~ s/:$port\//:$listens\//r;
        $class->worker($_, '--run', $mode)
    } @student;
    is join(' ', map { $class->wait_for($_, 60) // 'none' } @worker), '0 0',
        "pool_mode $mode: two workers train a run to its end"
        or diag map { $class->log_of($_) } @worker, $pid;
    is $class->psql("SELECT state, iteration FROM gan_run WHERE run = $run"), 'finished|10',
        'of ten iterations';
    unlike $class->log_of($_), qr/again in|server:|ERROR/, 'without a second try' for @worker;
    is $class->wait_for($coordinator, 30), 0, 'with its coordinator';
    $class->signal($pid, 'TERM');    # runuser hands that on
    defined $class->wait_for($pid, 10) or $class->signal($pid, 'KILL');
}
done_testing;
