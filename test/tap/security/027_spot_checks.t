# Spot checks: honest workers lose no trust, whatever their results travel as; a cheat is found,
# suspended, and its unit dropped; who decides where two accounts differ.
use strict;
use warnings;
use Test::More;
use GannBlob;
use GannClass;
use Time::HiRes qw(sleep time);

plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $long = GannTest::long_run();
my $class = GannClass->new;
my @accounts = qw(ann bo cy di);

sub make {
    my ($name, %options) = @_;
    return $class->create_run(
        $name,
        units_per_iteration => 4,
        images_per_unit => 8,
        batch => 8,
        lease_seconds => 30,
        audit_minimum => 0.05,
        %options
    );
}

# Trains a run with a real worker for each account; returns when it is finished.
sub train {
    my ($run, $name) = @_;
    $class->psql("SELECT gan_start($run)");
    # two of them round otherwise, as other processors would
    my @workers = map {
        $class->worker(
            { name => "$name-$_", /^(bo|di)$/ ? (env => { OPENBLAS_CORETYPE => 'Prescott' }) : () },
            $_, '--run', $name, '--threads', 1
        )
    } @accounts;
    my $coordinator = $class->coordinate;
    ok $class->poll_until("SELECT state FROM gan_run WHERE run = $run", 'finished', 240),
        "$name: four real workers train it to its end"
        or BAIL_OUT($name);
    $class->wait_for($_, 30) for @workers, $coordinator;
    return;
}

# What must hold of a class in which everybody is honest
sub nobody_suspected {
    my ($run, $name) = @_;
    is $class->psql(
        "SELECT count(*) FROM gan_trust
            WHERE run = $run
            AND (suspended OR disagreed + unclear > 0)"
        ),
        '0', "$name: nobody honest has lost trust"
        or diag $class->psql(
        "SELECT * FROM gan_trust
              WHERE run = $run; SELECT * FROM gan_audit
              WHERE run = $run
              AND verdict NOT IN ('agreed', 'abandoned')"
        );
    my ($agreed, $error, $cosine, $abandoned) = split /\|/, $class->psql(
        "SELECT count(*) FILTER (WHERE verdict = 'agreed'), max(error), min(cosine),
                  count(*) FILTER (WHERE verdict = 'abandoned')
              FROM gan_audit
              WHERE run = $run"
    );
    cmp_ok $agreed, '>=', 4, "$name: $agreed units were computed twice and agreed";
    note
        "$name: largest error $error, smallest cosine $cosine, $agreed agreed, $abandoned "
        . "abandoned";
    is $class->psql("SELECT count(*) FROM gan_audit WHERE run = $run AND verdict IS NULL"), '0',
        "$name: every check has come to an end";
    is $class->psql("SELECT sum(images) FROM gan_ledger($run)"), $class->psql(
        "SELECT sum(upper(s) -
                lower(s))
            FROM gan_history h, unnest(h.positions) s
            WHERE run = $run"
        ),
        "$name: and no image counted twice";
    return;
}

# ---- 200 units and more of an honest class
my $steps = $long ? 600 : 80;
my $honest = make('honest', target_iterations => $steps);
train($honest, 'honest');
nobody_suspected($honest, 'honest');
my ($units, $checks, $late_units, $late_checks) = split /\|/, $class->psql(
    "SELECT sum(h.units),
            sum(c.n), sum(h.units) FILTER (WHERE h.iteration >= $steps / 2),
            sum(c.n) FILTER (WHERE h.iteration >= $steps / 2)
    FROM gan_history h
    CROSS JOIN LATERAL (SELECT count(*) AS n FROM gan_audit a WHERE a.run = h.run
        AND a.iteration = h.iteration) AS c
    WHERE h.run = $honest"
);
cmp_ok $units, '>=', 200, "$units units were averaged";
note sprintf 'extra work: %.1f %% of all units, %.1f %% in the second half',
    100 * $checks / $units, 100 * $late_checks / $late_units;
cmp_ok $late_checks / $late_units, '<', 0.6 * $checks / $units + 0.1,
    'with trust there are fewer checks';
cmp_ok $class->psql("SELECT min(streak) FROM gan_trust WHERE run = $honest"), '>=', 3,
    'everybody has earned trust';
is $class->psql(
    "SELECT count(*) FROM gan_trust_report
        WHERE run = $honest
        AND share_checked < 0.3
        AND checks > 0
        AND NOT suspended"
    ),
    '4', 'the report shows it, and who checked others';

# ---- results that are rounded on their way, and local steps
my %kinds = (
    int8 => { upload_element => "'int8'" },
    float16 => { upload_element => "'float16'" },
    local => { local_steps => 4, images_per_unit => 'NULL' },
    'local int8' => {
        local_steps => 4,
        images_per_unit => 'NULL',
        upload_element => "'int8'",
        download_element => "'int8'"
    },
    alternating => { update_rule => "'alternating'" },
    wide => {
        local_steps => 10,
        images_per_unit => 'NULL',
        generator_features => 32,
        discriminator_features => 32
    }
);
for my $name ($long ? sort keys %kinds : ('int8', 'local int8')) {
    my $run = make($name, target_iterations => $long ? 20 : 16, %{ $kinds{$name} });
    train($run, $name);
    nobody_suspected($run, $name);
}

# ---- a cheat among honest workers: noise of the norm that an honest gradient has
my $cheated = make('cheated', target_iterations => 100000);
my ($found, $after) = plant_cheat($cheated, 'cheated', 0);
cmp_ok $found, '<=', 20, "a new cheat is found at its unit number $found";
is $after, 'suspended', 'and gets no more units';
my $trusting = make('trusting', target_iterations => 100000, audit_minimum => 0.5);
($found, $after) = plant_cheat($trusting, 'trusting', 1000);
cmp_ok $found, '<=', 20,
    "one who was honest in a thousand checks is found at its unit number $found, where half of "
    . "all units are checked";
for my $run ($cheated, $trusting) {
    is $class->psql("SELECT string_agg(login, ' ') FROM gan_trust WHERE run = $run AND suspended"),
        'eve', 'nobody else is suspended';
    is $class->psql(
        "SELECT count(*) FROM gan_work_unit u JOIN gan_worker w USING (worker)
            JOIN gan_audit a ON a.first_position = u.first_position
            AND a.run = u.run
            WHERE u.run = $run
            AND w.login = 'eve'
            AND a.verdict = 'wrong'
            AND u.state = 'done'"
        ),
        '0', 'the unit that was found is not averaged as the cheat computed it';
}
is $class->psql(
    "SELECT coalesce(sum(units), 0) FROM gan_worker
        WHERE run = $cheated
        AND login = 'eve'"
    ),
    '0', 'a new cheat has no unit in the model';
like $class->psql("SELECT gan_forgive('eve', $cheated)"), qr/gets units/, 'the instructor forgives';
is $class->psql("SELECT streak, suspended FROM gan_trust WHERE run = $cheated AND login = 'eve'"),
    '0|f', 'it begins again';

# ---- who decides: by SQL, with weights of other runs for results
my %tiny = (
    units_per_iteration => 2,
    latent => 2,
    generator_features => 1,
    discriminator_features => 1,
    audit_minimum => 1,
    target_iterations => 100
);
my %held;
my ($good, $bad) = map { make("results $_", %tiny, seed => $_) } 1, 2;
my $votes = make('votes', %tiny);
$class->psql("SELECT gan_start($votes)");
my %hand = map { $_ => join_run($votes, $_) } @accounts;
seen();
my $shown = "SELECT pending, claimed, done FROM gan_progress
        WHERE run = $votes; SELECT gan_dashboard($votes) ->> 'happening', gan_dashboard($votes) ->
            'units' ->> 'states'";
like $class->psql($shown), qr/^2\|0\|0\nIteration 0: 0 of 2 units done.*\|ff$/,
    'what everybody sees before it';
like claim($votes, 'ann'), qr/^work\|0$/, 'a unit is claimed';
is $class->psql("SELECT count(*) FROM gan_audit WHERE run = $votes"), '0',
    'the claim itself draws nothing';
$class->psql("SELECT gan_tick($votes)");
like $class->psql($shown),
    qr/^1\|1\|0\nIteration 0: 0 of 2 units done, waiting for student \d+; 1 is free\|cf$/,
    'and after it: as if it were not checked';
is $class->psql(
    "SELECT count(*) FILTER (WHERE audits IS NOT NULL),
            count(*) FILTER (WHERE iteration = 1)
        FROM gan_work_unit
        WHERE run = $votes"
    ),
    '1|1', 'its copy is there, and another unit is left to the next iteration';
is claim($votes, 'bo'), 'work|0', 'a second account gets a unit, of the same images';
$class->psql("SELECT gan_tick($votes)");
like $class->psql($shown), qr/^1\|1\|0\n.*\|cf$/, 'which is not seen either';
is $class->psql("SELECT message FROM gan_claim($hand{cy})", user => 'cy'),
    'iteration 0: 0 of 2 units are done, 1 being computed', 'nor told to who gets none';
hand_in('ann', $good);
is $class->psql("SELECT count(*) FROM gan_iteration_report(0, $votes)"), '0',
    'the report of the current iteration would tell who is checked';
unlike $class->psql("SELECT gan_dashboard($votes) ->> 'happening'"), qr/waiting for/,
    'nor does the dashboard name who has a copy of what is in';
like $class->psql("SELECT gan_tick($votes)"), qr/spot checks are under way/, 'the step waits';
like $class->psql($shown),
    qr/^1\|0\|1\nIteration 0: 1 of 2 units done, spot checks are under way\|df$/,
    'which may be told: all is in';
hand_in('bo', $bad);
is [
    $class->psql_fails(
        "UPDATE gan_work_unit SET state = 'done'
        WHERE run = $votes
        AND state = 'checked'"
    )
]->[0], '23514', 'a spot check can\'t be averaged';
seen();
$class->psql("SELECT gan_tick($votes)");
is $class->psql("SELECT count(*) FROM gan_audit WHERE run = $votes AND verdict IS NULL"), '1',
    'two that differ: nobody knows who is wrong';
is claim($votes, 'ann'), 'waiting|', 'neither of them is asked again';
is claim($votes, 'cy'), 'work|0', 'a third one is';
hand_in('cy', $good);
like $class->psql("SELECT gan_tick($votes)"), qr/^step/, 'then the step is taken';
is $class->psql("SELECT count(*) FROM gan_iteration_report(0, $votes)"), '3',
    'after it everybody may know';
is $class->psql(
    "SELECT verdict, array_to_string(logins, ' '), results FROM gan_audit
        WHERE run = $votes"
    ),
    'wrong|bo|3', 'the majority decides';
is $class->psql(
    "SELECT login, agreed, checks, disagreed, suspended FROM gan_trust
        WHERE run = $votes ORDER BY 1"
    ),
    "ann|1|0|0|f\nbo|0|0|1|t\ncy|0|1|0|f", 'trust is as it should be';
is claim($votes, 'bo'), 'suspended|', 'who was in the wrong gets no more units';
is $class->broken_invariants, '', 'the invariants hold';

like $class->psql("SELECT gan_trust_login('bo', $votes)"), qr/is trusted/,
    'the instructor trusts one';
$class->psql("UPDATE gan_run SET checks_on = true WHERE run = $votes");
my $wrong = claim($votes, 'ann') && $class->psql(
    "SELECT unit FROM gan_work_unit
        WHERE run = $votes
        AND state = 'claimed'"
);
$class->psql("SELECT gan_tick($votes)");
claim($votes, 'bo');
hand_in($_->[0], $_->[1]) for [ ann => $good ], [ bo => $bad ];
$class->psql("SELECT gan_tick($votes)");
is $class->psql(
    "SELECT verdict, array_to_string(logins, ' ') FROM gan_audit
        WHERE run = $votes
        AND iteration = 1"
    ),
    'wrong|ann', 'what a trusted one computes decides';
is $class->psql("SELECT state, worker IS NULL, failed_by FROM gan_work_unit WHERE unit = $wrong"),
    'pending|t|{ann}', 'and the unit that was wrong is to be done again, by somebody else';

my $pair = make('pair', %tiny);
$class->psql("SELECT gan_start($pair)");
%hand = map { $_ => join_run($pair, $_) } 'ann', 'bo';
seen();
claim($pair, 'ann');
$class->psql("SELECT gan_tick($pair)");
claim($pair, 'bo');
hand_in('ann', $good), hand_in('bo', $bad);
like $class->psql("SELECT gan_tick($pair)"), qr/^step/,
    'of two accounts that differ nobody is waited for';
is $class->psql(
    "SELECT verdict FROM gan_audit
        WHERE run = $pair; SELECT string_agg(login || ' ' || unclear || suspended, ', '
            ORDER BY login)
        FROM gan_trust
        WHERE run = $pair"
    ),
    "unclear\nann 1false, bo 1false",
    'both lose trust, neither is suspended';
claim($pair, 'ann');
like $class->psql("SELECT checks_on FROM gan_run WHERE run = $pair"), qr/f/,
    'and with two about nothing is checked from then on';
is $class->psql("SELECT gan_drop_run($pair); SELECT count(*) FROM gan_audit WHERE run = $pair"),
    "\n0", 'a run takes its checks with it';

sub join_run {
    my ($run, $user) = @_;
    $class->student($user);
    return $class->psql("SELECT gan_join($run, 'x', 100, sha256('faces'), 1, 1, '', '')",
        user => $user);
}

# Has the server believe that all of them are about, and that there are enough.
sub seen {
    $class->psql(
        "UPDATE gan_worker SET last_seen = clock_timestamp(); UPDATE gan_run
            SET checks_on = true
            WHERE state = 'running'"
    );
    return;
}

sub claim {
    my ($run, $user) = @_;
    my ($reason, @rest) = split /\|/, $class->psql(
        "SELECT reason, unit, token, weights_nonce,
                iteration, first_position
            FROM gan_claim($hand{$user})", user => $user
    );
    $held{$user} = [ @rest[ 0 .. 2 ] ];
    return "$reason|" . ($reason eq 'work' ? 0 + ($rest[4] > 8) : '');
}

# Hands in what somebody holds: the weights of another run.
sub hand_in {
    my ($user, $result) = @_;
    my ($unit, $token, $nonce) = @{ $held{$user} };
    $class->psql(
        "SELECT gan_upload($unit, '$token', shard, gan_fetch_weights($result, 0, shard))
            FROM generate_series(0, 1) shard", user => $user
    );
    is $class->psql(
        "SELECT answer FROM gan_submit($unit, '$token', $nonce, 8, 1, 1, 0.5, 0.5)",
        user => $user
        ),
        'accepted', "$user submits";
    return;
}

# Real workers of three accounts, and a cheat by SQL until it is found; returns how many units the
# cheat has submitted, and the answer to its next claim.
sub plant_cheat {
    my ($run, $name, $streak) = @_;
    $class->psql("SELECT gan_start($run)");
    $class->student('eve');
    my @workers = map { $class->worker({ name => "$name-$_" }, $_, '--run', $name, '--threads', 1) }
        @accounts[ 0 .. 2 ];
    my $coordinator = $class->coordinate;
    $class->poll_until("SELECT iteration > 3 AND checks_on FROM gan_run WHERE run = $run", 't', 60)
        or diag 'no spot checks';
    $class->psql(
        "INSERT INTO gan_trust (run, login, checked, agreed, streak)
            VALUES ($run, 'eve', $streak, $streak, $streak)"
    ) if $streak;
    my ($digest, $shards, $parameters, $statistics) = split /\|/, $class->psql(
        "SELECT encode(dataset_digest, 'hex'), r.shards, r.parameters, n.statistics
            FROM gan_run r, gan_network_size(channels, image_size, latent, generator_features,
                discriminator_features) n
            WHERE run = $run"
    );
    my $worker = $class->psql(
        "SELECT gan_join($run, 'x', dataset_images, '\\x$digest', 1, 1, '', '') FROM (SELECT "
        . "60000::bigint AS dataset_images) d",
        user => 'eve'
    );
    my ($handed_in, $reason) = (0, '');
    for (my $until = time + 120; time < $until && $handed_in < 40;) {
        (my ($unit, $token, $nonce), $reason) = split /\|/, $class->psql(
            "SELECT unit, token,
                    weights_nonce, reason
                FROM gan_claim($worker)", user => 'eve'
        );
        last if $reason eq 'suspended';
        if ($reason ne 'work') { sleep 0.05; next }
        my ($norm) = $class->psql(
            "SELECT sqrt(sum(square_sum)) FROM gan_gradient_piece
                WHERE run = $run
                AND shard < $shards
                AND unit = (SELECT min(unit) FROM gan_gradient_piece WHERE run = $run
                    AND unit <> $unit)"
        );
        my $size = ($norm || 1) / sqrt $parameters;
        my @calls = map {
            my $n =
                $_ < $shards
                ? ($_ < $shards - 1 ? 262144 : $parameters - 262144 * ($shards - 1))
                : $statistics;
            my $factor = $_ < $shards ? $size * sqrt 3 : 1;
            my @x = map { $factor * (2 * rand() - 1) } 1 .. $n;
            @x = map {abs} @x if $_ == $shards;
            "SELECT gan_upload($unit, '$token', $_, '\\x" . unpack('H*', numbers(@x)) . "')"
        } 0 .. $shards;
        $class->psql($_, user => 'eve') for @calls;
        my $answer = $class->psql(
            "SELECT answer
                FROM gan_submit($unit, '$token', $nonce, 8, 1, 1, 0.5, 0.5)", user => 'eve'
        );
        $handed_in++ if $answer eq 'accepted';
    }
    my $here = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
    ok $class->poll_until("SELECT iteration > $here + 2 FROM gan_run WHERE run = $run", 't', 60),
        "$name: the class continues";
    is $class->broken_invariants, '', "$name: the invariants hold";
    $class->psql("SELECT gan_stop($run)");
    $class->wait_for($_, 60) for @workers, $coordinator;
    return ($handed_in, $reason);
}

# A float32 blob of these numbers
sub numbers {
    my $data = pack 'f<*', @_;
    return 'GANF' . pack('v2 Q< V2', 1, 1, scalar @_, GannBlob::crc32c($data), 0) . $data;
}

done_testing;
