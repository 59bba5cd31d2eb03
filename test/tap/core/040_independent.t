# A program written from docs/format.md alone recomputes a stored unit's gradient, or the change of
# its local steps.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
plan skip_all => 'python3-numpy and python3-pil are not installed'
    if system('/usr/bin/python3 -c "import numpy, PIL" 2>/dev/null');

is
    system(
    '/usr/bin/python3 test/independent/recompute.py --selftest test/fixture '
    . '>build/test/recompute-selftest.log 2>&1'
    ), 0, 'it agrees with PyTorch on the fixtures';
check(
    'grey', $class->data,
    images_per_unit => 21,
    units_per_iteration => 1,
    target_iterations => 1
);
check(
    'local', $class->data,
    images_per_unit => 'NULL',
    local_steps => 5,
    batch => 8,
    units_per_iteration => 1,
    target_iterations => 1,
    seed => 11,
    generator_learning_rate => 5e-4,
    discriminator_learning_rate => 2e-4,
    learning_rate_schedule => "'linear'",
    norm_momentum => 0.2
);
SKIP: {
    skip 'no archive of faces', 3 unless GannTest::faces_file();
    check(
        'faces', GannTest::faces_file(),
        image_size => 64,
        channels => 3,
        images_per_unit => 19,
        units_per_iteration => 1,
        target_iterations => 1
    );
}
done_testing;

# Trains one unit and hands all that is stored of it to the program.
sub check {
    my ($name, $data, %options) = @_;
    local $class->{data_file} = $data;
    my $run = $class->create_run($name, %options);
    my $folder = $class->folder . "/$name";
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate(60);
    my $worker = $class->worker('ann', '--run', $name);
    is $class->wait_for($worker, 60), 0, "$name: a unit is trained";
    $class->export_unit(
        $class->psql(
            "SELECT unit FROM gan_work_unit
            WHERE run = $run
            AND state = 'done'"
        ),
        $folder
    );
    my ($status, $output) = $class->run(
        { timeout => 120 },
        '/usr/bin/python3', 'test/independent/recompute.py',
        $folder, $data
    );
    is $status, 0, "$name: the independent program finds the same gradient, statistics and losses"
        or diag $output;
    note $output;
}
