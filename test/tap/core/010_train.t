# Two real workers train a small network through a real server, and every number in it is right.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(conf => ["track_functions = 'all'"]);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $file = $class->folder . '/weights';

# The dataset is 60,000 images: 60 units of 1000, two an iteration, and five iterations into the
# second epoch.
my $run = $class->create_run(
    'epochs',
    images_per_unit => 1000,
    target_iterations => 35,
    batch => 100,
    generator_features => 2,
    discriminator_features => 2
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate;
my @workers = map { $class->worker($_) } 'ann', 'bo';
is $class->wait_for($_, 240), 0, 'a worker ends by itself when the run does' for @workers;
is $class->wait_for($coordinator, 30), 0, 'and the coordinator';
is $class->psql("SELECT state, iteration FROM gan_run WHERE run = $run"), 'finished|35',
    'the run reached its target';

is $class->psql("SELECT * FROM gan_ledger($run)"),
    "0|60000|60000|60000|t|0\n1|10000|10000|60000|f|0",
    'every image was used once in the first epoch';
isnt $class->psql(
    "SELECT array_agg(gan_image_number(seed, 60000, p))
        FROM gan_run, generate_series(0, 99) p
        WHERE run = $run"
    ),
    $class->psql(
    "SELECT array_agg(gan_image_number(seed, 60000, p))
             FROM gan_run, generate_series(60000, 60099) p
             WHERE run = $run"
    ),
    'the second epoch has another order';
is $class->psql(
    "SELECT count(*), sum(images), bool_and(loss_d < 'Infinity' AND loss_g < 'Infinity')
        FROM gan_history
        WHERE run = $run"
    ),
    '35|70000|t', 'one row of history for each step, losses finite';
is $class->psql("SELECT sum(units), sum(images) FROM gan_worker WHERE run = $run"), '70|70000',
    'all work is credited, once';
is $class->psql("SELECT count(*) FROM gan_worker WHERE run = $run AND units > 0"), '2',
    'both workers had a part in it';
is $class->psql("SELECT count(DISTINCT iteration), count(*) FROM gan_gradient WHERE run = $run"),
    '1|4', 'only the last iteration\'s gradients are kept';
is $class->psql(
    "SELECT array_agg(DISTINCT iteration ORDER BY iteration) FROM gan_weights
        WHERE run = $run"
    ),
    '{34,35}', 'and the weights of two iterations';
like $class->log_of($workers[0]), qr/35/, 'the worker shows the iteration';

# The same in one process through the library, at an easier number of images
my $twin = $class->create_run('twin', target_iterations => 3);
$class->psql("SELECT gan_start($twin)");
$coordinator = $class->coordinate;
@workers = map { $class->worker($_, '--run', 'twin') } 'ann', 'bo';
is $class->wait_for($_, 120), 0, 'a worker of the second run ends' for @workers;
$class->wait_for($coordinator, 30);
$class->weights_file($twin, $file);
my $tool = GannTest::root_folder() . '/build/test/local_train';
is system("make -s -f test/unit/Makefile build/test/local_train >build/test/local_train.log 2>&1"),
    0, 'the reference is built';
my $report = `$tool @{[$class->data]} 7 1 32 16 8 8 8 20 2 3 < $file`;
my ($weights, $statistics) = $report =~ /weights (\S+)\nstatistics (\S+)/;
cmp_ok $weights // 'nan', '<=', 1e-5,
    "three distributed steps equal three steps in one process (relative error "
    . "@{[$weights // '?']})";
cmp_ok $statistics // 'nan', '<=', 1e-5,
    "and so do the running statistics (@{[$statistics // '?']})";
isnt $class->psql("SELECT running FROM gan_batch_norm WHERE run = $twin AND iteration = 3"),
    $class->psql(
    "SELECT running
        FROM gan_batch_norm
        WHERE run = $twin
        AND iteration = 2"
    ),
    'the running statistics move';

# The same results, submitted in the opposite order, give the same bits
my $replay = $class->create_run('replay', target_iterations => 4);
my $once = $class->create_run('once', target_iterations => 1);
$class->psql("SELECT gan_start($replay); SELECT gan_start($once)");
$coordinator = $class->coordinate(20);
my $fetches = q{SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions
        WHERE funcname = 'gan_fetch_weights'};
ok $class->poll_until($fetches, qr/[1-9]/, 15), 'downloads are counted';
my $before = $class->psql($fetches);
my $alone = $class->worker('ann', '--run', 'once');
is $class->wait_for($alone, 60), 0, 'one worker does both units of an iteration';
ok $class->poll_until(
    "SELECT coalesce(sum(calls), 0) - $before FROM pg_stat_user_functions
        WHERE funcname = 'gan_fetch_weights'", '1', 15
    ),
    'and downloads the weights (of one shard) once';
$class->psql("SELECT gan_pause($replay)");
my ($one, $two) = map {
    $class->psql(
        "SELECT gan_join($replay, '$_', dataset_images, dataset_digest,
            1, 1, '', '')
        FROM gan_run
        WHERE run = $once"
    )
} 'one', 'two';
# one login, which may hold two units by that
$class->psql("UPDATE gan_worker SET units = 9, images = 9 WHERE run = $replay");
$class->psql("SELECT gan_start($replay)");
my @claims = map { [
    split /\|/,
    $class->psql(
        "SELECT unit, token, first_position, weights_nonce
        FROM gan_claim($_)"
    )
] } $one, $two;
$class->psql("UPDATE gan_worker SET units = 0, images = 0 WHERE run = $replay");
for my $claim (reverse @claims) {
    for my $shard (1, 0) {
        is $class->psql(
            "SELECT gan_upload($claim->[0], '$claim->[1]', $shard, g.data)
                FROM gan_gradient g JOIN gan_work_unit u USING (unit)
                WHERE u.run = $once
                AND u.first_position = $claim->[2]
                AND g.shard = $shard"
            ),
            'accepted', 'an upload in the opposite order';
    }
    is $class->psql(
        "SELECT answer
            FROM gan_submit($claim->[0], '$claim->[1]', $claim->[3], 8, 1, 1, 0.5, 0.5)"
        ),
        'accepted', 'a unit in the opposite order';
}
ok $class->poll_until("SELECT iteration FROM gan_run WHERE run = $replay", '1', 20),
    'the step is taken';
is $class->psql(
    "SELECT count(DISTINCT weights_digest) FROM gan_history
        WHERE run IN ($once, $replay)
        AND iteration = 0"
    ),
    '1', 'and gives the same bits';
is $class->psql(
    "SELECT count(DISTINCT w.data) FROM gan_weights w
        WHERE run IN ($once, $replay)
        AND iteration = 1"
    ),
    '1', 'bit for bit the same weights';

# A worker with other images is refused, with both numbers of images
$class->{data_file} = '/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz';
my ($status, $output) = $class->run(
    { timeout => 30 }, GannClass::worker_program(),
    '--connect', $class->student('eve'),
    '--data', $class->data,
    '--run', 'replay',
    '--once'
);
is $status, 2, 'a worker with another dataset ends';
like $output, qr/You have 10,000 images, the class has 60,000\./, 'and says how they differ';
unlike $output, qr/[0-9a-f]{17}/, 'without digests of 64 digits';
done_testing;
