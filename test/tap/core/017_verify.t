# gan_verify computes a step again from its inputs: every way of learning, bit by bit, and what is
# not so is found.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my %local = (local_steps => 2, batch => 8, images_per_unit => 'NULL');
my %rates = (learning_rate_schedule => "'linear'", warmup_iterations => 2);
my %wide =
    (generator_features => 64, discriminator_features => 64, images_per_unit => 4, batch => 4);
my %modes = (
    plain => {%rates},
    compact => { upload_element => "'int8'", download_element => "'int8'" },
    alternating => {
        %rates,
        update_rule => "'alternating'",
        upload_element => "'float16'",
        download_element => "'float16'"
    },
    # six shards, of which a step moves some
    wide => {
        %wide,
        update_rule => "'alternating'",
        upload_element => "'int8'",
        download_element => "'int8'"
    },
    average => { %local, upload_element => "'int8'", download_element => "'float16'" },
    nesterov => { %local, %rates, outer_optimizer => "'nesterov'", download_element => "'int8'" },
    adam => { %local, outer_optimizer => "'adam'", upload_element => "'float16'" },
    quorum => { units_per_iteration => 3, quorum => 2 },
);
my $iterations = 4;

# Only the test ticks: so nothing comes between a step and its verification.
my (%run, %worker);
for my $mode (sort keys %modes) {
    $run{$mode} = $class->create_run($mode, target_iterations => $iterations, %{ $modes{$mode} });
    like [ $class->psql_fails("SELECT gan_verify(NULL, $run{$mode})") ]->[1],
        qr/has not taken a step yet/, "$mode: before the first step there is nothing to verify";
    $class->psql("SELECT gan_start($run{$mode})");
    $worker{$mode} = $class->worker($mode, '--run', $mode);
}
for my $mode (sort keys %modes) {
    my @answers;
    for my $iteration (0 .. $iterations - 1) {
        $class->poll_until("SELECT gan_tick($run{$mode})", qr/^step/, 120) or last;
        push @answers, $class->psql(
            "SELECT answer, part, shard, element, message
                FROM gan_verify($iteration, $run{$mode})"
        );
    }
    my @all = grep {/^verified\|\|\|\|iteration \d: [23] units of \d+ images give the stored state/}
        @answers;
    is scalar @all, $iterations, "$mode: each of $iterations steps is verified"
        or diag join "\n", @answers;
    is $class->wait_for($worker{$mode}, 60), 0, "$mode: the worker ends with the run";
}

# What the last step's bytes are: of a run with all parts, and of one with several shards
my $run = $run{compact};

sub verify {
    return $class->psql(
        "$_[0] SELECT answer, part, shard, element, stored = recomputed FROM gan_verify(NULL, "
        . "$run)"
    );
}
# psql ends without a commit: all is as it was
sub in_vain { my ($change) = @_; return verify("BEGIN; $change;") }

sub flip {
    my ($table, $what, $byte) = @_;
    return "UPDATE $table SET data = set_bit(data, $byte * 8, 1 - get_bit(data, $byte * 8))
            WHERE run = $run
            AND piece = 0
            AND $what";
}
is verify('BEGIN READ ONLY;'), 'verified||||',
    'a finished run\'s last step is verified in a read-only transaction';
my %parts = (0 => 'weights', 1 => 'first moment', 2 => 'second moment', 3 => 'copy');
for my $part (sort keys %parts) {
    is in_vain(
        flip(
            'gan_state_piece',
            "part = $part AND shard = 0 AND iteration = $iterations",
            24 + 4 * 100
        )
        ),
        "differs|$parts{$part}|0|100|f", "a flipped bit is found: $parts{$part}";
}
is in_vain(flip('gan_state_piece', "part = 4 AND shard = 0 AND iteration = $iterations", 3000)),
    'differs|change|0|' . (
    3000 - 24 - 4 * int(
        (
            (
                $class->psql(
                    "SELECT parameters
        FROM gan_run
        WHERE run = $run"
                )
            ) + 255
        ) / 256
    )
    ) . '|f', 'a flipped bit is found: change';
is in_vain(flip('gan_state_piece', "part = 0 AND shard = 1 AND iteration = $iterations", 24)),
    'differs|running statistics|1|0|f', 'a flipped bit is found: running statistics';
is in_vain(flip('gan_state_piece', "part = 0 AND shard = 0 AND iteration = $iterations", 16)),
    'differs|weights|0||', 'a flipped bit is found: a checksum';
is in_vain(flip('gan_state_piece', "part = 1 AND shard = 0 AND iteration = $iterations - 1", 24)),
    'damaged|first moment|0||', 'a flipped bit is found: what the step began from';
my ($unit, $other) = split /\n/, $class->psql(
    "SELECT unit FROM gan_work_unit
        WHERE run = $run
        AND iteration = $iterations - 1 ORDER BY unit"
);
is in_vain(flip('gan_gradient_piece', "unit = $unit AND shard = 0", 700)),
    "damaged|upload of unit $unit|0||", 'a flipped bit is found: an upload';
is in_vain(
    "UPDATE gan_gradient_piece g SET data = h.data FROM gan_gradient_piece h
        WHERE g.run = $run
        AND h.run = $run
        AND g.unit = $unit
        AND h.unit = $other
        AND g.shard = h.shard
        AND g.piece = h.piece"
    ),
    "differs|weights|0|0|f", 'uploads that are whole, but not the ones, are found';
is in_vain(
    "DELETE FROM gan_state_piece
        WHERE run = $run
        AND part = 2
        AND piece = 1
        AND iteration = $iterations"
    ),
    'differs|second moment|0||', 'a piece that is missing is found';
is in_vain(
    "UPDATE gan_history SET gradient_norm_d = gradient_norm_d * (1 + 1e-15) WHERE run = $run"),
    'differs|gradient_norm_d|||f', 'another norm in the history is found';
is in_vain("UPDATE gan_history SET weights_digest = sha256(weights_digest) WHERE run = $run"),
    'differs|digest|||', 'another digest in the history is found';
is verify(''), 'verified||||', 'and all that was only tried';
$run = $run{wide};
is in_vain(
    flip('gan_state_piece', "part = 0 AND shard = 4 AND iteration = $iterations", 24 + 4 * 7)),
    'differs|weights|4|7|f',
    'of several shards the one that differs is named, also one that the step left alone';
like $class->psql(
    "BEGIN; @{[flip('gan_state_piece', qq(part = 0 AND shard IN (1, 2) AND iteration = $iterations), 24)]}; SELECT message
        FROM gan_verify(NULL, $run)"
    ),
    qr/^weights, shard 1, number 0: \S+ is stored, \S+ is recomputed; 1 other blobs differ$/,
    'and the message shows both values';

# What can't be verified
is $class->psql("SELECT answer, message FROM gan_verify(1, $run)"),
    'not kept any more|the state of iteration 1 was overwritten by that of iteration 3',
    'an earlier step is not kept any more';
is [ $class->psql_fails("SELECT gan_verify($iterations, $run)") ]->[0], '55000',
    'one that was not taken is an error';
is in_vain("DELETE FROM gan_work_unit WHERE run = $run"), 'not kept any more||||',
    'without its units it is not kept any more';
my $lock = $class->start_background(
    { name => 'lock' }, $class->{bindir} . '/psql', '-X', '-h', $class->host, '-p', $class->port,
    '-U', 'postgres', '-d', 'train',
    '-c', "BEGIN; LOCK TABLE gan_gradient_piece_r${run}_1; SELECT pg_sleep(60)"
);
$class->poll_until(
    "SELECT count(*) FROM pg_locks
        WHERE mode = 'AccessExclusiveLock'
        AND relation = 'gan_gradient_piece_r${run}_1'::regclass", '1', 20
);
is [ $class->psql_fails("SELECT gan_verify(NULL, $run)") ]->[0], '55P03',
    'while a step is under way, nobody waits';
$class->signal($lock, 'TERM');

# A running run: the first tick after the step makes room
$run = $class->create_run('running', target_iterations => 100);
$class->psql("SELECT gan_start($run)");
my $worker = $class->worker('plain', '--run', 'running');
ok $class->poll_until("SELECT gan_tick($run)", qr/^step/, 60), 'a step of a running run';
is verify(''), 'verified||||', 'it is verified before the next tick';
$class->signal($worker, 'STOP');
ok $class->poll_until("SELECT gan_tick($run)", qr/^running/, 60),
    'the next ticks have nothing to step';
like $class->psql("SELECT answer, message FROM gan_verify(NULL, $run)"),
    qr/^not kept any more\|what the units of iteration \d uploaded is not held any more$/,
    'and after them it is not kept any more';
$class->signal($worker, 'CONT');
$class->psql("SELECT gan_stop($run)");
is $class->wait_for($worker, 60), 0, 'the worker ends';
done_testing;
