# Standing is earned: what a login may hold, fail, have doubled or find out grows with what of its
# work was accepted; results that are refused are counted, and the run pauses itself where nobody's
# are taken.
use strict;
use warnings;
use Test::More;
use GannBlob;
use GannClass;
use Time::HiRes qw(sleep time);

my $class = GannClass->new;
my %tiny = (
    latent => 2,
    generator_features => 1,
    discriminator_features => 1,
    images_per_unit => 10,
    batch => 4,
    lease_seconds => 3600,
    target_iterations => 50,
    dataset_images => 1000,
    dataset_digest => q{sha256('faces')}
);
my ($parameters, $statistics) = split /\|/, $class->psql(
    'SELECT parameters, statistics
        FROM gan_network_size(1, 32, 2, 1, 1)'
);
$class->student($_) for qw(ann bo cy eve);

sub as { my ($who, $sql, %opt) = @_; return $class->psql($sql, user => $who, %opt) }

sub start {
    my ($name, %options) = @_;
    my $run = $class->create_run($name, %tiny, %options);
    $class->psql("SELECT gan_start($run)");
    return $run;
}

sub joined {
    my ($run, $who, $name) = @_;
    return as($who,
        "SELECT gan_join($run, '" . ($name // 'w') . "', 1000, sha256('faces'), 1, 1, '', '')");
}

sub claim {
    my ($who, $worker) = @_;
    return split /\|/, as(
        $who, "SELECT reason, unit, token,
            weights_nonce, message, retry_seconds
        FROM gan_claim($worker)"
        ),
        -1;
}

sub blob {
    my ($count, @value) = @_;
    my $data = pack 'f<*', (@value) x $count;
    return
          q{'\x}
        . unpack('H*', 'GANF' . pack('v2 Q< V2', 1, 1, $count, GannBlob::crc32c($data), 0) . $data)
        . q{'};
}

sub uploads {
    my ($unit, $token) = @_;
    return
          "SELECT gan_upload($unit, '$token', 0, "
        . blob($parameters, 1e-3)
        . "), gan_upload($unit, '$token', 1, "
        . blob($statistics, 0.5) . ');';
}

sub hand_in {
    my ($who, $worker) = @_;
    my ($reason, $unit, $token, $nonce) = claim($who, $worker);
    return $reason if $reason ne 'work';
    return (
        split /\n/,
        as(
            $who,
            uploads($unit, $token)
                . " SELECT answer
            FROM gan_submit($unit, '$token', $nonce, 4, 1, 1, 0.5, 0.5)"
        )
    )[1];
}

# An upload of the statistics that is refused, and the release after it, in one session as a worker
# has.
sub refused {
    my ($who, $worker) = @_;
    my ($reason, $unit, $token) = claim($who, $worker);
    return $reason if $reason ne 'work';
    my ($out, $err) = as(
        $who,
        "SELECT gan_upload($unit, '$token', 0, "
            . blob($parameters, 9**9**9)
            . ");\nSELECT gan_release($unit, '$token');",
        on_error => 'return',
        keep_going => 1
    );
    return $out =~ /^t$/m ? $err =~ /shard 0 holds NaN or infinity/ ? 'refused' : $err : $out;
}

# ---- A-7: one login with twelve workers
my $run = start('hoard', units_per_iteration => 40);
my @eve = map { joined($run, 'eve', "e$_") } 1 .. 12;
is join(' ', map { (claim('eve', $_))[0] } @eve), join(' ', 'work', ('waiting') x 11),
    'a login of whose work nothing was accepted holds one unit';
like(
    (claim('eve', $eve[5]))[4],
    qr/^the first unit of "eve" is in progress/,
    'and its other workers are told why'
);
is $class->psql("SELECT gan_allowance($run, 'eve')"), '1', 'that is its allowance';
my $ann = joined($run, 'ann');
is hand_in('ann', $ann), 'accepted', 'ann has done a unit';
is $class->psql("SELECT gan_allowance($run, 'ann')"), '4', 'after the first one four are allowed';
my @ann = map { joined($run, 'ann', "a$_") } 1 .. 5;
is join(' ', map { (claim('ann', $_))[0] } @ann), join(' ', ('work') x 4, 'waiting'), 'and no more';
$class->psql("UPDATE gan_worker SET lapses = 1 WHERE worker = $ann");
is $class->psql("SELECT gan_allowance($run, 'ann')"), '2', 'a lease that ended halves it';
# (A copy of what a holder without a known pace holds: by the class's pace.)
my $few = start('few', units_per_iteration => 2);
my ($holder, $helper) = map { joined($few, $_) } 'eve', 'ann';
my (undef, $held) = claim('eve', $holder);
is hand_in('ann', $helper), 'accepted', 'the other unit is in';
$class->psql("UPDATE gan_worker SET paces = '{0.1,0.1,0.1}' WHERE worker = $helper");
is((claim('ann', $helper))[0], 'waiting', 'the one that is held is not late yet');
$class->psql(
    "UPDATE gan_work_unit SET claimed_at = claimed_at - interval '4 s' WHERE unit = $held");
my ($reason, $copy) = claim('ann', $helper);
is $class->psql("SELECT backs_up FROM gan_work_unit WHERE unit = $copy"), $held,
    'by the class\'s pace it is: a copy, long before the lease of an hour ends';

# ---- A-6: failures of newcomers set nothing aside
$run = start('aside', units_per_iteration => 6);
my %worker = map { $_ => joined($run, $_) } qw(ann bo cy eve);
is hand_in('ann', $worker{ann}), 'accepted', 'ann has done a unit';
claim('ann', $worker{ann});
for (1 .. 4) { refused($_, $worker{$_}) for qw(bo cy eve); $class->psql("SELECT gan_tick($run)") }
is $class->psql("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state = 'aside'"), '0',
    'refused results of three newcomers set no unit aside';
is $class->psql("SELECT state FROM gan_run WHERE run = $run"), 'running',
    'nor do they pause the run: ann has not met that';
cmp_ok $class->psql("SELECT refusals FROM gan_worker WHERE worker = $worker{eve}"), '>=', 2,
    'each is counted';
$class->psql(
    "UPDATE gan_worker SET refusals = 6, refused_at = clock_timestamp()
        WHERE worker = $worker{eve}"
);
my ($why, undef, undef, undef, $message, $seconds) = claim('eve', $worker{eve});
is $why, 'waiting', 'who is refused often rests';
like $message, qr/^the last \d results of "eve" were refused: it may claim again in \d+ s$/,
    'and is told for how long';
cmp_ok $seconds, '>', 0, "$seconds s";
cmp_ok $class->psql("SELECT max(times) FROM gan_failure WHERE run = $run AND login = 'eve'"), '<=',
    4, 'so it fails few times';
$class->psql(
    "UPDATE gan_work_unit SET state = 'aside'
        WHERE unit = (SELECT max(unit) FROM gan_work_unit WHERE run = $run AND state = 'pending')"
);
$class->psql("UPDATE gan_run SET quorum = 1 WHERE run = $run; SELECT gan_tick($run)");
is $class->psql("SELECT set_aside FROM gan_ledger($run)"), '10',
    'what was set aside is in the ledger';

# ---- D-2: nobody's result is taken
for my $limit ('1e-6', '5e-324') {
    $run = start("limit $limit", units_per_iteration => 3, gradient_limit => $limit);
    $worker{ann} = joined($run, 'ann');
    my $left = 3;
    for (1 .. 200) {
        my ($reason, $unit, $token) = claim('ann', $worker{ann});
        if ($reason ne 'work') { last if $reason eq 'paused'; sleep 0.2; next }
        my ($out, $err) = as(
            'ann',
            "SELECT gan_upload($unit, '$token', 0, "
                . blob($parameters, 1e-3)
                . ");\nSELECT gan_release($unit, '$token');",
            on_error => 'return',
            keep_going => 1
        );
        like $err, qr/the norm of shard 0 is 0\.02\d+, the run's gradient_limit is /,
            "gradient_limit $limit: refused, and the message names the shard, the norm and the limit"
            if $left == 3;
        $left--;
        $class->psql("SELECT gan_tick($run)");
    }
    is $left, 0, 'after as many refusals as it has units';
    like $class->psql("SELECT note FROM gan_progress WHERE run = $run"),
        qr/paused itself: 3 results of iteration 0 .*the norm of shard 0 is 0\.02\d+, the run's gradient_limit is .*larger gradient_limit/,
        'the run pauses itself and says which limit, shard and norm, and what to do';
    like $class->psql(q{SELECT string_agg(finding, E'\n') FROM gan_doctor() WHERE item ~ 'limit'}),
        qr/paused itself/, 'gan_doctor says so, too';
}
$class->psql("UPDATE gan_run SET gradient_limit = 1 WHERE run = $run; SELECT gan_start($run)");
is hand_in('ann', $worker{ann}), 'accepted',
    'when the cause is gone and it is started again, it continues at once';

# ---- A-8, A-9: spot checks, of which the claimer sees nothing
$run = start('checks', units_per_iteration => 4, audit_minimum => 1);
%worker = map { $_ => joined($run, $_) } qw(ann bo cy eve);
$class->psql("UPDATE gan_run SET checks_on = true WHERE run = $run");
my (undef, $unit, $token) = claim('eve', $worker{eve});
is $class->psql("SELECT count(*) FROM gan_audit WHERE run = $run"), '0',
    'a claim draws nothing: nothing in its session can depend on it';
$class->psql("SELECT gan_tick($run)");
is $class->psql("SELECT count(*) FROM gan_work_unit WHERE run = $run AND audits = $unit"), '1',
    'the coordinator does';
as('eve', "SELECT gan_release($unit, '$token')");
$class->psql("SELECT gan_tick($run)");
is $class->psql(
    "SELECT count(*) FILTER (WHERE audits IS NOT NULL),
            count(*) FILTER (WHERE iteration = 0)
        FROM gan_work_unit
        WHERE run = $run"
    ),
    '0|4', 'a release takes the copy back, and what was left to the next iteration returns';
for (1 .. 5) {
    my (undef, $unit, $token) = claim('eve', $worker{eve});
    $class->psql("SELECT gan_tick($run)");
    as('eve', "SELECT gan_release($unit, '$token')");
}
is $class->psql("SELECT count(*) FROM gan_audit WHERE run = $run"), '0',
    'claiming and releasing in turn makes no work for others';
(undef, $unit, $token) = claim('eve', $worker{eve});
as('eve', uploads($unit, $token));
$class->psql("SELECT gan_tick($run)");
is $class->psql("SELECT count(*) FROM gan_audit WHERE run = $run"), '1',
    'but what it begins to upload is checked as ever';
is $class->psql("SELECT checked_for FROM gan_work_unit WHERE unit = $unit"), '{eve}',
    'it was drawn once';
# The last free unit: the login's second worker gets it whether its first unit is checked or not.
$run = start('last', units_per_iteration => 2, audit_minimum => 1);
%worker = map { $_ => joined($run, $_) } qw(ann bo eve);
$worker{eve2} = joined($run, 'eve', 'second');
$class->psql(
    "UPDATE gan_worker SET units = 9, images = 90
        WHERE run = $run; UPDATE gan_run SET checks_on = true
        WHERE run = $run"
);
claim('eve', $worker{eve});
$class->psql("SELECT gan_tick($run)");
is $class->psql("SELECT count(*) FROM gan_work_unit WHERE run = $run AND iteration = 1"), '1',
    'the last free unit is left to the next iteration for a check';
is((claim('eve', $worker{eve2}))[0],
    'work', 'the login whose unit is checked gets it all the same: else it would know');
$class->psql("SELECT gan_drop_run($run)");    # whose credit was set by hand
is $class->broken_invariants, '', 'the invariants hold';
done_testing;
