# test/invariants.sql finds each thing that it looks for: all of them are broken here on purpose,
# one at a time, and rolled back.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

# A run after two steps, with units in progress and done; and one with changes and no second moment
my %runs = (
    main => {},
    compact => {
        local_steps => 2,
        batch => 8,
        images_per_unit => 'NULL',
        outer_optimizer => "'nesterov'",
        download_element => "'int8'"
    }
);
for my $name (sort keys %runs) {
    my $run = $class->create_run(
        $name,
        units_per_iteration => 3,
        quorum => 2,
        lease_seconds => 3600,
        target_iterations => 100,
        %{ $runs{$name} }
    );
    $class->psql("SELECT gan_start($run)");
    my $worker = $class->worker('ann', '--run', $name);
    for my $step (1, 2) {
        ok $class->poll_until(
            "SELECT count(*) FROM gan_work_unit
                JOIN gan_run USING (run, iteration)
                WHERE run = $run
                AND gan_work_unit.state = 'done'", '3', 60
            ),
            "$name: the units of step $step";
        like $class->psql("SELECT gan_aggregate($step - 1, $run)"), qr/^step/, "$name: step $step";
    }
    $class->poll_until(
        "SELECT count(*) FROM gan_work_unit JOIN gan_run USING (run, iteration)
            WHERE run = $run
            AND gan_work_unit.state = 'done'", '3', 60
    );
    $class->psql("SELECT gan_pause($run)");
    $class->signal($worker, 'KILL');
}
my ($main, $compact) = map { $class->psql("SELECT run FROM gan_run WHERE name = '$_'") } 'main',
    'compact';
is $class->broken_invariants, '', 'nothing is broken';

# What is broken, and what must find it (more may: a step that is lost is lost in several places)
my @cases = (
    [
        'I1 a position is averaged once', "UPDATE gan_history
            SET positions = (SELECT positions FROM gan_history WHERE run = $main AND iteration = 0)
            WHERE run = $main
            AND iteration = 1"
    ],
    [
        'I1 a position is averaged once', "UPDATE gan_history SET images = images + 1
            WHERE run = $main
            AND iteration = 1"
    ],
    [
        'I1 units share positions only as copies, of which one is done', "INSERT INTO gan_work_unit
                (run, iteration, first_position, images) SELECT run, iteration, first_position + 1,
                1
            FROM gan_work_unit
            WHERE run = $main
            AND iteration = 2 LIMIT 1"
    ],
    [
        'I1 the history is of the units that were done', "UPDATE gan_history SET units = units - 1
            WHERE run = $main
            AND iteration = 1"
    ],
    [
        'I1 the history is of the units that were done', "UPDATE gan_work_unit
            SET weights_nonce = weights_nonce + 1
            WHERE run = $main
            AND iteration = 1"
    ],
    [
        'I2 the state of the iteration is there, all of it', "DELETE FROM gan_state_piece
            WHERE run = $main
            AND iteration = 2
            AND part = 1
            AND piece = 0"
    ],
    [
        'I2 the state of the iteration is there, all of it', "DELETE FROM gan_state_piece
            WHERE run = $compact
            AND iteration = 2
            AND part = 4"
    ],
    [
        'I2 no state of other iterations', "UPDATE gan_state_piece SET iteration = 0
            WHERE run = $main
            AND iteration = 2
            AND part = 0
            AND shard = 0"
    ],
    [
        'I2 no state of other iterations',
        "INSERT INTO gan_state_piece SELECT run, slot, iteration, 2,
                shard, piece, data
            FROM gan_state_piece
            WHERE run = $compact
            AND iteration = 2
            AND part = 1"
    ],
    [
        'I2 no uploads of other iterations', "UPDATE gan_gradient_piece SET iteration = 0
            WHERE run = $main
            AND iteration = 2"
    ],
    [
        'I3 steps without gap or repeat',
        "DELETE FROM gan_history WHERE run = $main AND iteration = 0"
    ],
    [ 'I3 steps without gap or repeat', "UPDATE gan_run SET iteration = 1 WHERE run = $main" ],
    [
        'I4 what was accepted is there', "UPDATE gan_gradient_piece SET token = gen_random_uuid()
            WHERE run = $main
            AND iteration = 2
            AND token IS NOT NULL
            AND shard = 1
            AND unit = (SELECT max(unit) FROM gan_work_unit WHERE run = $main AND iteration = 2)"
    ],
    [
        'I5 a unit belongs to a worker', "UPDATE gan_work_unit SET worker = 999999
            WHERE unit = (SELECT min(unit) FROM gan_work_unit WHERE run = $main AND state = 'done')"
    ],
    [
        'I5 a token is of one claim', "UPDATE gan_work_unit
            SET token = (SELECT token FROM gan_work_unit WHERE run = $main AND iteration = 2
                LIMIT 1)
            WHERE run = $main
            AND iteration = 2"
    ],
    [
        'I5 units in progress are at the present weights', "UPDATE gan_work_unit
            SET weights_nonce = weights_nonce + 1
            WHERE run = $main
            AND iteration = 2"
    ],
    [
        'I5 a version of the weights has one nonce', "UPDATE gan_run
            SET weights_nonce = weights_nonce_1
            WHERE run = $main"
    ],
    [
        'I5 a version of the weights has one nonce', "UPDATE gan_run SET weights_nonce_2 = NULL
            WHERE run = $main"
    ],
    [
        'I7 an iteration can reach its quorum', "UPDATE gan_run SET state = 'running'
            WHERE run = $main; DELETE FROM gan_work_unit
            WHERE run = $main
            AND iteration = 2"
    ],
    [
        'I7 no unit is left behind', "UPDATE gan_work_unit SET iteration = 3
            WHERE run = $main
            AND iteration = 2"
    ],
    [
        'I8 the last step is replayed to the bit', "UPDATE gan_state_piece
            SET data = set_byte(data, 300, get_byte(data, 300) # 1)
            WHERE run = $main
            AND iteration = 2
            AND part = 0
            AND shard = 0
            AND piece = 1"
    ],
    [
        'I8 the last step is replayed to the bit', "UPDATE gan_history
            SET gradient_norm_g = gradient_norm_g + 1
            WHERE run = $main
            AND iteration = 1"
    ],
    [
        'I11 weights and moments are whole and finite', "UPDATE gan_state_piece
            SET data = set_byte(data, 300, get_byte(data, 300) # 1)
            WHERE run = $main
            AND iteration = 2
            AND part = 2
            AND piece = 0"
    ],
    [
        'I11 weights and moments are whole and finite', "UPDATE gan_history
            SET weights_digest = sha256('')
            WHERE run = $main
            AND iteration = 1"
    ],
    [
        'ledger: every position given out is averaged or belongs to a unit', "UPDATE gan_run
            SET next_position = next_position + 1
            WHERE run = $main"
    ],
    [
        'ledger: every position given out is averaged or belongs to a unit',
        "DELETE FROM gan_work_unit
            WHERE run = $main
            AND iteration = 2"
    ],
    [
        'credit is what was averaged',
        "UPDATE gan_worker SET images = images + 1 WHERE run = $main"
    ],
    [ 'credit is what was averaged', "UPDATE gan_worker SET units = units - 1 WHERE run = $main" ],
    [
        'spot checks: a copy is of the same images, and never averaged', "INSERT INTO gan_work_unit
                (run, iteration, first_position, images, audits) SELECT run, iteration,
                first_position, images, unit
            FROM gan_work_unit
            WHERE run = $main
            AND iteration = 2 LIMIT 1"
    ],
    [
        'spot checks: what is over is decided', "INSERT INTO gan_audit (run, unit, iteration,
                first_position) SELECT run, unit, iteration, first_position
            FROM gan_work_unit
            WHERE run = $main
            AND iteration = 1"
    ],
    [ 'partitions: each run has its six', "ALTER TABLE gan_gradient_piece_r${main}_0 SET LOGGED" ],
    [ 'partitions: none without a run', "DELETE FROM gan_run WHERE run = $main" ],
);
open my $in, '<', GannTest::root_folder() . '/test/invariants.sql' or die $!;
my $invariants = do { local $/ = undef; <$in> };
close $in;
$invariants =~ s/^BEGIN;$//m or die 'the invariants begin no transaction';
my %found;
for my $case (@cases) {
    my ($name, $change) = @{$case};
    my ($out, $err) = $class->psql("BEGIN; $change;\n$invariants", on_error => 'return');
    ok scalar(grep { (split /\|/)[0] eq $name } split /\n/, $out), "found: $name"
        or diag $out, $err;
    $found{$name}++;
}
my %all = map { $_ => 1 } $invariants =~ /^SELECT '([^']+)'/mg;
is_deeply [ grep { !$found{$_} } sort keys %all ], [],
    'each of ' . keys(%all) . ' invariants was broken';

# Numbers under a checksum that is right
sub crc32c {
    my $crc = 0xffffffff;
    for my $byte (unpack 'C*', $_[0]) {
        $crc ^= $byte;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 for 1 .. 8;
    }
    return $crc ^ 0xffffffff;
}

sub store {    # a shard of the state with one number replaced, in pieces as they were
    my ($part, $shard, $number, $word) = @_;
    my $blob = pack 'H*', join '', split /\n/, $class->psql(
        "SELECT encode(data, 'hex')
            FROM gan_state_piece
            WHERE run = $main
            AND iteration = 2
            AND part = $part
            AND shard = $shard ORDER BY piece"
    );
    substr $blob, 24 + 4 * $number, 4, $word;
    substr $blob, 16, 4, pack 'V', crc32c(substr $blob, 24);
    return join ';', map {
              "UPDATE gan_state_piece SET data = '\\x"
            . unpack('H*', substr $blob, 8072 * $_, 8072)
            . "' WHERE run = $main AND iteration = 2 AND part = $part AND shard = $shard AND "
                . "piece = $_"
    } 0 .. int((length($blob) - 1) / 8072);
}
is crc32c('123456789'), 0xe3069283, 'the checksum is as published';
for (
    [ 0, 0, 5, "\0\0\xc0\x7f", 'part 0: shard 0 holds NaN or infinity' ],
    [ 0, 0, 5, "\0\0\x80\xff", 'part 0: shard 0 holds NaN or infinity' ],
    [ 1, 0, 7, "\0\0\xc0\x7f", 'part 1: shard 0 holds NaN or infinity' ],
    [ 2, 0, 7, "\0\0\0\xbf", 'second moment: shard 0, number 7 is -0.5' ],
    [
        0, 1,
        $class->psql(
            "SELECT generator_features * image_size / 8
            FROM gan_run
            WHERE run = $main"
        ),
        "\0\0\0\xbf",
        'a running variance is negative'
    ],
    [ 0, 0, 5, "\0\0\0\x3f", 'gan_history has another digest than the weights of iteration 2' ]
    )
{
    my ($part, $shard, $number, $word, $answer) = @{$_};
    is $class->psql("BEGIN; @{[store($part, $shard, $number, $word)]}; SELECT gan_inspect($main)"),
        $answer, "gan_inspect: $answer";
}
done_testing;
