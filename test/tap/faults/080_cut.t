# The connection is cut at every kind of place, and each unit still counts exactly once: the weights
# are those of a class whose network never failed, bit by bit.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;
use GannProxy;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

# Two shards a unit, in int8: what rounding leaves is carried from unit to unit, so nothing may be
# lost or sent twice unnoticed.
my %network = (
    latent => 16,
    generator_features => 32,
    discriminator_features => 32,
    local_steps => 2,
    batch => 4,
    images_per_unit => 8,
    units_per_iteration => 1,
    lease_seconds => 60,
    target_iterations => 10000,
    upload_element => "'int8'",
    download_element => "'int8'"
);
my ($smooth, $rough) = map { $class->create_run($_, %network) } 'smooth', 'rough';
$class->psql("SELECT gan_start(run) FROM gan_run");
my $proxy = GannProxy->new($class);
$class->{students}{ann} = $proxy->uri($class->student('ann'));
my $coordinator = $class->coordinate;
my $worker = $class->worker('ann', '--run', 'rough');
my $other = $class->worker('bo', '--run', 'smooth');

sub iteration { return $class->psql("SELECT iteration FROM gan_run WHERE run = $rough") }

sub goes_on {
    return $class->poll_until("SELECT iteration >= $_[0] FROM gan_run WHERE run = $rough", 't', 120);
}

ok goes_on(3), 'the class is at work';
my ($begin, $bytes) = (iteration(), $proxy->bytes('up'));
goes_on($begin + 10);
my $unit_bytes = ($proxy->bytes('up') - $bytes) / (iteration() - $begin);
cmp_ok $unit_bytes, '>', 300_000, sprintf('a unit sends %.0f bytes', $unit_bytes);

# Cuts at each of the points; a rule whose point did not come, or after which the worker did not go
# on, is counted as failed.
sub cuts {
    my ($name, @rules) = @_;
    my @failed;
    for my $rule (@rules) {
        $proxy->cut($rule);
        $class->psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'gan_worker'
                AND usename = 'ann'"
        ) if $rule =~ /connection$/;
        my $done = $proxy->cut_done(60);
        push @failed, $rule unless defined $done && goes_on(iteration() + 1);
        last if @failed > 2;
    }
    is join(', ', @failed), '',
        "$name: the connection was cut at " . @rules . ' points, and the worker went on';
    return;
}

# 24 points of the upload; its first and last bytes are among them.
cuts(
    'bytes of the upload',
    map { sprintf 'up bytes %d from gan_upload', $_ } 1,
    4, 5, 6, map { $unit_bytes * $_ / 20 } 1 .. 20
);

# After each message, in each direction: of logging in and LISTEN, and of a unit from claim to
# submission. In the short dose every ninth.
my $step = GannTest::long_run() ? 1 : 9;

sub some {
    return grep { ($_ - 1) % $step == $step >> 1 } 1 .. $_[0];
}
cuts('messages to the server', map {"up messages $_ from gan_claim"} some(35));
cuts('messages from the server', map {"down messages $_ from gan_claim"} some(42));
cuts('messages of the login to the server', map {"up messages $_ from connection"} some(8));
cuts('messages of the login from the server', map {"down messages $_ from connection"} some(25));
cuts(
    'bytes of the weights',
    map { sprintf 'down bytes %d from gan_fetch_change', $unit_bytes * $_ / 4 } 0.01,
    1, 2, 3
);

# The server has committed, and the worker never learns of it.
cuts(
    'lost answers',
    map {"answer from $_"} qw(gan_claim gan_fetch_change gan_upload gan_submit),
    ('gan_submit') x 3
);

ok $class->is_running($worker), 'the worker is the same process as at the beginning';
$class->psql("SELECT gan_stop($rough)");
is $class->wait_for($worker, 60), 0, 'and ends in good order when the run does';
my $reached = iteration();
ok $class->poll_until("SELECT iteration >= $reached FROM gan_run WHERE run = $smooth", 't', 300),
    "the other class has done $reached iterations, too";
$class->psql("SELECT gan_stop($smooth)");
$class->wait_for($other, 60);

is $class->psql(
    "SELECT count(*), sum(units), sum(images), range_agg(positions) FROM gan_history
        WHERE run = $rough"
    ),
    sprintf('%d|%d|%d|{[0,%d)}', $reached, $reached, 8 * $reached, 8 * $reached),
    'each position was averaged exactly once';
is $class->psql("SELECT units, images FROM gan_worker WHERE run = $rough"),
    "$reached|" . 8 * $reached, 'and credited once';
is $class->psql(
    "SELECT count(*), min(iteration) FROM gan_history a
        JOIN gan_history b USING (iteration)
        WHERE a.run = $rough
        AND b.run = $smooth
        AND a.weights_digest <> b.weights_digest"
    ),
    '0|', 'and after every iteration the weights are those of the class whose network never failed';
done_testing;
