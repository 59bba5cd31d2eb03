# Unequal laptops: shares and deadlines by what the server saw, copies of late units, units that
# fail everywhere.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep);
use GannClass;

my $class = GannClass->new(conf => ['log_min_messages = warning']);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my %local = (
    local_steps => 12,
    batch => 8,
    images_per_unit => 'NULL',
    units_per_iteration => 3,
    lease_seconds => 60,
    generator_features => 8,
    discriminator_features => 8
);
# milliseconds an image: laptops whose speeds are 4 : 2 : 1, or nearly
my %pause = (ann => 3, bo => 6, cy => 12);

sub start_worker {
    my ($login, $name, $pause) = @_;
    return $class->worker({ env => { GANN_TEST_PAUSE_MS_PER_IMAGE => $pause } },
        $login, '--run', $name, '--threads', 1, '--name', 'laptop');
}

# Starts a run and its workers, each at its speed; returns the run, the coordinator and the workers
# by name.
sub open_class {
    my ($name, %options) = @_;
    my $run = $class->create_run($name, %local, %options);
    my %workers = map { $_ => start_worker($_, $name, $pause{$_}) } sort keys %pause;
    $class->poll_until("SELECT count(*) FROM gan_worker WHERE run = $run", '3', 60);
    $class->psql("SELECT gan_start($run)");
    return ($run, $class->coordinate, \%workers);
}

# Ends a run: its workers end with it.
sub close_class {
    my ($name, $run, $coordinator, $workers) = @_;
    is $class->wait_for($workers->{$_}, 120), 0, "$name: ${_}'s worker ends with the run"
        for sort keys %$workers;
    is $class->wait_for($coordinator, 30), 0, "$name: and so does the coordinator";
    exact($name, $run);
}

# Every position was used once, none left out, and each credited.
sub exact {
    my ($name, $run) = @_;
    is $class->psql(
        "SELECT (sum(h.images) = max(upper(h.positions))
            AND sum(h.images) = (SELECT sum(images) FROM gan_worker WHERE run = $run)
        AND (SELECT range_agg(p) FROM gan_history g, unnest(g.positions) p
        WHERE g.run = $run) = int8multirange(int8range(0, max(upper(h.positions)))))
        FROM gan_history h WHERE h.run = $run"
        ),
        't', "$name: every position was averaged and credited once";
}

sub median_seconds {
    my ($run, $from, $to) = @_;
    return $class->psql(
        "SELECT percentile_cont(0.5) WITHIN GROUP
                (ORDER BY extract(epoch FROM ended_at - started_at))
            FROM gan_history
            WHERE run = $run
            AND iteration BETWEEN $from AND $to"
    );
}

# Images by login, from an iteration to another.
sub images_of {
    my ($run, $login, $from, $to) = @_;
    return $class->psql(
        "SELECT coalesce(sum(u.images), 0) FROM gan_work_unit u
            JOIN gan_worker w USING (worker)
            WHERE u.run = $run
            AND w.login = '$login'
            AND u.state = 'done'
            AND u.iteration BETWEEN $from AND $to"
    );
}

# Equal units: the slowest decides
my ($equal, @equal) = open_class('equal', target_iterations => 5);
close_class('equal', $equal, @equal);
my $equal_seconds = median_seconds($equal, 1, 4);

# Measured ones: everybody finishes together, and sooner
my ($run, $coordinator, $workers) =
    open_class('measured', target_iterations => 40, unit_sizing => "'measured'");
ok $class->poll_until("SELECT iteration >= 14 FROM gan_run WHERE run = $run", 't', 180),
    'measured: the class is at work';
my $seconds = median_seconds($run, 6, 13);
my %images = map { $_ => images_of($run, $_, 6, 13) } keys %pause;
note
    "an iteration of equal units takes $equal_seconds s, of measured ones $seconds s; images ann "
    . "$images{ann}, bo $images{bo}, cy $images{cy}";
cmp_ok $seconds, '<', 0.8 * $equal_seconds,
    'measured: an iteration takes less time than with equal units';
cmp_ok $images{ann}, '>', 1.2 * $images{bo}, 'measured: the fastest does more than the next';
cmp_ok $images{bo}, '>', 1.2 * $images{cy}, 'measured: and that one more than the slowest';
is $class->psql("SELECT string_agg(DISTINCT images::text, ' ') FROM gan_history WHERE run = $run"),
    '288', 'measured: an iteration has the same number of images as ever';
my $spread = $class->psql(
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY longest / shortest)
        FROM (SELECT max(extract(epoch FROM submitted_at - claimed_at)) AS longest,
    min(extract(epoch FROM submitted_at - claimed_at)) AS shortest FROM gan_work_unit
    WHERE run = $run
    AND iteration BETWEEN 6 AND 13
    AND state = 'done' GROUP BY iteration) s"
);
cmp_ok $spread, '<', 2.5,
    "measured: the slowest takes $spread times as long as the fastest, whose laptop is four "
    . "times as fast";
is $class->psql(
    "SELECT bool_and(lease_seconds = 60) FROM gan_work_unit
        WHERE run = $run
        AND iteration = 0"
    ),
    't', 'deadlines: of unknown workers the run\'s';
is $class->psql(
    "SELECT bool_and(lease_seconds BETWEEN 5 AND 30) FROM gan_work_unit
        WHERE run = $run
        AND iteration BETWEEN 6 AND 13
        AND state = 'done'"
    ),
    't', 'deadlines: of known ones as long as they need';
cmp_ok $class->psql(
    "SELECT max(pace) FILTER (WHERE login = 'cy') / max(pace) FILTER
            (WHERE login = 'ann')
        FROM gan_worker
        WHERE run = $run"
    ),
    '>', 1.5, 'deadlines: the paces differ';

# The fastest becomes five times slower: it continues, with less to do
$class->signal($workers->{ann}, 'INT');
is $class->wait_for($workers->{ann}, 30), 0, 'a slower worker: it goes';
$workers->{ann} = start_worker('ann', 'measured', 5 * $pause{ann});
my $turn = $class->psql("SELECT iteration FROM gan_run WHERE run = $run");
ok $class->poll_until("SELECT iteration >= $turn + 16 FROM gan_run WHERE run = $run", 't', 240),
    'a slower worker: the run continues';
my ($before, $after) = (
    images_of($run, 'ann', $turn - 5, $turn - 1) / 5,
    images_of($run, 'ann', $turn + 11, $turn + 15) / 5
);
note "ann did $before images an iteration before, $after after";
cmp_ok $after, '>', 0, 'a slower worker: its work is taken';
cmp_ok $after, '<', 0.75 * $before, 'a slower worker: it is given less';
cmp_ok median_seconds($run, $turn + 11, $turn + 15), '<', 1.5 * $equal_seconds,
    'a slower worker: iterations are not much longer';
$class->psql("UPDATE gan_run SET target_iterations = iteration + 2 WHERE run = $run");
close_class('measured', $run, $coordinator, $workers);

# A unit of another size can be recomputed. (With this epsilon a step of Adam doesn't make rounding
# errors of small gradients as large as the others.)
SKIP: {
    skip 'python3-numpy and python3-pil are not installed', 2
        if system('/usr/bin/python3 -c "import numpy, PIL" 2>/dev/null');
    # In networks so narrow hardly any input of a ReLU is so near to 0 that rounding decides its
    # sign: in none of 24 units, and in 3 of 18 with 8 features.
    my ($small, @small) = open_class(
        'small',
        local_steps => 4,
        target_iterations => 2,
        epsilon => 0.001,
        unit_sizing => "'measured'",
        generator_features => 4,
        discriminator_features => 4
    );
    close_class('small', $small, @small);
    my @units = split /\n/, $class->psql(
        "SELECT unit FROM gan_work_unit u
            JOIN gan_run r USING (run)
            WHERE run = $small
            AND u.iteration = 1
            AND u.state = 'done' ORDER BY u.images = r.images_per_unit, u.images LIMIT 3"
    );
    # Where a sign is decided by rounding, the local steps that follow multiply the difference
    # (docs/format.md, section 10), and nothing but a bound so wide that it proves nothing would
    # hold. That happens in a few units; a wrong formula is wrong in each.
    my ($right, $said) = (0, '');
    for my $unit (@units) {
        my $folder = $class->folder . "/unequal-$unit";
        $class->export_unit($unit, $folder);
        my ($status, $output) = $class->run(
            { timeout => 120 },
            '/usr/bin/python3', 'test/independent/recompute.py',
            $folder, $class->data
        );
        $right++ if $status == 0;
        $said .= $output;
    }
    cmp_ok $right, '>=', 1,
        "small: the independent program recomputes units of other sizes ($right of " . @units . ')'
        or diag $said;
}

# A straggler: its unit is copied, the first of the two counts
%pause = map { $_ => 3 } keys %pause;
($run, $coordinator, $workers) =
    open_class('straggler', target_iterations => 12, images_per_unit => 96, local_steps => 0);
ok $class->poll_until("SELECT min(cardinality(paces)) >= 3 FROM gan_worker WHERE run = $run",
    't', 60),
    'straggler: everybody is known';
my $holds = "FROM gan_work_unit u JOIN gan_worker w USING (worker) JOIN gan_run r ON r.run = u.run
        WHERE u.run = $run
        AND w.login = 'cy'
        AND u.state = 'claimed'
        AND u.iteration = r.iteration";
for (1 .. 500) {
    $class->signal($workers->{cy}, 'STOP');
    last if $class->psql("SELECT count(*) $holds") == 1;
    $class->signal($workers->{cy}, 'CONT');
    sleep 0.02;
}
my ($unit, $iteration) = split /\|/, $class->psql("SELECT u.unit, u.iteration $holds");
ok $unit, 'straggler: a worker stops in mid-unit';
$class->psql(
    "UPDATE gan_work_unit SET lease_until = claimed_at + interval '60 s'
        WHERE unit = $unit"
);    # not the lease is to end it
ok $class->poll_until("SELECT iteration > $iteration FROM gan_run WHERE run = $run", 't', 45),
    'straggler: the iteration ends without it';
is $class->psql(
    "SELECT count(*), count(DISTINCT first_position) FROM gan_work_unit
        WHERE run = $run
        AND iteration = $iteration
        AND state = 'done'"
    ),
    '3|3', 'straggler: each unit was taken once';
is $class->psql(
    "SELECT u.state, c.state, w.login <> 'cy' FROM gan_work_unit u
        JOIN gan_work_unit c ON c.backs_up = u.unit JOIN gan_worker w ON w.worker = c.worker
        WHERE u.unit = $unit"
    ),
    'beaten|done|t', 'straggler: the copy counts, the unit is beaten';
$class->signal($workers->{cy}, 'CONT');
close_class('straggler', $run, $coordinator, $workers);
like $class->log_of($workers->{cy}),
    qr{done_by_other|(?i:lease on unit $unit is lost|unit $unit came too late)},
    'straggler: it is told';

# A unit that fails at three accounts
$run = $class->create_run(
    'failing',
    units_per_iteration => 2,
    target_iterations => 100000,
    lease_seconds => 1
);
$class->psql("SELECT gan_start($run)");
my $digest =
    $class->psql("SELECT '\\x' || encode(dataset_digest, 'hex') FROM gan_run WHERE name = 'equal'");
my %number = map {
    $_ => $class->psql(
        "SELECT gan_join($run, 'psql', 60000, '$digest', 1, 1, '',
            '')", user => $_
    )
} 'ann', 'bo', 'cy';
# else what fails at newcomers sets nothing aside (032_standing.t)
$class->psql("SELECT gan_trust_login('$_', $run)") for qw(ann bo cy);
my $bad = $class->psql("SELECT min(unit) FROM gan_work_unit WHERE run = $run");
for my $login ('ann', 'bo', 'cy') {
    is $class->psql("SELECT unit FROM gan_claim($number{$login})", user => $login), $bad,
        "failing: $login holds it";
    sleep 1.1;
    $class->psql("SELECT gan_tick($run)");
    isnt $class->psql("SELECT coalesce(unit, 0) FROM gan_claim($number{ann})", user => 'ann'),
        $bad, 'failing: ann doesn\'t get it again while others are about'
        if $login eq 'ann';
    $class->psql(
        "SELECT gan_release(unit, token) FROM gan_work_unit
            WHERE run = $run
            AND worker = $number{ann}", user => 'postgres'
    ) if $login eq 'ann';
    $class->psql(
        "UPDATE gan_work_unit
            SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL,
                lease_until = NULL
            WHERE run = $run
            AND state = 'claimed'"
    ) if $login eq 'ann';
}
is $class->psql("SELECT unit, images, failures, logins, what FROM gan_set_aside WHERE run = $run"),
    "$bad|20|3|3|ann: lease_over (1), bo: lease_over (1), cy: lease_over (1)",
    'failing: it is set aside and reported';
like $class->server_log, qr/WARNING:  unit $bad of run $run is set aside/,
    'failing: with a warning';
$class->psql("UPDATE gan_run SET lease_seconds = 20 WHERE run = $run");
$coordinator = $class->coordinate;
my $worker = $class->worker('dee', '--run', 'failing');
ok $class->poll_until("SELECT iteration >= 2 FROM gan_run WHERE run = $run", 't', 60),
    'failing: the iteration ends without it';
is $class->psql("SELECT units, images FROM gan_history WHERE run = $run AND iteration = 0"),
    '1|20', 'failing: with one unit less';
my $used = "SELECT count(*) FROM gan_history WHERE run = $run AND positions @> 0::bigint";
is $class->psql($used), '0', 'failing: its images are not used';
like $class->psql("SELECT gan_retry_unit($bad)"), qr/given out again/,
    'failing: it can be given out again';
ok $class->poll_until($used, '1', 60), 'failing: and then they are';
$class->psql("SELECT gan_stop($run)");
is $class->wait_for($worker, 60), 0, 'failing: the run ends';
is $class->wait_for($coordinator, 30), 0, 'failing: and the coordinator';
is $class->psql(
    "SELECT (SELECT sum(upper(p) - lower(p))
        FROM (SELECT unnest(range_agg(p)) FROM gan_history h, unnest(h.positions) p
            WHERE h.run = $run) AS u (p)) = (SELECT sum(images)
        FROM gan_history
        WHERE run = $run)
    AND (SELECT sum(images) FROM gan_history
    WHERE run = $run) = (SELECT sum(images) FROM gan_worker
    WHERE run = $run)"
    ),
    't', 'failing: no position was averaged twice, each was credited once';
done_testing;
