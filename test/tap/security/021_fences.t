# Every change of a unit compares unit, account, token, state, iteration and the weights' nonce:
# each of them alone stops it.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(conf => ["track_functions = 'all'"]);
my $run = $class->psql(
    q{SELECT gan_create_run('fences', seed => 7, channels => 1, image_size => 32,
            latent => 2, generator_features => 1,
    discriminator_features => 1, local_steps => 0, images_per_unit => 10, units_per_iteration => 4,
        batch => 4, lease_seconds => 3600)}
);
$class->psql("SELECT gan_start($run)");
$class->student($_) for 'ann', 'bo';
my %worker = map {
    $_ => $class->psql(
        "SELECT gan_join($run, 'x', 100, sha256('faces'), 1, 1, '',
            '')", user => $_
    )
} 'ann', 'bo';

# Claims a unit and uploads all of it: (unit, token, nonce). What the server gave out is as good a
# gradient as any.
sub claim {
    my $user = shift;
    my @claim = split /\|/, $class->psql(
        "SELECT unit, token, weights_nonce
            FROM gan_claim($worker{$user})", user => $user
    );
    my $uploads = $class->psql(
        "SELECT gan_upload($claim[0], '$claim[1]', shard,
                gan_fetch_weights($run, 0, shard))
            FROM generate_series(0, 1) shard", user => $user
    );
    die "claim: $uploads" unless $uploads =~ /^(accepted|already)\n(accepted|already)$/;
    return @claim;
}

sub submit {
    my ($user, $unit, $token, $nonce) = @_;
    return $class->psql(
        "SELECT answer, code
            FROM gan_submit($unit, '$token', $nonce, 4, 1, 1, 0.5, 0.5)", user => $user
    );
}

sub upload {
    return $class->psql(
        "SELECT gan_upload($_[1], '$_[2]', 0, gan_fetch_weights($run, 0,
            0))", user => $_[0]
    );
}
sub renew { return $class->psql("SELECT gan_renew($_[1], '$_[2]') > 0", user => $_[0]) }
sub release { return $class->psql("SELECT gan_release($_[1], '$_[2]')", user => $_[0]) }
sub row { return $class->psql("SELECT u::text FROM gan_work_unit u WHERE unit = $_[0]") }

my ($unit, $token, $nonce) = claim('ann');
my ($other, $other_token) = claim('bo');
my $wrong = $class->psql('SELECT gen_random_uuid()');
is renew('ann', $unit, $token), 't', 'a lease is renewed';
is upload('ann', $unit, $token), 'already', 'an upload may be repeated';

# Tries all that changes a unit, with one thing wrong: none of it changes anything.
sub stopped {
    my ($what, $answer, $arguments, %opt) = @_;
    my @arguments = @{$arguments};
    $class->psql($opt{before}) if $opt{before};
    my $before = row($unit) . row($other);
    is submit(@arguments), $answer, "$what: a submission is refused";
    is upload(@arguments), 'stale', "$what: an upload is stale" unless $opt{only_submit};
    is renew(@arguments), '', "$what: a lease isn't renewed" unless $opt{only_submit};
    is release(@arguments), 'f', "$what: it isn't released" if $opt{release};
    is row($unit) . row($other), $before, "$what: and nothing has changed";
    $class->psql($opt{after}) if $opt{after};
}
sub set { return "UPDATE gan_work_unit SET $_[0] WHERE unit = $unit" }
stopped('another token', 'stale|not_held', [ 'ann', $unit, $wrong, $nonce ], release => 1);
stopped(
    'the token of another unit',
    'stale|not_held',
    [ 'ann', $unit, $other_token, $nonce ],
    release => 1
);
stopped(
    'the number of another unit',
    'stale|not_held',
    [ 'ann', $other, $token, $nonce ],
    release => 1
);
stopped('another account', 'stale|not_held', [ 'bo', $unit, $token, $nonce ], release => 1);
stopped(
    'another nonce',
    'stale|other_weights',
    [ 'ann', $unit, $token, "'$nonce'::bigint # 1" ],
    only_submit => 1
);
stopped('no nonce', 'stale|other_weights', [ 'ann', $unit, $token, 'NULL' ], only_submit => 1);
stopped(
    'other weights since the claim', 'stale|other_weights', [ 'ann', $unit, $token, $nonce ],
    before => "UPDATE gan_run SET weights_nonce = weights_nonce # 1 WHERE run = $run",
    after => "UPDATE gan_run
            SET weights_nonce = weights_nonce # 1
            WHERE run = $run"
);
stopped(
    'the unit is of other weights', 'stale|other_weights', [ 'ann', $unit, $token, $nonce ],
    before => set('weights_nonce = weights_nonce # 1'),
    after => set('weights_nonce = weights_nonce # 1')
);
stopped(
    'another iteration', 'stale|iteration_over', [ 'ann', $unit, $token, $nonce ],
    before => set('iteration = 1'),
    after => set('iteration = 0')
);
stopped(
    'a lease that is over', 'stale|lease_over', [ 'ann', $unit, $token, $nonce ],
    before => set("lease_until = now() - interval '1 s'"),
    after => set("lease_until = now() + interval '1 h'")
);
stopped(
    'a run that is stopped', 'stale|iteration_over', [ 'ann', $unit, $token, $nonce ],
    before => "UPDATE gan_run
        SET state = 'stopped'
        WHERE run = $run",
    after => "UPDATE gan_run SET state = 'running' WHERE run = $run"
);
stopped(
    'a unit that was replaced', 'stale|iteration_over', [ 'ann', $unit, $token, $nonce ],
    before => "INSERT INTO gan_work_unit (run, iteration, first_position, images, replaces) SELECT
                run, iteration, first_position, images, unit
            FROM gan_work_unit
            WHERE unit = $unit",
    after => "DELETE FROM gan_work_unit WHERE replaces = $unit"
);
is submit('ann', $unit, $token, $nonce), 'accepted|', 'with everything right it is accepted';
my $done = row($unit);
is $class->psql(
    "SELECT answer FROM gan_submit($unit, '$token', $nonce, 3, 2, 2, 0.1, 0.1)",
    user => 'ann'
    ),
    'already', 'a second time it is in already, whatever comes with it';
is submit('bo', $unit, $token, $nonce), 'stale|not_held', 'but not for another account';
is release('ann', $unit, $token), 'f', 'what is in can\'t be released';
is renew('ann', $unit, $token), '', 'nor renewed';
is upload('ann', $unit, $token), 'stale', 'nor uploaded again';
is row($unit), $done, 'and is as it was';

# A claim that is repeated has a new token, and the old one is worth nothing
my @again = claim('bo');
is $again[0], $other, 'a second claim returns the unit that is held';
isnt $again[1], $other_token, 'under a new token';
is submit('bo', $other, $other_token, $nonce), 'stale|not_held', 'the old one no longer counts';
is submit('bo', @again), 'accepted|', 'the new one does';

# An accepted unit is in the next step, and can be asked about after it
my @more = claim('ann');
is submit('ann', @more), 'accepted|', 'a third unit';
my @last = claim('bo');
is submit('bo', @last), 'accepted|', 'a fourth unit';
like $class->psql("SELECT gan_tick($run)"), qr/^step/, 'the step';
is submit('ann', $unit, $token, $nonce), 'already|', 'after the step it is in already';
is $class->psql(
    "SELECT h.weights_nonce = $nonce, r.weights_nonce <> $nonce, r.weights_nonce_1 =
            $nonce, r.weights_nonce_2 IS NULL
        FROM gan_run r JOIN gan_history h USING (run)
        WHERE run = $run"
    ),
    't|t|t|t', 'the step made a new nonce; the old one is in the history';
is $class->psql(
    "SELECT weights_nonce, weights_nonce_1, weights_nonce_2
        FROM gan_claim($worker{ann})", user => 'ann'
    ),
    $class->psql(
    "SELECT weights_nonce,
                    weights_nonce_1, weights_nonce_2
                FROM gan_run
                WHERE run = $run"
    ),
    'and a claim tells both';

# No function of a student's runs in a transaction block (what lookers-on may call, too, only reads)
my %call = (
    gan_hello => '()',
    gan_run_config => '()',
    gan_join => "($run, 'x', 100, sha256('faces'), 1, 1, '', '')",
    gan_claim => "($worker{ann})",
    gan_renew => "($unit, '$token')",
    gan_release => "($unit, '$token')",
    gan_fetch_weights => "($run, 1, 0)",
    gan_fetch_change => "($run, 1, 0)",
    gan_upload => "($unit, '$token', 0, '')",
    gan_submit => "($unit, '$token', $nonce, 4, 1, 1, 0, 0)",
    gan_credit => "($worker{ann})",
    gan_reference_wanted => "($worker{ann})",
    gan_contribute_reference => "($worker{ann}, 1, '')",
    gan_set_nickname => "('ann')",
    gan_standing => "($worker{ann})",
);
for my $function (
    split /\n/,
    $class->psql(
        q{SELECT proname FROM pg_proc WHERE proname LIKE 'gan\_%' AND has_function_privilege('gan_student', oid, 'EXECUTE') AND NOT has_function_privilege('gan_viewer', oid, 'EXECUTE') ORDER BY 1}
    )
    )
{
    ok exists $call{$function}, "$function is known here" or next;
    is [ $class->psql_fails("BEGIN; SELECT $function$call{$function}; COMMIT", user => 'ann') ]
        ->[0], '25001', "$function refuses to run in a transaction block";
}

SKIP: {
    skip 'that is for a worker, not for a guard in the server', 11
        if $ENV{GANN_MODULE} || $ENV{GANN_MUTANT};
    skip 'dataset-fashion-mnist is not installed', 11 unless $class->data;
    $class->psql("SELECT gan_stop($run)");

    # A worker that holds weights of the same iteration, but another version, fetches them again
    sub calls {
        my ($function, $least) = (@_, 0);    # a backend may report ten seconds late
        my $count = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions
                WHERE funcname = '$function'";
        my $last = $class->psql($count);
        for (1 .. 120) {    # a backend reports when it is idle for a second
            select undef, undef, undef, 0.12;
            my $now = $class->psql($count);
            return $now if $now == $last && $_ > 10 && $now >= $least;
            $last = $now;
        }
        return $last;
    }
    my $class_run = $class->create_run(
        'versions',
        units_per_iteration => 1,
        target_iterations => 100,
        download_element => "'int8'"
    );
    $class->psql("SELECT gan_start($class_run)");
    my $worker = $class->worker('cleo', '--run', 'versions');
    my $in = "SELECT count(*) FROM gan_work_unit JOIN gan_run USING (run, iteration)
            WHERE run = $class_run
            AND gan_work_unit.state = 'done'";
    my $again = "WITH u AS (UPDATE gan_work_unit u
            SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
                submitted_at = NULL, batch = NULL, loss_d = NULL,
        loss_g = NULL, accuracy_real = NULL, accuracy_fake = NULL FROM gan_run r WHERE r.run = u.run
            AND r.iteration = u.iteration AND r.run = $class_run RETURNING u.run) SELECT
            gan_wake(run)
        FROM u";
    ok $class->poll_until($in, '1', 60), 'a worker does a unit';
    my ($whole, $changes) = (calls('gan_fetch_weights', 1), calls('gan_fetch_change'));
    $class->psql($again);
    ok $class->poll_until($in, '1', 60), 'and once more';
    is calls('gan_fetch_weights') - $whole, '0', 'at the weights that it holds';
    $class->psql("UPDATE gan_run SET weights_nonce = gan_nonce() WHERE run = $class_run");
    $class->psql($again);
    ok $class->poll_until($in, '1', 60),
        'and again, at weights of the same iteration and another version';
    is calls('gan_fetch_weights', $whole + 1) - $whole, '1', 'which it fetches';

    # It follows changes only from the version that they were made for
    like $class->psql("SELECT gan_tick($class_run)"), qr/^step/, 'a step';
    ok $class->poll_until($in, '1', 60), 'a unit of the next iteration';
    is calls('gan_fetch_change', $changes + 1) - $changes, '1', 'to which the change leads';
    $class->signal($worker, 'STOP');
    $class->psql("SELECT gan_tick($class_run)");
    my $before = $class->psql("SELECT weights_nonce_1 FROM gan_run WHERE run = $class_run");
    $class->psql("UPDATE gan_run SET weights_nonce_1 = gan_nonce() WHERE run = $class_run");
    $class->signal($worker, 'CONT');
    ok $class->poll_until($in, '1', 60),
        'a unit of the next iteration, after a failover, as it seems';
    is calls('gan_fetch_weights', $whole + 2) - $whole, '2',
        'the worker fetches the weights whole';
    is calls('gan_fetch_change') - $changes, '1', 'and not the change';
    $class->psql("UPDATE gan_run SET weights_nonce_1 = $before WHERE run = $class_run");
    $class->psql("SELECT gan_stop($class_run)");
    is $class->wait_for($worker, 30), 0, 'it ends';
}
done_testing;
