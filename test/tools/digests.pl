#!/usr/bin/perl
# Prints the digests of the weights after some kinds of run: a change that shall keep all bits is
# compared with them, before and after, on the same machine (kernels of another processor round in
# another order).
#
#   perl -Itest/lib test/tools/digests.pl
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
my %common = (
    target_iterations => 5,
    units_per_iteration => 3,
    image_size => 32,
    channels => 1,
    latent => 16,
    generator_features => 16,
    discriminator_features => 16,
    seed => 11,
    lease_seconds => 60
);
my %gradient = (local_steps => 0, images_per_unit => 16, batch => 8, learning_rate => 2e-4);
my %local = (local_steps => 3, batch => 8, images_per_unit => 'NULL', learning_rate => 3e-4);
my @kinds = (
    [ 'gradients', %gradient, aggregator => "'mean'" ],
    [
        'alternating', %gradient,
        update_rule => "'alternating'",
        aggregator => "'clipped'",
        learning_rate_schedule => "'linear'",
        warmup_iterations => 2
    ],
    [ 'changes', %local, aggregator => "'mean'", average_decay => 0.9 ],
    [
        'nesterov int8', %local,
        outer_optimizer => "'nesterov'",
        upload_element => "'int8'",
        download_element => "'int8'"
    ],
    [
        'adam float16', %local,
        outer_optimizer => "'adam'",
        upload_element => "'float16'",
        download_element => "'float16'"
    ],
    [ 'median', %gradient, aggregator => "'median'", update_limit => 0.001 ],
    [ 'multikrum', %gradient, aggregator => "'multikrum'" ],
);
for my $kind (@kinds) {
    my ($name, %options) = @{$kind};
    my $run = $class->create_run($name, %common, %options);
    $class->psql("SELECT gan_start($run)");
    my $worker = $class->worker('ann', '--run', $name, '--threads', 1, '--once');
    my $coordinator = $class->coordinate(120);
    $class->wait_for($worker, 100) == 0 or die $class->log_of($worker);
    $class->signal($coordinator, 'TERM');
    $class->wait_for($coordinator, 30);
    printf "%-14s %s\n", $name, $class->psql(
        "SELECT string_agg(left(encode(weights_digest, 'hex'),
                16), ' ' ORDER BY iteration)
            FROM gan_history
            WHERE run = $run"
    );
}
pass;
done_testing;
