# Full-size network, real faces, two workers of one thread. A short run here; with --long 60
# iterations and a look at the sheet.
use strict;
use warnings;
use Test::More;
use GannClass;

plan skip_all => 'no archive of faces (GANN_FACES)' unless GannTest::faces_file();
my $class = GannClass->new;
$class->{data_file} = GannTest::faces_file();
my ($iterations, $images) = GannTest::long_run() ? (60, 64) : (20, 32);
my $run = $class->psql(
    "SELECT gan_create_run('faces', seed => 1, local_steps => 0, images_per_unit
            => $images, target_iterations => $iterations, lease_seconds => 60)"
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate;
my @workers = map { $class->worker($_, '--threads', '1') } 'ann', 'bo';
is $class->wait_for($_, 900), 0, 'a worker ends by itself' for @workers;
is $class->psql("SELECT state, iteration FROM gan_run"), "finished|$iterations",
    'the run ends by itself';
is $class->psql(
    "SELECT count(*), bool_and(loss_d < 'Infinity' AND loss_g < 'Infinity'
            AND loss_d > 0)
        FROM gan_history"
    ),
    "$iterations|t", 'losses are finite';
is $class->psql('SELECT parameters, shards FROM gan_run'), '6342272|25', 'at full size';
is $class->psql("SELECT count(*) FROM gan_weights"), '50', 'two iterations of weights are kept';

# Not grey squares: the pixels of the sheet vary, within images and between them.
my $png = $class->folder . '/sheet.png';
open my $out, '>:raw', $png or die $!;
print $out pack 'H*', $class->psql("SELECT encode(gan_generate(16, 7), 'hex')");
close $out;
my $deviation = `/usr/bin/python3 -c "
import sys, numpy as np
from PIL import Image
a = np.asarray(Image.open('$png')).astype(float)
assert a.shape == (256, 256, 3), a.shape
print(a.std(), a.reshape(4, 64, 4, 64, 3).transpose(0, 2, 1, 3, 4).reshape(16, -1).mean(1).std())"`;
my ($all, $between) = split ' ', $deviation;
cmp_ok $all // 0, '>', 5,
    "the sheet is not grey (deviation of all pixels @{[$all // '?']}, of the images' means "
    . "@{[$between // '?']})";
system 'cp', $png, 'build/test/faces.png';
done_testing;
