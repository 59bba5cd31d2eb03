# A step never hangs on one unit: numbers at the edge are refused where they come in, what makes a
# step fail all the same is found, named and put back, and where no unit is to blame the run pauses
# itself and says why.
use strict;
use warnings;
use Test::More;
use GannBlob;
use GannClass;

my $class = GannClass->new;
my %tiny = (
    latent => 2,
    generator_features => 1,
    discriminator_features => 1,
    images_per_unit => 10,
    batch => 4,
    units_per_iteration => 4,
    lease_seconds => 3600,
    target_iterations => 50,
    average_decay => 0
);
my ($parameters, $statistics) = split /\|/, $class->psql(
    'SELECT parameters, statistics
        FROM gan_network_size(1, 32, 2, 1, 1)'
);
my @logins = qw(ann bo cy eve);
$class->student($_) for @logins;
my %held;

sub as { my ($who, $sql, %opt) = @_; return $class->psql($sql, user => $who, %opt) }

# A run in which each login has a worker and holds a unit.
sub make {
    my ($name, %options) = @_;
    my $run = $class->create_run(
        $name, %tiny,
        dataset_images => 100,
        dataset_digest => q{sha256('faces')},
        %options
    );
    $class->psql("SELECT gan_start($run)");
    take($run, $_, as($_, "SELECT gan_join($run, 'w', 100, sha256('faces'), 1, 1, '', '')"))
        for @logins;
    return $run;
}

sub take {
    my ($run, $who, $worker) = @_;
    $worker //= $held{$run}{$who}[3];
    $held{$run}{$who} = [
        (
            split /\|/,
            as(
                $who, "SELECT unit, token, weights_nonce
            FROM gan_claim($worker)"
            )
        )[ 0 .. 2 ],
        $worker
    ];
    return $held{$run}{$who}[0];
}

sub blob {
    my ($count, $value) = @_;
    my $data = pack 'f<*', ($value) x $count;
    return
          q{'\x}
        . unpack('H*', 'GANF' . pack('v2 Q< V2', 1, 1, $count, GannBlob::crc32c($data), 0) . $data)
        . q{'};
}

# Uploads what somebody holds, all numbers the same, and submits it.
sub hand_in {
    my ($run, $who, $value, $numbers) = @_;
    my ($unit, $token, $nonce) = @{ $held{$run}{$who} };
    as($who,
              "SELECT gan_upload($unit, '$token', 0, "
            . blob($parameters, $value)
            . "), gan_upload($unit, '$token', 1, "
            . blob($statistics, 0.5)
            . ')');
    return as($who,
              "SELECT answer FROM gan_submit($unit, '$token', $nonce, 4, "
            . ($numbers // '1, 1, 0.5, 0.5')
            . ')');
}

sub tick { return $class->psql("SELECT gan_tick($_[0])") }

# ---- numbers of a submission
my $run = make('numbers');
is hand_in($run, 'eve', 1e-3, '1.7e308, 1, 0.5, 0.5'), 'refused',
    'a loss whose sum would overflow is refused';
is hand_in($run, 'eve', 1e-3, '1, 1000001, 0.5, 0.5'), 'refused', 'so is one above the limit';
is hand_in($run, 'eve', 1e-3, '5e-324, 1e-310, 5e-324, -0.0'), 'accepted',
    'numbers next to 0 are accepted';
is $class->psql(
    "SELECT loss_d, loss_g, accuracy_real, accuracy_fake FROM gan_work_unit
        WHERE unit = $held{$run}{eve}[0]"
    ),
    '0|0|0|0', 'and stored as 0';
is [
    $class->psql_fails("UPDATE gan_work_unit SET loss_d = 1e300 WHERE unit = $held{$run}{eve}[0]") ]
    ->[0], '23514', 'no statement can store what would overflow';
is hand_in($run, $_, 1e-3, '0, 1000000, 1, 0'), 'accepted',
    "$_: the largest and the smallest are accepted"
    for qw(ann bo cy);
like tick($run), qr/^step/, 'the step is taken';
is $class->psql("SELECT loss_g, accuracy_real FROM gan_history WHERE run = $run"), '750000|0.75',
    'and the mean is right';

# ---- a result that is damaged after it arrived
$run = make('damaged');
is hand_in($run, $_, 1e-3), 'accepted', "$_ is in" for @logins;
$class->psql(
    "UPDATE gan_gradient_piece SET data = overlay(data PLACING '\\xff'::bytea FROM 30) WHERE run "
    . "= $run AND unit = $held{$run}{bo}[0] AND shard = 0 AND piece = 0"
);
like tick($run), qr/the step failed .*unit $held{$run}{bo}[0] is given out again/,
    'a damaged row: its unit is given out again';
is $class->psql(
    "SELECT count(*) FILTER (WHERE state = 'done'),
            count(*) FILTER (WHERE state = 'pending')
        FROM gan_work_unit
        WHERE run = $run"
    ),
    '3|1', 'and no other';
is $class->psql("SELECT count(*) FROM gan_failure WHERE run = $run"), '0',
    'it counts as nobody\'s failure';
like $class->psql("SELECT what FROM gan_incident WHERE run = $run"),
    qr/unit $held{$run}{bo}[0] of login "bo": the stored shard 0 /,
    'the instructor reads which, whose and why';
take($run, 'bo');
is hand_in($run, 'bo', 1e-3), 'accepted', 'it is computed again';
like tick($run), qr/^step/, 'and the next tick takes the step';

# ---- a result that is fine by itself, and that the step can't take: its square is beyond float32
$run =
    make('square', gradient_limit => 1e30, aggregator => q{'mean'}, update_limit => q{'Infinity'});
is hand_in($run, $_, 1e-3), 'accepted', "$_ is in" for qw(ann bo cy);
is hand_in($run, 'eve', 1e25), 'accepted', 'so is one of 1e25, which this run allows';
like tick($run),
    qr/the new moments of shard 0 are not finite.*unit $held{$run}{eve}[0] is given out again/,
    'it is found by trying';
is $class->psql("SELECT login, why, detail FROM gan_failure WHERE run = $run"),
    'eve|step_failed|the new moments of shard 0 are not finite', 'and is a failure of its login';
is $class->psql("SELECT failed_by, state FROM gan_work_unit WHERE unit = $held{$run}{eve}[0]"),
    '{eve}|pending', 'which does not get it again';
take($run, 'ann');
is hand_in($run, 'ann', 1e-3), 'accepted', 'somebody else does';
like tick($run), qr/^step/, 'and the run continues';
is $class->psql("SELECT step_failures FROM gan_run WHERE run = $run"), '0',
    'as if nothing had been';

# ---- nobody is to blame
$run =
    make('nobody', gradient_limit => 1e30, aggregator => q{'mean'}, update_limit => q{'Infinity'});
for my $try (1 .. 3) {
    is hand_in($run, $_, 1e25), 'accepted', "$try: $_ is in" for @logins;
    my $said = tick($run);
    $try < 3
        ? like $said, qr/all units are given out again/, "$try: all are computed once more"
        : like $said, qr/^paused/, 'then the run pauses itself';
    take($run, $_) for $try < 3 ? @logins : ();
}
like $class->psql("SELECT note FROM gan_progress WHERE run = $run"),
    qr/failed 3 times.*the new moments of shard 0 are not finite.*smaller learning rate/,
    'the instructor reads why, and what to do';
like $class->psql("SELECT gan_dashboard($run) ->> 'notice'"),
    qr/^The run has paused itself: the step .* are not finite\.?$/,
    'the dashboard says it without SQL';
like $class->psql("SELECT gan_start($run)"), qr/is running/, 'it can be started again';
is $class->psql(
    "SELECT note IS NULL, (SELECT step_failures FROM gan_run WHERE run = $run)
        FROM gan_progress
        WHERE run = $run"
    ),
    't|0', 'and begins to count again';

# ---- a cause that lies in the server blames nobody
$run = make('disk');
is hand_in($run, $_, 1e-3), 'accepted', "$_ is in" for @logins;
is [
    $class->psql_fails(
        "SET statement_timeout = 1; SELECT gan_tick($run)
        FROM generate_series(1, 1000)"
    )
]->[0], '57014', 'a cancelled tick is an error as ever';
$class->psql("SELECT gan_tick($run)");
is $class->psql("SELECT count(*) FROM gan_incident WHERE run = $run"), '0', 'and is no incident';

# ---- an account that is shut out has nothing in the step under way
take($run, $_) for @logins;
is hand_in($run, 'eve', 1e-3), 'accepted', 'eve is in';
$class->psql(q{CALL gan_expel('eve')});
is $class->psql("SELECT state, failed_by FROM gan_work_unit WHERE unit = $held{$run}{eve}[0]"),
    'pending|{eve}', 'expelled: what was submitted for the step under way is taken back';
is $class->broken_invariants, '', 'the invariants hold';
done_testing;
