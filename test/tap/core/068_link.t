# A worker behind a slow link: units arrive whole, and the lease holds while more is sent than it
# lasts.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep);
use GannClass;

# Server and near end of the link are in a network namespace of this test's, the worker and its end
# in one of its own: they go with their processes.
if (!$ENV{GANN_LINK_INSIDE}) {
    plan skip_all => 'a network namespace needs root' if $> != 0;
    plan skip_all => 'network namespaces are not permitted here'
        if system('unshare --net true 2>/dev/null') != 0;
    $ENV{GANN_LINK_INSIDE} = 1;
    exec 'unshare', '--net', '--', $^X, (map {"-I$_"} @INC), $0;
}

# The addresses are of those set apart for measurements (RFC 2544).
sub tbf { return "root tbf rate $_[0] burst 32kb latency 200ms" }
my $trouble =
    `{ ip link set lo up && ip link add near type veth peer name far && ip address add 198.18.1.1/30 dev near &&
    ip link set near up && tc qdisc add dev near @{[ tbf('50mbit') ]}; } 2>&1`;
plan skip_all => "no shaped link can be made: $trouble" if $? != 0;
plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();

my $class = GannClass->new(conf => ["listen_addresses = '127.0.0.1,198.18.1.1'"]);
my $hba = $class->psql('SHOW hba_file');
open my $out, '>>', $hba or die "$hba: $!";
print {$out} "host all all 198.18.1.0/30 scram-sha-256\n";
close $out or die "$hba: $!";
$class->psql('SELECT pg_reload_conf()');

# 6.4 MB a unit at 6 Mbit/s: more than two leases. The first weights are 25 MB at 50 Mbit/s: one.
my $lease = 4;
my $run = $class->create_run(
    'home',
    latent => 100,
    generator_features => 64,
    discriminator_features => 64,
    image_size => 64,
    channels => 3,
    images_per_unit => 2,
    batch => 2,
    units_per_iteration => 1,
    target_iterations => 2,
    lease_seconds => $lease,
    upload_element => "'int8'",
    download_element => "'int8'"
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate(300);
$class->{students}{ann} = $class->student('ann') =~ s/127\.0\.0\.1/198.18.1.1/r;

my $worker = $class->start_background(
    { name => 'worker-ann' }, 'unshare', '--net', '--', 'sh', '-c',
    'until [ -n "$(ip -o -4 address show up scope global)" ]; do sleep 0.05; done; exec "$@"', 'sh',
    GannClass::worker_program(), '--connect', $class->student('ann'), '--data', $class->data,
    '--once'
);
sleep 0.05
    until readlink("/proc/$worker/ns/net") ne readlink('/proc/self/ns/net')
    || !$class->is_running($worker);
my $moved = system(
    "ip link set far netns $worker && nsenter --target $worker --net sh -c '
    tc qdisc add dev far @{[ tbf('6mbit') ]} && ip address add 198.18.1.2/30 dev far && ip link set far up'"
);
is $moved, 0, 'the worker is behind a link of 6 Mbit/s up, 50 Mbit/s down';

is $class->wait_for($worker, 120), 0, 'it does two units, the whole run';
my ($seconds, $attempts, $units) = split /\|/, $class->psql(
    "SELECT min(extract(epoch FROM
            submitted_at - claimed_at)), max(attempts), count(*)
    FROM gan_work_unit WHERE run = $run AND state = 'done'"
);
cmp_ok $seconds, '>', 2 * $lease,
    sprintf('either took more than two leases of %d s: %.1f s at least', $lease, $seconds);
is "$units|$attempts", '2|1', 'and was claimed once: no lease ended';
unlike $class->log_of($worker), qr/lost|too late|trying again/,
    'nor did the worker lose one, or its connection';
is $class->psql("SELECT count(*), sum(units), sum(images) FROM gan_history WHERE run = $run"),
    '2|2|4', 'each was averaged once';
is $class->psql("SELECT units, images FROM gan_worker WHERE run = $run"), '2|4',
    'and credited once';
done_testing;
