# How results and words travel: uploads while computing, repairs after losses, workers that are
# woken and can't be worn out.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use GannClass;

my $class = GannClass->new(conf => ["track_functions = 'all'"]);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my %full = (
    latent => 100,
    generator_features => 64,
    discriminator_features => 64,
    image_size => 64,
    channels => 3
);

sub claims {
    return $class->psql(q{SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions
        WHERE funcname = 'gan_claim'});
}

sub state_of {
    return $class->psql(
        "SELECT string_agg(state, ' ' ORDER BY unit) FROM gan_work_unit
        WHERE run = $_[0]
        AND iteration = 0"
    );
}

# Whole shards of the discriminator's gradient are there before the unit is finished; what is lost
# is sent again.
my $run = $class->create_run(
    'parts', %full,
    images_per_unit => 64,
    batch => 32,
    units_per_iteration => 1,
    target_iterations => 1,
    lease_seconds => 60
);
$class->psql("SELECT gan_start($run)");
my $worker = $class->worker({ env => { GANN_TEST_PAUSE_MS => 3000 } }, 'ann', '--run', 'parts');
ok $class->poll_until("SELECT count(*) > 0 FROM gan_gradient WHERE run = $run", 't', 60),
    'the first shards come before the unit is submitted';
is state_of($run), 'claimed', 'while it is in progress';
is $class->psql("SELECT max(shard), count(*) = 25 - min(shard) FROM gan_gradient WHERE run = $run"),
    '24|t', 'they are the ones that are final first: the discriminator\'s, from the last';
my $pid = $class->psql(q{SELECT pid FROM pg_stat_activity WHERE usename = 'ann'});
sleep 1;
$class->psql("DELETE FROM gan_gradient_piece_r${run}_0; SELECT pg_terminate_backend($pid)");
ok $class->poll_until("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $run",
    'done', 60),
    'a connection that is lost in between costs nothing but a new one';
is $class->psql(
    "SELECT count(DISTINCT shard), max(attempts) FROM gan_gradient g
        JOIN gan_work_unit u USING (unit)
        WHERE g.run = $run"
    ),
    '26|1',
    'and the shards that were lost with it are sent again: the unit was done in one attempt';
$class->psql("SELECT gan_tick($run)");
is $class->wait_for($worker, 20), 0, 'and the worker ends with the run';

# float16 on the way: the same unit, the same gradient to eleven bits, in half the bytes.
sub gradient_of {
    my ($name, $element) = @_;
    my $one = $class->create_run(
        $name,
        units_per_iteration => 1,
        target_iterations => 1,
        seed => 5,
        upload_element => "'$element'"
    );
    $class->psql("SELECT gan_start($one)");
    my $half = $class->worker('ann', '--run', $name);
    $class->poll_until("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $one",
        'done', 60)
        or return;
    $class->psql("SELECT gan_tick($one)");
    $class->wait_for($half, 20);
    my $blob = pack 'H*', $class->psql(
        "SELECT encode(data, 'hex') FROM gan_gradient
            WHERE run = $one
            AND shard = 0"
    );
    return unpack 'f<*', substr $blob, 24;
}
my @exact = gradient_of('float32', 'float32');
my @half = gradient_of('float16', 'float16');
my ($squares, $errors, $different) = (0, 0, 0);
for my $i (0 .. $#exact) {
    $squares += $exact[$i]**2;
    $errors += ($exact[$i] - $half[$i])**2;
    $different++ if $exact[$i] != $half[$i];
}
is scalar @half, scalar @exact, 'a gradient that came as float16 is as long as any';
cmp_ok $different, '>', @exact / 2, 'it is rounded';
cmp_ok sqrt($errors / $squares), '<=', 3e-4,
    sprintf('by a relative error of %.2g', sqrt($errors / $squares));

my @byte = gradient_of('int8', 'int8');
($squares, $errors) = (0, 0);
for my $i (0 .. $#exact) {
    $squares += $exact[$i]**2;
    $errors += ($exact[$i] - $byte[$i])**2;
}
cmp_ok sqrt($errors / $squares), '<=', 1.2e-2,
    sprintf('int8 has a relative error of %.2g', sqrt($errors / $squares));

# int8 on the way, in a run whose weights stay where they are: what rounding takes away of one unit
# is added to the next one, so the sum of all that arrived is never off by more than half a step,
# whatever is lost in between.
sub follow {
    my ($name, $element, $between) = @_;
    my $one = $class->create_run(
        $name,
        units_per_iteration => 1,
        target_iterations => 6,
        seed => 5,
        learning_rate => 1e-30,
        upload_element => "'$element'",
        lease_seconds => 60
    );
    $class->psql("SELECT gan_start($one)");
    my ($follower, @sums) = (
        $class->worker(
            { env => { GANN_TEST_PAUSE_MS => $between ? 700 : 0 } },
            'ann', '--run', $name
        )
    );
    for my $i (0 .. 5) {
        $follower = $between->($i, $one, $follower) if $between;
        $class->poll_until("SELECT state FROM gan_work_unit WHERE run = $one AND iteration = $i",
            'done', 60)
            or return;
        my @now = unpack 'f<*', substr pack(
            'H*',
            $class->psql(
                "SELECT encode(data, 'hex')
                FROM gan_gradient
                WHERE run = $one
                AND iteration = $i
                AND shard = 0"
            )
            ),
            24;
        push @sums, [ map { $now[$_] + (@sums ? $sums[-1][$_] : 0) } 0 .. $#now ];
        $class->psql("SELECT gan_tick($one)");
    }
    is $class->wait_for($follower, 20), 0, "$name: the worker ends with the run";
    return @sums;
}

# The largest difference of two sums in half steps of the block that was sent last.
sub half_steps {
    my ($exact, $rounded, $before) = @_;
    my $largest = 0;
    for (my $block = 0; $block < @$exact; $block += 256) {
        my $end = $block + 255 < $#$exact ? $block + 255 : $#$exact;
        my ($step, $error) = (0, 0);
        for my $i ($block .. $end) {
            my $sent = abs($rounded->[$i] - ($before ? $before->[$i] : 0)) / 127;
            $step = $sent if $sent > $step;
            $error = abs($exact->[$i] - $rounded->[$i])
                if abs($exact->[$i] - $rounded->[$i]) > $error;
        }
        $largest = 2 * $error / $step if $step && 2 * $error / $step > $largest;
    }
    return $largest;
}
my @followed = follow('steady', 'float32');
my @rounded = follow('rounded', 'int8');
my @worst = map { half_steps($followed[$_], $rounded[$_], $_ ? $rounded[ $_ - 1 ] : undef) } 0 .. 5;
cmp_ok $worst[0], '>', 0.9, 'int8 rounds';
cmp_ok $worst[$_], '<=', 1.001,
    sprintf('the sum after unit %d is off by %.4f half steps', $_, $worst[$_])
    for 0 .. 5;

# A lease that is lost in the middle, and a worker that starts again.
my @disturbed = follow(
    'disturbed',
    'int8',
    sub {
        my ($i, $one, $follower) = @_;
        if ($i == 2) {
            $class->poll_until(
                "SELECT count(*) > 0 FROM gan_gradient
                WHERE run = $one
                AND iteration = $i", 't', 30
            );
            $class->psql(
                "UPDATE gan_work_unit
                SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
                    lease_until = NULL
                WHERE run = $one
                AND iteration = $i
                AND state = 'claimed'"
            );
            $class->poll_until(
                "SELECT attempts FROM gan_work_unit WHERE run = $one AND iteration = $i",
                '2', 30);
        } elsif ($i == 4) {
            $class->signal($follower, 'KILL');
            $class->wait_for($follower, 10);
            $class->psql(
                "UPDATE gan_work_unit
                SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
                    lease_until = NULL
                WHERE run = $one
                AND state = 'claimed'"
            );
            $follower = $class->worker('ann', '--run', 'disturbed');
        }
        return $follower;
    }
);
is_deeply $disturbed[3], $rounded[3],
    'a unit that was lost on the way changes nothing of what arrives';
my @since = map { [ map { $disturbed[4][$_] - $disturbed[3][$_] } 0 .. $#{ $disturbed[4] } ] } 0;
my @wanted = map { $followed[4][$_] - $followed[3][$_] } 0 .. $#{ $followed[4] };
cmp_ok half_steps(\@wanted, $since[0]), '<=', 1.001,
    'a worker that starts again begins without a residual';

# A unit that is not finite in the end is never submitted, whatever was uploaded of it.
$run = $class->create_run(
    'nan',
    units_per_iteration => 1,
    target_iterations => 1,
    lease_seconds => 60
);
my $count = $class->psql("SELECT parameters FROM gan_run WHERE run = $run");
my $crc = 0xffffffff;
my $data = pack 'f<*', (3e38) x $count;
my @table =
    map { my $c = $_; $c = $c & 1 ? $c >> 1 ^ 0x82F63B78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;
$crc = $crc >> 8 ^ $table[ ($crc ^ $_) & 255 ] for unpack 'C*', $data;
my $blob = 'GANF' . pack('vvQ<VV', 1, 1, $count, $crc ^ 0xffffffff, 0) . $data;
$class->psql("UPDATE gan_state_piece_r${run}_0 SET data = substr(decode('"
        . unpack('H*', $blob)
        . "', 'hex'), piece * 8072 + 1, 8072) WHERE part = 0 AND shard = 0; SELECT gan_start($run)"
);
my $submissions = $class->psql(q{SELECT sum(calls) FROM pg_stat_user_functions
        WHERE funcname = 'gan_submit'});
$worker = $class->worker('ann', '--run', 'nan');
ok $class->poll_until(
    "SELECT attempts >= 1
        AND state = 'pending' FROM gan_work_unit
        WHERE run = $run", 't', 30
    ),
    'a unit whose result is not finite is released';
like $class->log_of($worker), qr/can't be computed/, 'the worker says so';
$class->psql("SELECT gan_stop($run)");
is $class->wait_for($worker, 20), 0, 'and continues';
is $class->psql(q{SELECT sum(calls) FROM pg_stat_user_functions WHERE funcname = 'gan_submit'}),
    $submissions, 'nothing of it was submitted';

# Waiting workers are woken: the poll alone would take two seconds.
$run = $class->create_run(
    'wake',
    units_per_iteration => 3,
    target_iterations => 1,
    lease_seconds => 60
);
$class->student('bo');
$worker = $class->worker('ann', '--run', 'wake');
ok $class->poll_until("SELECT count(*) FROM gan_worker WHERE run = $run", '1', 30),
    'a worker waits for the start';
sleep 0.5;
$class->psql("SELECT gan_start($run)");
ok $class->poll_until(
    "SELECT count(*) > 0 FROM gan_work_unit
        WHERE run = $run
        AND claimed_at IS NOT NULL", 't', 10
    ),
    'which it gets work from';
is $class->psql(
    "SELECT min(claimed_at) - min(opened_at) < interval '300 ms' FROM gan_work_unit
        WHERE run = $run"
    ),
    't', 'because it is woken';
ok $class->poll_until("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'done'",
    '3', 30),
    'and does all units';

# A student who sends words without end makes the others ask no more often than every 50 ms.
sleep 1;
my $before = claims();
my $started = time;
my $flood = $class->start_background(
    { name => 'flood' }, $class->{bindir} . '/psql', '-Xq', $class->student('bo'),
    '-c', "DO \$\$ BEGIN FOR i IN 1 .. 400 LOOP EXECUTE format('NOTIFY gan_run_$run, %L',
                repeat('x', 1000) || i); COMMIT; PERFORM pg_sleep(0.005); END LOOP; END \$\$"
);
is $class->wait_for($flood, 30), 0, 'anybody may send words';
my $seconds = time - $started;
sleep 1;
my $asked = claims() - $before;
cmp_ok $asked, '>=', 5, "they are heard ($asked claims)";
cmp_ok $asked, '<=', ($seconds + 1) / 0.05 + 5,
    sprintf('and in %.1f s the worker asked %d times, no more', $seconds, $asked);
$class->psql("SELECT gan_tick($run)");
my $ended = time;
is $class->wait_for($worker, 20), 0, 'the end of the run reaches it';
cmp_ok time - $ended, '<', 0.9, 'at once';
done_testing;
