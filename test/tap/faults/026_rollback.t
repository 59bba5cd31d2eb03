# Checkpoints by policy, going back to one, a new run from one: to the bit, without losing credit or
# an image.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
my $feeder = GannTest::root_folder() . '/build/test/feed_units';
is system('make -s -f test/unit/Makefile build/test/feed_units >build/test/feed_units.log 2>&1'),
    0, 'feed_units is built';

# Hands in units of numbers that follow from a seed.
sub feed {
    my ($name, $units, $seed) = @_;
    my ($status, $output) = $class->run(
        { timeout => 120 },
        $feeder, $class->student('ann'),
        $name, $units, 'feeder', $seed
    );
    is $status, 0, "$name: $units units are submitted" or diag $output;
    return;
}

# Takes a step of two units; returns its digest.
sub step {
    my ($run, $name, $seed) = @_;
    feed($name, 2, $seed);
    my $answer = $class->psql("SELECT gan_tick($run)");
    like $answer, qr/^step/, "$name: a step";
    $class->psql("SELECT gan_tick($run)");    # the one that keeps checkpoints
    return $class->psql(
        "SELECT encode(weights_digest, 'hex') FROM gan_history
            WHERE run = $run ORDER BY iteration DESC LIMIT 1"
    );
}

# All of a run's state, whatever its number.
sub state {
    my $run = shift;
    return $class->psql(
        "SELECT md5(string_agg(part || ' ' || shard || ' ' || piece || ' ' ||
                md5(data), ','
            ORDER BY part, shard, piece))
        FROM gan_state_piece p JOIN gan_run r USING (run, iteration) WHERE run = $run AND part <= 3"
    );
}

sub refusal { return ($class->psql_fails(@_))[1] }

my %modes = (
    gradients => { download_element => "'int8'" },
    local => {
        images_per_unit => 'NULL',
        local_steps => 2,
        batch => 64,
        outer_optimizer => "'nesterov'"
    },
);
for my $mode (sort keys %modes) {
    my $run = $class->create_run(
        $mode,
        target_iterations => 20,
        checkpoint_every => 2,
        checkpoints_kept => 2,
        dataset_images => 1000,
        dataset_digest => "'\\x" . '00' x 32 . "'",
        %{ $modes{$mode} }
    );
    $class->psql("SELECT gan_start($run)");
    my (@digests, %state);
    for my $i (0 .. 8) {
        $state{$i} = state($run);
        push @digests, step($run, $mode, $i + 1);
    }
    is $class->psql(
        "SELECT string_agg(iteration::text, ' ' ORDER BY iteration) FROM gan_checkpoint
            WHERE run = $run"
        ),
        '2 6 8', "$mode: every second state is kept, of them the first and the newest two";
    is $class->psql("SELECT count(DISTINCT iteration) FROM gan_checkpoint_piece WHERE run = $run"),
        '3', "$mode: and no bytes of any other";
    like refusal("SELECT gan_rollback($run, 4)"), qr/state of iteration 4 of run $run is not kept/,
        "$mode: what is not kept is refused";
    like + ($class->psql_fails("SELECT gan_rollback($run, 4)"))[2], qr/Kept are: 2, 6, 8, 9/,
        "$mode: with what is";
    my $credit = $class->psql("SELECT units, images FROM gan_worker WHERE run = $run");

    $class->psql(
        "SELECT gan_draw_sheet($run); INSERT INTO gan_swd (run, iteration, images,
                distances, swd)
            VALUES ($run, 9, 1, '{1}', 1)"
    );

    # Somebody is at work on a unit when the run goes back
    my $uri = $class->student('ann');
    my ($unit, $token, $nonce) = split /\|/, (
        split /\n/,
        client(
            "SELECT unit, token, weights_nonce
            FROM gan_claim((SELECT gan_join($run, 'late', 1000, decode(repeat('00', 32), 'hex'), 1,
                1, '', '')))"
        )
    )[-1];
    like $class->psql("SELECT gan_rollback($run, 6)"),
        qr/is back at iteration 6, 3 steps were undone; it is paused/,
        "$mode: back to a checkpoint";
    like client("SELECT answer, code FROM gan_submit($unit, '$token', $nonce, 64, 1, 1, 0.5, 0.5)"),
        qr/^stale\|not_held/, "$mode: the unit that was in progress is stale";
    is state($run), $state{6},
        "$mode: weights, moments, statistics and what workers hold are those of then";
    is $class->psql("SELECT state, iteration, next_position FROM gan_run WHERE run = $run"),
        'paused|6|' . 14 * ($mode eq 'local' ? 128 : 20), "$mode: so are iteration and positions";
    is $class->psql(
        "SELECT count(*), min(branch), max(branch), min(iteration), max(iteration)
            FROM gan_abandoned
            WHERE run = $run"
        ),
        '3|1|1|6|8', "$mode: the steps that were taken back are kept apart";
    is $class->psql("SELECT count(*), max(iteration) FROM gan_history WHERE run = $run"), '6|5',
        "$mode: and are no longer the model's history";
    is $class->psql("SELECT units, images FROM gan_worker WHERE run = $run AND name = 'feeder'"),
        $credit, "$mode: credit for them stays";
    is $class->psql(
        "SELECT (SELECT count(*) FROM gan_sheet
            WHERE run = $run), (SELECT count(*) FROM gan_swd
            WHERE run = $run)"
        ),
        '0|0', "$mode: their sheet and their quality do not";
    like $class->psql("SELECT gan_certificate('ann', $run)"), qr/share of all images +100\.00 %/,
        "$mode: and a share is one of all credit";
    $class->psql("SELECT gan_start($run)");
    is step($run, $mode, $_ + 1), $digests[$_],
        "$mode: with the same results step $_ gives the same bits"
        for 6 .. 8;
    is $class->psql(
        "SELECT bool_and(images = different_images), sum(images) = (SELECT sum(images)
                FROM gan_history WHERE run = $run)
            FROM gan_ledger($run)"
        ),
        't|t', "$mode: every image once in what the model has learned from";
    is $class->psql("SELECT gan_rollback($run, 8) ~ 'back at iteration 8, 1 steps'"), 't',
        "$mode: a second time";
    is $class->psql(
        "SELECT string_agg(branch || ':' || iteration, ' ' ORDER BY branch, iteration)
            FROM gan_abandoned
            WHERE run = $run"
        ),
        '1:6 1:7 1:8 2:8', "$mode: is a branch of its own";

    # Forks
    my $fork = $class->psql("SELECT gan_fork($run, 6)");
    is $class->psql("SELECT name, state, iteration, forked_from FROM gan_run WHERE run = $fork"),
        "$mode fork 1|created|6|$run", "$mode: a fork";
    is state($fork), $state{6}, "$mode: has the state of the checkpoint";
    is $class->psql(
        "SELECT (to_jsonb(r) - ARRAY['run', 'name', 'state', 'iteration',
                'next_position', 'created_at', 'iteration_started_at', 'paused_at', 'forked_from',
                'weights_nonce', 'weights_nonce_1', 'weights_nonce_2'])
        = (SELECT to_jsonb(f) - ARRAY['run', 'name', 'state', 'iteration', 'next_position',
            'created_at', 'iteration_started_at', 'paused_at', 'forked_from', 'weights_nonce',
            'weights_nonce_1', 'weights_nonce_2'] FROM gan_run f WHERE f.run = $fork)
        FROM gan_run r
        WHERE r.run = $run"
        ),
        't', "$mode: and all its options";
    $class->psql("SELECT gan_start($fork)");
    is step($fork, "$mode fork 1", 7), $digests[6], "$mode: and takes the same step";
    is $class->psql(
        "SELECT count(*), count(taken_in), max(epoch) = (SELECT epoch FROM gan_history
                WHERE run = $run AND iteration = 6)
            FROM gan_history
            WHERE run = $fork"
        ),
        '7|6|t', "$mode: its history is the model's";
    my $rate = $mode eq 'local' ? '"outer_learning_rate": 0.1, ' : '';
    my $other = $class->psql(
        qq{SELECT gan_fork($run, 2,
                '{"name": "$mode other", $rate"generator_learning_rate": 0.001, "aggregator": "median", "seed": 99, "target_iterations": 30}')}
    );
    is $class->psql(
        "SELECT name, generator_learning_rate, aggregator, seed, target_iterations,
                next_position - 2 * images_per_unit
            FROM gan_run
            WHERE run = $other"
        ),
        "$mode other|0.001|median|99|30|1000", "$mode: one with changes";
    is $class->psql("SELECT min(first_position) FROM gan_work_unit WHERE run = $other"), 1000,
        "$mode: another order begins with an epoch";
    $class->psql("SELECT gan_start($other)");
    isnt step($other, "$mode other", 3), $digests[2], "$mode: takes another step";
    for (
        [ '{"image_size": 64}', qr/can't have another image_size/ ],
        [ '{"learning_rate": 2}', qr/learning_rate is 2, but must be above 0/ ],
        [ '{"speed": 1}', qr/no parameter "speed"/ ],
        [ '{"target_iterations": 6}', qr/above the iteration of the checkpoint/ ],
        [ '[1]', qr/changes is/ ]
        )
    {
        like refusal("SELECT gan_fork($run, 6, '$_->[0]')"), $_->[1],
            "$mode: a fork with $_->[0] is refused";
    }
    $class->psql("SELECT gan_drop_run($_)") for $other, $fork, $run;
    is $class->psql(
        'SELECT (SELECT count(*) FROM gan_checkpoint_piece), (SELECT count(*)
            FROM gan_abandoned)'
        ),
        '0|0', "$mode: with the run all of it goes";
}

# A bad night: a learning rate that was far too high has destroyed the weights; the run goes back
# and on
SKIP: {
    skip 'dataset-fashion-mnist is not installed', 5 unless $class->data;
    my $run = $class->create_run(
        'night',
        target_iterations => 14,
        checkpoint_every => 4,
        update_limit => "'Infinity'"
    );
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate(300);
    my $worker = $class->worker('bo');
    ok $class->poll_until("SELECT count(*) > 0 FROM gan_checkpoint WHERE run = $run", 't', 120),
        'a class is at work, with checkpoints';
    $class->psql(
        "UPDATE gan_run SET generator_learning_rate = 1, discriminator_learning_rate = 1
            WHERE run = $run"
    );
    ok $class->poll_until(
        "SELECT max(greatest(update_g, update_d)) > 1 FROM gan_history
            WHERE run = $run", 't', 120
        ),
        'somebody has put the learning rate at 1';
    my $back = $class->psql(
        "SELECT gan_rollback($run, (SELECT max(c.iteration)
            FROM gan_checkpoint c JOIN gan_history h ON h.run = c.run
            AND h.iteration = c.iteration - 1
            WHERE c.run = $run
        AND c.iteration <= (SELECT min(iteration) FROM gan_history
        WHERE run = $run
        AND greatest(update_g, update_d) > 1)))"
    );
    like $back, qr/back at iteration \d+/, $back;
    $class->psql(
        "UPDATE gan_run
            SET generator_learning_rate = 0.0002, discriminator_learning_rate = 0.0002
            WHERE run = $run"
    );
    $class->psql("SELECT gan_start($run)");
    ok $class->poll_until("SELECT state = 'finished' FROM gan_run WHERE run = $run", 't', 200),
        'the run continues to its end, with the same worker'
        or diag $class->psql("SELECT note, state, iteration FROM gan_progress WHERE run = $run"),
        "\n", $class->log_of($worker), $class->psql(
        "SELECT * FROM gan_worker
                WHERE run = $run"
        ),
        $class->psql("SELECT what FROM gan_incident WHERE run = $run");
    is $class->psql(
        "SELECT max(greatest(update_g, update_d)) < 0.5, count(*) FROM gan_history
            WHERE run = $run"
        ),
        't|14', 'and has a history without that night';
    $class->wait_for($worker, 30);
    $class->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE 'CALL gan_coordinate%'});    # the ticks that follow are ours
    $class->wait_for($coordinator, 30);
}

# A checkpoint that can't be made is a warning
my $run = $class->create_run('full', target_iterations => 9, checkpoint_every => 1);
$class->psql("SELECT gan_start($run)");
$class->psql(
    'ALTER TABLE gan_checkpoint_piece ADD CONSTRAINT full_disk CHECK (piece < 0) NOT VALID');
feed('full', 2, 1);
$class->psql("SELECT gan_tick($run)");
my ($out, $err) = $class->psql("SELECT gan_tick($run)", on_error => 'return');
like $err, qr/WARNING:  run $run: no checkpoint of iteration 1/,
    'a checkpoint that can\'t be made is a warning';
like $out, qr/iteration 1, 0 of 2 units/, 'and the class continues';
done_testing;

# A statement of ann's.
sub client {
    my $sql = shift;
    my ($password) = $class->student('ann') =~ m{ann:([^@]+)@};
    return $class->psql($sql, user => 'ann', password => $password);
}
