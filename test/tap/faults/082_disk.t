# The server's disk is full, first where the data are, then where the WAL is: nobody has to do
# anything but make room.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;
use Time::HiRes qw(sleep);
use GannClass;

# Both disks are file systems in memory, in a mount namespace of this test's.
if (!$ENV{GANN_DISK_INSIDE}) {
    plan skip_all => 'mounting needs root' if $> != 0;
    plan skip_all => 'mount namespaces are not permitted here'
        if system('unshare --mount --propagation private true 2>/dev/null') != 0;
    $ENV{GANN_DISK_INSIDE} = 1;
    exec 'unshare', '--mount', '--propagation', 'private', '--', $^X, (map {"-I$_"} @INC), $0;
}
plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();

my ($class, @mounted);
my $wal = tempdir('/tmp/gann.XXXXXX');

END {
    local $?;
    eval { $class->stop('immediate') } if $class;
    system 'umount', '-l', $_ for @mounted;    # or the folders could not be removed
    rmdir $wal if defined $wal;
}

sub mount_disk {
    my ($folder, $megabytes) = @_;
    -d $folder || mkdir $folder or die "$folder: $!";
    system('mount', '-t', 'tmpfs', '-o', "size=${megabytes}m,mode=700", 'gann-test', $folder) == 0
        or die "mount $folder";
    push @mounted, $folder;
    chown +(getpwnam 'postgres')[ 2, 3 ], $folder or die "$folder: $!";
}
mount_disk($wal, 96);
$class = GannClass->new(
    wal => $wal,
    conf => [ "min_wal_size = '32MB'", "max_wal_size = '48MB'" ],
    prepare => sub { mount_disk("$_[0]/data", 300) }
);

# Takes all room that is left on a disk; returns the file that must go to make room again.
sub fill {
    my $ballast = "$_[0]/ballast";
    open my $out, '>', $ballast or die "$ballast: $!";
    my $block = "\0" x 65536;
    1 while syswrite $out, $block;
    $block = "\0" x 512;
    1 while syswrite $out, $block;
    return $ballast;
}

# Two shards a unit, of gradients, which go into tables that are emptied every time: each iteration
# asks the disk for room.
my $run = $class->create_run(
    'disk',
    generator_features => 32,
    discriminator_features => 32,
    images_per_unit => 64,
    units_per_iteration => 1,
    lease_seconds => 5,
    target_iterations => 10000
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate_again;
my $worker = $class->worker('ann');
sub iteration { return $class->psql("SELECT iteration FROM gan_run WHERE run = $run") }

sub goes_on {
    return $class->poll_until("SELECT iteration >= $_[0] FROM gan_run WHERE run = $run", 't', 120);
}
ok goes_on(3), 'the class is at work';

# Stops the worker in the middle of a unit: after it has claimed, before it has uploaded. (Were its
# unit handed over already, only the step would find no room, and the worker would wait for it.)
sub pause_in_a_unit {
    for (1 .. 200) {
        kill 'STOP', $worker;
        return 1
            if $class->psql(
                "SELECT EXISTS (SELECT FROM gan_work_unit u WHERE run = $run AND state = 'claimed'
                    AND NOT EXISTS (SELECT FROM gan_gradient_piece p WHERE p.unit = u.unit))"
            ) eq 't';
        kill 'CONT', $worker;
        sleep 0.02;
    }
    return 0;
}

# The disk of the data
ok pause_in_a_unit(), 'the worker computes a unit';
my $ballast = fill("$class->{folder}/data");
kill 'CONT', $worker;
# (Where it is the server's own books that find no room it panics, and comes back: then that is what
# the worker says.)
my $plain =
    qr/(?:No space left on device|[Cc]ould not extend file).*\n(?:.*\n)?.*trying again until the server answers/;
my $panic = sub {
    $class->server_log =~ /PANIC: [^\n]*No space left on device/
        && $class->log_of($worker) =~
        /crash of another server process(?s:.*)trying again until the server answers/;
};
ok $class->wait_for_log($worker, $plain, 60) || $panic->(),
    'the disk is full, and the worker says so in plain words'
    or diag substr $class->server_log, -3000;
my $before = iteration();
sleep 3;
cmp_ok iteration(), '<=', $before + 1, 'nothing continues';
ok $class->is_running($worker), 'but the worker stays';
unlink $ballast or die "$ballast: $!";
ok goes_on($before + 5), 'when there is room again, so does the class';
like $class->log_of($worker), qr/the server answers again/, 'as the worker says';

# The disk of the WAL: PostgreSQL panics, and recovers when it can
my $data_full = length $class->server_log;
$ballast = fill($wal);
my $panicked = 0;
for (1 .. 600) {
    last
        if $panicked = substr($class->server_log, $data_full) =~ /PANIC: .*No space left on device/;
    sleep 0.1;
}
ok $panicked, 'without room for the WAL the server stops with a panic';
sleep 2;
ok $class->is_running($worker), 'the worker stays';
unlink $ballast or die "$ballast: $!";

# If PostgreSQL could not even recover, it has ended, and its service manager starts it again.
$class->restart_if_ended;
ok goes_on($before + 10), 'when there is room again the server recovers, and the class continues';
ok $class->is_running($worker), 'with the same worker';
$class->psql("SELECT gan_stop($run)");
is $class->wait_for($worker, 60), 0, 'which ends with the run';
my $done = iteration();
is $class->psql(
    "SELECT count(*), sum(images), range_agg(positions) FROM gan_history
        WHERE run = $run"
    ),
    sprintf("%d|%d|{[0,%d)}", $done, 64 * $done, 64 * $done),
    'every position was averaged once';
is $class->psql("SELECT images FROM gan_worker WHERE run = $run"), 64 * $done, 'and credited once';
done_testing;
