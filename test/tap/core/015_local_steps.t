# Local steps and alternating updates through a real server: the numbers of one process, to the bit
# where they can be.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(durable => 1);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $file = $class->folder . '/weights';
my $tool = GannTest::root_folder() . '/build/test/local_train';
is system('make -s -f test/unit/Makefile build/test/local_train >build/test/local_train.log 2>&1'),
    0, 'the reference is built';
my %rates = (
    generator_learning_rate => 3e-4,
    discriminator_learning_rate => 1e-4,
    learning_rate_schedule => "'linear'",
    warmup_iterations => 1
);
my %local = (%rates, local_steps => 3, batch => 8, images_per_unit => 'NULL');

# Trains a run with two workers to its end.
sub train {
    my ($name, %options) = @_;
    my $run = $class->create_run($name, target_iterations => 4, %options);
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate;
    my @workers = map { $class->worker($_, '--run', $name) } 'ann', 'bo';
    is $class->wait_for($_, 120), 0, "$name: a worker ends with the run" for @workers;
    is $class->wait_for($coordinator, 30), 0, "$name: and the coordinator";
    return $run;
}

# The relative errors of weights and statistics beside those of one process.
sub beside_one_process {
    my ($name, $mode, $run, $images) = @_;
    $class->weights_file($run, $file);
    my $report = `$tool @{[$class->data]} 7 1 32 16 8 8 8 $images 2 4 $mode < $file`;
    my ($weights, $statistics) = $report =~ /weights (\S+)\nstatistics (\S+)/;
    cmp_ok $weights // 'nan', '<=', 1e-5,
        "$name: four distributed iterations equal four in one process (relative error "
        . "@{[$weights // '?']})";
    cmp_ok $statistics // 'nan', '<=', 1e-5,
        "$name: and so do the running statistics (@{[$statistics // '?']})";
}

sub digests {
    return $class->psql(
        "SELECT string_agg(encode(weights_digest, 'hex'), ' '
            ORDER BY iteration)
        FROM gan_history
        WHERE run = $_[0]"
    );
}

sub parts {
    return $class->psql(
        "SELECT string_agg(DISTINCT part::text, ' ') FROM gan_state_piece
        WHERE run = $_[0]
        AND part <> 5"
    );
}    # 5: the average that is drawn

my %moments = (average => '0', nesterov => '0 1', adam => '0 1 2');
for my $optimizer ('average', 'nesterov', 'adam') {
    my $run = train($optimizer, %local, outer_optimizer => "'$optimizer'");
    beside_one_process($optimizer, $optimizer, $run, 24);
    is parts($run), $moments{$optimizer},
        "$optimizer: the moments that it keeps are stored, no others";
    is $class->psql(
        "SELECT count(*), sum(images), max(upper(positions)) FROM gan_history
            WHERE run = $run"
        ),
        '4|192|192', "$optimizer: every position was averaged once";
    is $class->psql(
        "SELECT bool_and(gradient_norm_g > 0 AND gradient_norm_d > 0) FROM gan_history
            WHERE run = $run"
        ),
        't', "$optimizer: both networks moved";
}

# The same seeds give the same bits, no matter who computed which unit; the mode matters
my $again = train('again', %local, outer_optimizer => "'average'");
my ($average, $nesterov) =
    map { $class->psql("SELECT run FROM gan_run WHERE name = '$_'") } 'average', 'nesterov';
is digests($again), digests($average), 'the same seeds give the same weights bit for bit';
isnt digests($nesterov), digests($average), 'another outer optimiser gives others';

# Alternating: D in even iterations, G in odd ones; a unit uploads what holds something of its
# network
my $alternating = train('alternating', %rates, update_rule => "'alternating'");
beside_one_process('alternating', 'alternating', $alternating, 20);
is $class->psql(
    "SELECT string_agg((gradient_norm_d > 0)::int || '' || (gradient_norm_g > 0)::int,
            ' ' ORDER BY iteration)
        FROM gan_history
        WHERE run = $alternating"
    ),
    '10 01 10 01', 'alternating: D and G in turn';
my $wide = train(
    'wide',
    update_rule => "'alternating'",
    generator_features => 64,
    discriminator_features => 64,
    images_per_unit => 8
);
is $class->psql("SELECT shards FROM gan_run WHERE run = $wide"), '6', 'a run of several shards';
is $class->psql(
    "SELECT string_agg(DISTINCT shard::text, ' ') FROM gan_gradient
        WHERE run = $wide
        AND iteration = 3"
    ),
    '0 1 2 6', 'G\'s iteration uploaded G\'s shards and the statistics';
is $class->psql(
    "SELECT string_agg(DISTINCT w.shard::text, ' ') FROM gan_weights w
        JOIN gan_weights v USING (run, shard, data)
        WHERE run = $wide
        AND w.iteration = 3
        AND v.iteration = 4"
    ),
    '3 4 5', 'and left D\'s own shards as they were';

# What doesn't fit is refused
my $claims = $class->create_run('refusals', %local);
$class->psql("SELECT gan_start($claims)");
my $worker = $class->psql(
    "SELECT gan_join($claims, 'x', 60000, (SELECT dataset_digest FROM gan_run
        WHERE run = $average), 1, 1, '', '')"
);
my ($unit, $token, $nonce) = split /\|/, $class->psql(
    "SELECT unit, token, weights_nonce
        FROM gan_claim($worker)"
);
$class->psql(
    "SELECT gan_upload($unit, '$token', shard, data) FROM gan_gradient
        WHERE run = $average
        AND unit = (SELECT min(unit) FROM gan_gradient WHERE run = $average)"
);
is $class->psql("SELECT answer, code FROM gan_submit($unit, '$token', $nonce, 4, 1, 1, 0.5, 0.5)"),
    'refused|bad_value', 'local steps of another size are refused';
is $class->psql("SELECT answer FROM gan_submit($unit, '$token', $nonce, 8, 1, 1, 0.5, 0.5)"),
    'accepted', 'those of the run\'s are taken';

# A step that is killed is taken again, with the same outcome
my $killed =
    $class->create_run('killed', %local, outer_optimizer => "'nesterov'", target_iterations => 4);
$class->psql("SELECT gan_start($killed)");
my @workers = map { $class->worker($_, '--run', 'killed') } 'ann', 'bo';
for my $iteration (0 .. 3) {
    ok $class->poll_until(
        "SELECT count(*) FROM gan_work_unit
            WHERE run = $killed
            AND iteration = $iteration
            AND state = 'done'", '2', 60
        ),
        "iteration $iteration: both units are in";
    my ($out, $err, $status) = $class->psql(
        "BEGIN; SELECT gan_aggregate($iteration, $killed);
                SELECT pg_terminate_backend(pg_backend_pid()); COMMIT", on_error => 'return'
    );
    isnt $status, 0, 'a step is taken and killed before its commit';
    $class->restart('immediate') if $iteration == 1;    # at once: the abort has just been written
    like $class->psql("SELECT gan_tick($killed)"), qr/^step|to be done again/,
        'the next tick takes it, or has the work done again that a crash took';
    ok $class->poll_until(
        "SELECT gan_tick($killed) FROM gan_run
            WHERE run = $killed
            AND iteration <= $iteration UNION ALL SELECT 'step' FROM gan_run
            WHERE run = $killed
            AND iteration > $iteration", qr/^step/, 60
        ),
        'in the end it is taken';
}
is $class->wait_for($_, 60), 0, 'a worker ends with the run' for @workers;
is digests($killed), digests($nesterov), 'and the weights are the same, bit for bit';
done_testing;
