# Every allocation and every SQL statement of a step and of a submission fails once: nothing has
# changed, nothing leaks, and the next try gives the same bits.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannModule;
use GannUnits;

my $class = GannClass->new(module => GannModule::build('faults', flags => '-DGANN_FAULTS'));
my $units = GannUnits->new($class);
my $run = $units->{run};
# of a page's allocations; in the short dose each 7th, after the first 60
my $every = GannTest::long_run() ? 1 : 7;

# What must not have changed: the run, its units, the history, and all bytes of the state and the
# uploads that a snapshot sees
my $state = "SELECT md5(concat((SELECT md5(r::text) FROM gan_run r
        WHERE run = $run), (SELECT md5(string_agg(u::text, '' ORDER BY unit)) FROM gan_work_unit u
        WHERE run = $run),
    (SELECT count(*) FROM gan_history
    WHERE run = $run), (SELECT md5(string_agg(md5(data), '' ORDER BY part, shard, piece))
    FROM gan_state_piece p JOIN gan_run USING (run, iteration)
    WHERE run = $run),
    (SELECT md5(string_agg(md5(data), '' ORDER BY unit, shard, piece)) FROM gan_gradient_piece p
    JOIN gan_run USING (run, iteration)
    WHERE run = $run)))";
my $memory = "SELECT 'memory ' || sum(used_bytes) FROM pg_backend_memory_contexts";

# One session in which the n-th of something fails, n = 1, 2, 3 …, until it doesn't any more. The
# outcome: (tries that failed, answers that were not failures, states).
sub sweep {
    my ($what, $numbers, $call, $success) = @_;
    my $script = "\\set ON_ERROR_STOP off\nSELECT ($state) AS before \\gset\n";
    for my $n (@{$numbers}) {
        $script .=
            "SET gann_test.$what = '$n';\n$call \\gset\n\\if :{?answer}\nRESET gann_test.$what;\nSELECT 'done', $n, :'answer';\n\\quit\n\\endif\nRESET gann_test.$what;\n"
            . "SELECT 'changed', $n WHERE :'before' <> ($state);\n";
    }
    my ($out, $err) = $class->psql($script, on_error => 'return');
    my ($failed) = scalar(() = $err =~ /out of memory: (?:allocation|statement) \d+/g);
    my ($other) = $err =~ /ERROR:  (?!out of memory: (?:allocation|statement))(.*)/;
    my ($done) = $out =~ /^done\|(\d+)\|$success/m;
    is $other, undef, "$what: no other error";
    ok defined $done, "$what: in the end it goes through (@{[$done // 'never']})"
        or diag substr $out, -500;
    is $failed, scalar(grep { $_ < ($done // 0) } @{$numbers}),
        "$what: it failed at each of $failed before";
    unlike $out, qr/^changed/m, "$what: and each time nothing had changed";
    return $failed;
}

# Steps: the first after both slots are as steps leave them. The last of each sweep is taken, and
# the next sweep begins with it.
for my $i (0 .. 2) {
    $units->hand_in;
    $class->psql("SELECT gan_aggregate($i, $run)");
}
my %numbers = (
    fail_alloc => [ 1 .. 60, map { 60 + $every * $_ } 1 .. 2000 / $every ],
    fail_statement => [ 1 .. 200 ]
);
my %floor = (fail_alloc => 100, fail_statement => 15);
for my $what ('fail_alloc', 'fail_statement') {
    for my $how ('over old rows', 'into an empty partition') {
        my $i = $units->iteration;
        $units->hand_in;
        $class->psql("VACUUM gan_state_piece_r${run}_" . (($i + 1) % 2)) if $how ne 'over old rows';
        my $failed =
            sweep($what, $numbers{$what}, "SELECT gan_aggregate($i, $run) AS answer", 'step');
        cmp_ok $failed, '>=', $floor{$what}, "the step $how: $failed failures of $what";
        is $units->digest($i), $units->expected($i), "the step $how: the same bits in the end";
    }
}

# A session in which the same fails again and again does not grow
$units->hand_in;
for my $what ('fail_alloc', 'fail_statement') {
    my $i = $units->iteration;
    my $tries = join '', map {
        "SET gann_test.$what = '$_'; SELECT gan_aggregate($i, $run);
                RESET gann_test.$what;\n"
    } (3, 12, 19) x 10;
    my ($out) = $class->psql("\\set ON_ERROR_STOP off\n$tries$memory;\n$tries$memory;",
        on_error => 'return');
    my @memory = $out =~ /^memory (\d+)/mg;
    is $units->iteration, $i, "$what: sixty steps of one session failed";
    cmp_ok abs($memory[1] - $memory[0]), '<', 32768,
        "and its memory does not grow ($memory[0] bytes, then $memory[1])";
}

# Uploads and submissions
$class->psql("SELECT gan_aggregate(iteration, run) FROM gan_run WHERE run = $run");
for my $what ('fail_alloc', 'fail_statement') {
    my ($unit, $token, $nonce) = split /\|/, $class->psql(
        "SELECT unit, token, weights_nonce
            FROM gan_claim((SELECT min(worker) FROM hand WHERE run = $run))"
    );
    my $data =
        "(SELECT data FROM kept k WHERE k.second = ((SELECT first_position / images FROM "
        . "gan_work_unit WHERE unit = $unit) % 2 = 1) AND k.shard = shards.n)";
    my $uploads = sweep(
        $what, [ 1 .. 12, map { 12 + $every * $_ } 1 .. 200 ],
        "SELECT gan_upload($unit, '$token', n, $data) AS answer
            FROM (VALUES (0)) shards (n)", 'accepted'
    );
    cmp_ok $uploads, '>=', 2, "an upload: $uploads failures of $what";
    $class->psql(
        "SELECT gan_upload($unit, '$token', n, $data)
            FROM generate_series(1, 2) shards (n)"
    );
    my $tries = sweep(
        $what, [ 1 .. 200 ], "SELECT (gan_submit($unit, '$token', $nonce, 4, 1, 1, 0.5,
                0.5)).answer AS answer", 'accepted'
    );
    cmp_ok $tries, '>=', $what eq 'fail_alloc' ? 1 : 4, "a submission: $tries failures of $what";
}
$units->hand_in;
my $i = $units->iteration;
like $class->psql("SELECT gan_tick($run)"), qr/^step/, 'the step that follows';
is $units->digest($i), $units->expected($i), 'has the same bits';
unlike $class->server_log, qr/leak|PANIC|TRAP|still referenced/,
    'no buffer, snapshot or relation leaks';
done_testing;
