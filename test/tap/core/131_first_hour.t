# The run of the README, with no option but a small network: it trains, draws itself, and is
# measured.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(conf => ['log_min_messages = warning']);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

my $run = $class->psql(
    "SELECT gan_create_run('clothes', channels => 1, image_size => 32,
            latent => 16, generator_features => 8, discriminator_features => 8)"
);
is $class->psql(
    "SELECT local_steps, batch, generator_learning_rate, discriminator_learning_rate,
            outer_optimizer, units_follow, upload_element
        FROM gan_run"
    ),
    '40|8|0.0003|0.0003|average|t|float32',
    'local steps, small minibatches, plain averages, units that follow';
is $class->psql('SELECT sheet_every, sheet_seconds, quality_every, quality_seconds FROM gan_run'),
    '0|10|0|60', 'sheets and quality by seconds';
is $class->psql("SELECT gan_set_policy(quality_images => 64)"),
    "run $run: a sheet of 64 images every 10 s, 100 kept; quality of 64 images every 60 s",
    'the policy says so';
$class->psql('SELECT gan_set_policy(sheet_seconds => 3)');
$class->psql('SELECT gan_start()');
my $coordinator = $class->coordinate(120);
my @workers = map { $class->worker($_, '--threads', 1) } 'ann', 'bo';
ok $class->poll_until('SELECT count(*) > 0 FROM gan_sheet', 't', 30),
    'the first sheet is there at once';
ok $class->poll_until('SELECT count(*) > 0 FROM gan_swd', 't', 60),
    'and the first measurement when the real images are known';
ok $class->poll_until('SELECT max(iteration) > 0 FROM gan_sheet', 't', 60), 'the film moves';
my ($steps, $seconds) = split /\|/, $class->psql(
    'SELECT max(iteration) - min(iteration),
            extract(epoch FROM max(made_at) - min(made_at))
        FROM gan_sheet'
);
cmp_ok $seconds, '>=', 3, "not before three seconds ($seconds s, $steps steps)";
cmp_ok $class->psql("SELECT max(seconds) FROM gan_sheet"), '>', 0, 'what it took is noted';

# Other clocks, while it trains
is $class->psql('SELECT gan_set_policy(sheet_seconds => 1)'),
    "run $run: a sheet of 64 images every 1 s, 100 kept; quality of 64 images every 60 s",
    'every second';
my $before = $class->psql('SELECT count(*) FROM gan_sheet');
ok $class->poll_until("SELECT count(*) >= $before + 3 FROM gan_sheet", 't', 60), 'more come';
is $class->psql('SELECT gan_set_policy(sheet_every => 1000000, quality_every => 5)'),
    "run $run: a sheet of 64 images every 1000000 iterations, 100 kept; quality of 64 images "
    . "every 5 iterations",
    'iterations instead of seconds';
ok $class->poll_until('SELECT count(*) >= 3 FROM gan_swd', 't', 60), 'measured by iterations';
is $class->psql(
    'SELECT gan_set_policy(sheet_every => 3, sheet_seconds => 7, quality_seconds => 0)'),
    "run $run: a sheet of 64 images every 3 iterations and every 7 s, 100 kept; quality is not "
    . "measured",
    'both, or neither';
is + ($class->psql_fails("SELECT gan_set_policy($_)"))[0], '22023', "refused: $_"
    for 'sheet_seconds => -1', 'quality_seconds => 86401';
is $class->psql('SELECT bool_and(opened BETWEEN 2 AND 32 AND units = opened) FROM gan_history'),
    't', 'and all the while the units followed';

$class->psql('SELECT gan_stop()');
is $class->wait_for($_, 60), 0, 'a worker ends with the run' for @workers;
done_testing;
