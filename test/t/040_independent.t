# A program written from docs/format.md alone recomputes a stored unit's gradient, or the change of its local steps.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
plan skip_all => 'python3-numpy and python3-pil are not installed' if system('/usr/bin/python3 -c "import numpy, PIL" 2>/dev/null');

is system('/usr/bin/python3 test/independent/recompute.py --selftest test/fixture >build/test/recompute-selftest.log 2>&1'), 0, 'it agrees with PyTorch on the fixtures';
check('grey', $class->data, images_per_unit => 21, units_per_iteration => 1, target_iterations => 1);
check('local', $class->data, images_per_unit => 'NULL', local_steps => 5, batch => 8, units_per_iteration => 1, target_iterations => 1, seed => 11,
    generator_learning_rate => 5e-4, discriminator_learning_rate => 2e-4, learning_rate_schedule => "'linear'", norm_momentum => 0.2);
SKIP: {
    skip 'no archive of faces', 3 unless GannTest::faces_file();
    check('faces', GannTest::faces_file(), image_size => 64, channels => 3, images_per_unit => 19, units_per_iteration => 1, target_iterations => 1);
}
done_testing;

# Trains one unit and hands all that is stored of it to the program.
sub check {
    my ($name, $data, %options) = @_;
    local $class->{data_file} = $data;
    my $run = $class->create_run($name, %options);
    my $folder = $class->folder . "/$name";
    mkdir $folder;
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate(60);
    my $worker = $class->worker('ann', '--run', $name);
    is $class->wait_for($worker, 60), 0, "$name: a unit is trained";
    write_file("$folder/unit.json", $class->psql("SELECT jsonb_build_object('seed', r.seed, 'channels', r.channels, 'image_size', r.image_size, 'latent', r.latent,
        'generator_features', r.generator_features, 'discriminator_features', r.discriminator_features, 'iteration', u.iteration, 'first_position', u.first_position,
        'images', u.images, 'batch', u.batch, 'dataset_images', r.dataset_images, 'dataset_digest', encode(r.dataset_digest, 'hex'), 'loss_d', u.loss_d, 'loss_g', u.loss_g,
        'accuracy_real', u.accuracy_real, 'accuracy_fake', u.accuracy_fake, 'local_steps', r.local_steps, 'generator_learning_rate', r.generator_learning_rate,
        'discriminator_learning_rate', r.discriminator_learning_rate, 'beta1', r.beta1, 'beta2', r.beta2, 'epsilon', r.epsilon, 'norm_momentum', r.norm_momentum,
        'learning_rate_schedule', r.learning_rate_schedule, 'warmup_iterations', r.warmup_iterations, 'target_iterations', r.target_iterations) FROM gan_work_unit u JOIN gan_run r USING (run) WHERE u.run = $run AND u.state = 'done'"));
    for my $kind ([ 'weights', "gan_weights WHERE run = $run AND iteration = 0" ], [ 'gradient', "gan_gradient WHERE run = $run" ]) {
        for my $row (split /\n/, $class->psql("SELECT shard, encode(data, 'hex') FROM $kind->[1]")) {
            my ($shard, $hex) = split /\|/, $row;
            write_file("$folder/$kind->[0]_$shard.blob", pack 'H*', $hex);
        }
    }
    my ($status, $output) = $class->run({ timeout => 120 }, '/usr/bin/python3', 'test/independent/recompute.py', $folder, $data);
    is $status, 0, "$name: the independent program finds the same gradient, statistics and losses" or diag $output;
    note $output;
}

sub write_file {
    my ($file, $bytes) = @_;
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
}
