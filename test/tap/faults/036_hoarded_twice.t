# A unit that stays locked is replaced, and so is its substitute: the step waits for neither, and the
# worker that holds the substitute gets another unit.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
my $feeder = GannTest::root_folder() . '/build/test/feed_units';
my $run = $class->create_run(
    'hoarded',
    latent => 4,
    generator_features => 2,
    discriminator_features => 2,
    local_steps => 0,
    images_per_unit => 8,
    batch => 8,
    units_per_iteration => 3,
    quorum => 2,
    lease_seconds => 1,
    target_iterations => 3,
    dataset_images => 60000,
    dataset_digest => "sha256('x')"
);
$class->psql("SELECT gan_start($run)");
my $first = $class->psql("SELECT min(unit) FROM gan_work_unit WHERE run = $run");

# Locks a unit in a session of its own, until that one is ended.
sub hoard {
    my ($unit, $name) = @_;
    my $pid = $class->start_background(
        { name => $name }, $class->{bindir} . '/psql', '-X', '-q', '-h', $class->host,
        '-p', $class->port, '-U', 'postgres', '-d', 'train',
        '-c', "SET application_name = $name; BEGIN; SELECT FROM gan_work_unit
            WHERE unit = $unit FOR UPDATE; SELECT pg_sleep(600)"
    );
    ok $class->poll_until(
        "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = '$name' AND wait_event = 'PgSleep'", '1', 30
        ),
        "$name: $unit";
    return $pid;
}

sub let_go {
    my ($name) = @_;
    return $class->psql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE application_name = '$name'"
    );
}

# Ticks until the unit has a substitute; returns it.
sub replaced {
    my ($unit) = @_;
    for (1 .. 100) {
        $class->psql("SELECT gan_tick($run)");
        my $other = $class->psql("SELECT unit FROM gan_work_unit WHERE replaces = $unit");
        return $other if $other;
        select undef, undef, undef, 0.1;
    }
    return 0;
}

hoard($first, 'one');
my $second = replaced($first);
cmp_ok $second, '>', $first, 'the unit is replaced';
$class->student('ann');
my $ann =
    $class->psql("SELECT gan_join($run, 'a', 60000, sha256('x'), 1, 1, '', '')", user => 'ann');
is $class->psql("SELECT unit FROM gan_claim($ann)", user => 'ann'), $second,
    'a worker gets the substitute';
hoard($second, 'two');
my $third = replaced($second);
cmp_ok $third, '>', $second, 'which is replaced, too';
let_go('two');
$class->psql("SELECT gan_tick($run)") for 1 .. 3;
is $class->psql("SELECT replaced FROM gan_unit WHERE unit = $first"), 't',
    'the first one stays replaced when the second is free';
my $now = $class->psql("SELECT unit FROM gan_claim($ann)", user => 'ann');
isnt $now, $second, 'the worker gets another unit than the one that was replaced';
$class->psql(
    "UPDATE gan_work_unit SET state = 'pending', worker = NULL, token = NULL,
    claimed_at = NULL, lease_until = NULL WHERE unit = $now"
);

# The two others are in: the step is taken at once, however long the first one stays locked.
my ($status, $said) =
    $class->run({ timeout => 60 }, $feeder, $class->student('bo'), 'hoarded', 3, 'f', 1);
my $step =
    $class->psql("SET statement_timeout = '20s'; SELECT gan_tick($run)", on_error => 'return');
ok $class->poll_until("SELECT iteration > 0 FROM gan_run WHERE run = $run", 't', 5)
    || $class->poll_until("SELECT gan_tick($run) ~ 'iteration 1'", 't', 20),
    'the step is taken while the unit is locked'
    or diag $said, $step;

# A copy that is locked in the middle of a step: the step fails, and nothing waits.
$class->psql("UPDATE gan_run SET iteration_started_at = now() WHERE run = $run");
my ($here) = $class->psql(
    "SELECT min(unit) FROM gan_work_unit
    WHERE run = $run AND iteration = 1 AND state = 'pending'"
);
hoard($here, 'three');
my ($state, $message) =
    $class->psql_fails("SET statement_timeout = '5s'; SELECT gan_carry_over($run, 1, '{}')");
is $state, '55P03', 'what would have to wait is an error' or diag $message;

# A unit that is still locked when its iteration is a hundred steps old: it stays, the others go.
like $class->psql(
    "SET statement_timeout = '5s'; BEGIN; SELECT gan_forget_units($run, 0, 0);
    SELECT 'left: ' || string_agg(unit::text, ' ') FROM gan_work_unit
    WHERE run = $run AND iteration = 0; ROLLBACK"
    ),
    qr/^left: $first$/m, 'old units are forgotten, but for the one that is locked';
let_go($_) for 'one', 'three';
done_testing;
