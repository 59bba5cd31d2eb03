# What a unit of a full-size model costs on the wire, counted between worker and server.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannProxy;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $proxy = GannProxy->new($class);
$class->{students}{ann} = $proxy->uri($class->student('ann'));

# The bytes of a unit of each element type: those of the second and third iteration, whose worker
# holds the weights before.
sub unit_bytes {
    my ($name, %options) = @_;
    my $run = $class->create_run(
        $name,
        latent => 100,
        generator_features => 64,
        discriminator_features => 64,
        image_size => 64,
        channels => 3,
        images_per_unit => 2,
        batch => 2,
        units_per_iteration => 1,
        target_iterations => 3,
        lease_seconds => 60,
        %options
    );
    # no summary of the real images
    $class->psql("SELECT gan_set_policy(quality_every => 0, quality_seconds => 0, run => $run)");
    $class->psql("SELECT gan_start($run)");
    my $worker = $class->worker('ann', '--run', $name);
    my @counts;
    for my $i (0 .. 2) {
        $class->poll_until("SELECT state FROM gan_work_unit WHERE run = $run AND iteration = $i",
            'done', 120)
            or return (0, 0);
        push @counts, [ $proxy->bytes('up'), $proxy->bytes('down') ];
        $class->psql("SELECT gan_tick($run)");
    }
    is $class->wait_for($worker, 20), 0, "$name: the worker ends with the run";
    return map { ($counts[2][$_] - $counts[0][$_]) / 2 / 1e6 } 0, 1;
}
my ($up, $down) = unit_bytes('whole');
cmp_ok $up, '>=', 25.3, sprintf('a unit in float32 sends %.2f MB', $up);
cmp_ok $down, '>=', 25.3, sprintf('and receives %.2f MB', $down);
($up, $down) = unit_bytes('halves', upload_element => "'float16'", download_element => "'float16'");
cmp_ok $up, '<=', 12.8, sprintf('in float16 it sends %.2f MB', $up);
cmp_ok $down, '<=', 12.8, sprintf('and receives %.2f MB', $down);
($up, $down) = unit_bytes('bytes', upload_element => "'int8'", download_element => "'int8'");
cmp_ok $up, '<=', 6.5, sprintf('in int8 it sends %.2f MB', $up);
cmp_ok $down, '<=', 6.5, sprintf('and receives %.2f MB', $down);
cmp_ok $up, '>=', 6.3, 'all of it';
cmp_ok $down, '>=', 6.3, 'and all of the weights';
done_testing;
