# Pictures and figures: sheets, strips, quality, what everybody may see, the instructor's views,
# metrics.
use strict;
use warnings;
use Test::More;
use GannClass;
use HTTP::Tiny;
use JSON::PP;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $python = '/usr/bin/python3';
my $numpy = !system("$python -c 'import numpy, PIL' 2>/dev/null");

# ---- a class of two, enrolled from a file; its logins and hosts must be seen nowhere
my $csv = qq{login;nickname\r\nzq-ann;Otter\r\n"zq-bo";\r\nzq-cy;"Badger"\r\n};
my %uri = map { (split /\|/)[ 0, 2 ] } split /\n/, $class->psql(
    "SELECT * FROM gan_enroll_csv('$csv',
            '127.0.0.1')"
);
is join(' ', sort keys %uri), 'zq-ann zq-bo zq-cy', 'a class is enrolled from CSV';
$class->{students} = {%uri};
my ($state, $message) = $class->psql_fails("SELECT * FROM gan_enroll_csv(E'zq-dee\\n\\nbad:name')");
like "$state $message", qr/^22023 line 3: name is 'bad:name'/, 'a bad line is named';
is $class->psql("SELECT count(*) FROM pg_roles WHERE rolname = 'zq-dee'"), '0',
    'and nobody of that file is enrolled';
is $class->psql(
    "BEGIN; SELECT string_agg(login, ' ' ORDER BY login)
        FROM gan_enroll_csv(E'user-01\nuser-02'); ROLLBACK"
    ),
    'user-01 user-02', 'a login that begins as a heading does is one';

my $run = $class->create_run('clothes', target_iterations => 24, lease_seconds => 30);
is $class->psql(
    "SELECT gan_set_policy($run, sheet_every => 2, sheet_images => 12, sheets_kept => 6,
            quality_every => 8)"
    ),
    "run $run: a sheet of 12 images every 2 iterations, 6 kept; quality of 512 images every 8 "
    . "iterations",
    'the policy';
$class->psql("SELECT gan_start($run)");
# A unit that somebody claims and leaves goes to somebody else.
my $late = $class->psql(
    "SELECT gan_join($run, 'zqhost', 60000, decode(repeat('00', 32), 'hex'), 1,
            1, '', '')",
    user => 'zq-cy',
    on_error => 'ignore'
);
$class->psql("UPDATE gan_run SET lease_seconds = 1 WHERE run = $run");
isnt $class->psql("SELECT unit FROM gan_claim($late)", user => 'zq-cy'), '',
    'a unit is claimed and left';
$class->psql(
    "UPDATE gan_run SET lease_seconds = 30, dataset_images = NULL, dataset_digest = NULL
        WHERE run = $run; UPDATE gan_worker SET dataset_images = NULL, dataset_digest = NULL"
);
my $coordinator = $class->coordinate(60);
ok $class->poll_until(
    "SELECT count(*) FROM gan_work_unit
        WHERE run = $run
        AND iteration = 0
        AND state = 'pending'", '2', 30
    ),
    'its lease ends';
my @workers = map { $class->worker($_, '--name', 'zqhost') } 'zq-ann', 'zq-bo';
ok $class->poll_until("SELECT iteration >= 1 FROM gan_run WHERE run = $run", 't', 60), 'it trains';
my $report = $class->psql(
    "SELECT nickname, outcome, claims, seconds > 0, notes
        FROM gan_iteration_report(0)"
);
like $report, qr/^(Otter|student \d+)\|averaged\|2\|t\|given out 2 times/m,
    'the report of an iteration tells who computed and what was given out again'
    or diag $report;
is $class->wait_for($_, 120), 0, 'a worker works to the end' for @workers;
ok $class->poll_until("SELECT count(*) FROM gan_sheet WHERE run = $run AND iteration = 24",
    '1', 30),
    'the last weights are drawn';

# ---- sheets
my @sheets = split /\n/, $class->psql(
    "SELECT iteration FROM gan_sheet_list
        WHERE run = $run ORDER BY 1"
);
is scalar @sheets, 6, 'this number of sheets is kept';
is "$sheets[0] $sheets[-1]", '0 24', 'the first and the last among them';
is scalar(grep { $_ % 2 } @sheets), 0, 'of every other iteration';
my @gaps = sort { $a <=> $b } map { $sheets[$_] - $sheets[ $_ - 1 ] } 1 .. $#sheets;
cmp_ok $gaps[-1], '<=', 2 * ($gaps[0] < 4 ? 4 : $gaps[0]), "spread about evenly (@sheets)";
is $class->psql(
    "SELECT count(DISTINCT md5(png)), count(DISTINCT seed) FROM gan_sheet
        WHERE run = $run"
    ),
    '6|1', 'different pictures of the same noise';
is $class->psql(
    "SELECT gan_sheet_png($run) = gan_generate(12, seed, $run)
        AND gan_sheet_png($run, 24) = gan_sheet_png($run) FROM gan_run
        WHERE run = $run"
    ),
    't', 'a sheet is what gan_generate draws';
is $class->psql("SELECT gan_sheet_png($run, 1) IS NULL"), 't',
    'no picture of an iteration without one';
for my $wrong (
    'sheet_every => -1',
    'sheet_images => 0',
    'sheets_kept => 1',
    'quality_every => -1',
    'quality_images => 4096'
    )
{
    is + ($class->psql_fails("SELECT gan_set_policy($run, $wrong)"))[0], '22023', "refused: $wrong";
}
is + ($class->psql_fails("SELECT gan_set_policy($run, quality_images => 100)"))[0], '55000',
    'the sample is fixed once it is summarised';

# What can't be drawn stops no training.
my $blind = $class->create_run(
    'blind',
    target_iterations => 3,
    dataset_images => 60000,
    dataset_digest => $class->psql(
        "SELECT quote_literal(dataset_digest)
        FROM gan_run
        WHERE run = $run"
    )
);
$class->psql(
    "ALTER TABLE gan_sheet ADD CONSTRAINT blind CHECK (run <> $blind);
            SELECT gan_set_policy($blind, quality_every => 0); SELECT gan_start($blind)"
);
is $class->wait_for($class->worker('zq-ann', '--run', 'blind'), 60), 0,
    'a run whose sheets fail trains to its end';
is $class->psql("SELECT count(*) FROM gan_sheet WHERE run = $blind"), '0', 'without a sheet';
$class->psql("SELECT gan_observe($blind)");
like $class->server_log, qr/run $blind: no sheet of iteration 3/, 'which the log says';
# Nor does a sheet fail for what can't be measured.
$class->psql(
    "ALTER TABLE gan_sheet DROP CONSTRAINT blind; ALTER TABLE gan_swd ADD CONSTRAINT blind
            CHECK (run <> $blind); SELECT gan_set_policy($blind, quality_every => 1);
    INSERT INTO gan_reference (run, login, images, data) SELECT $blind, login, images, data
    FROM gan_reference
    WHERE run = $run
    AND kept; SELECT gan_observe($blind)"
);
like $class->server_log, qr/run $blind: no quality of iteration 3/, 'a measure that fails';
is $class->psql("SELECT string_agg(iteration::text, ' ') FROM gan_sheet WHERE run = $blind"), '3',
    'takes no sheet with it';
$class->psql("SELECT gan_drop_run($blind); ALTER TABLE gan_swd DROP CONSTRAINT blind");

# ---- the average of the generator's weights, which the sheets are drawn from
my $short = $class->create_run(
    'short',
    target_iterations => 1,
    average_decay => 0.5,
    dataset_images => 60000,
    dataset_digest => $class->psql(
        "SELECT quote_literal(dataset_digest)
        FROM gan_run
        WHERE run = $run"
    )
);
$class->psql(
    "SELECT gan_set_policy($short, sheet_every => 0, quality_every => 0);
            SELECT gan_start($short)"
);
is $class->wait_for($class->worker('zq-ann', '--run', 'short'), 60), 0, 'a single step';
my ($old, $new, $average) = map { [
    unpack 'f<*',
    substr pack(
        'H*',
        $class->psql(
            "SELECT encode(data, 'hex')
        FROM $_
        WHERE run = $short"
        )
    ),
    24
] } '(SELECT * FROM gan_weights WHERE iteration = 0) AS w',
    '(SELECT * FROM gan_weights WHERE iteration = 1) AS w',
    '(SELECT * FROM gan_average WHERE iteration = 1) AS w';
my $worst = 0;
for my $j (0 .. $#$new) {
    # the decay is 2/11 at first
    my $off = abs($average->[$j] - ($old->[$j] + 9 / 11 * ($new->[$j] - $old->[$j])));
    $worst = $off if $off > $worst;
}
ok(
    (@$new > 20000 && @$average == @$new && $worst < 1e-6),
    "it moves towards the new weights (off by $worst)"
);
is $class->psql("SELECT answer FROM gan_verify(0, $short)"), 'verified', 'gan_verify recomputes it';
$class->psql(
    "UPDATE gan_state_piece SET data = set_byte(data, 1000, get_byte(data, 1000) # 1)
        WHERE run = $short
        AND iteration = 1
        AND part = 5
        AND piece = 1"
);
is $class->psql("SELECT answer, part FROM gan_verify(0, $short)"), 'differs|moving average',
    'and finds a flipped bit in it';
my $without = $class->create_run('without', average_decay => 0);
is $class->psql("SELECT count(*) FROM gan_average WHERE run = $without"), '0',
    'a run can do without';
is + ($class->psql_fails("SELECT gan_generate(1, 1, $without, 0, true)"))[0], '55000',
    'then nothing can be drawn of it';
is $class->psql("SELECT gan_generate(4, 1, $without) = gan_generate(4, 1, $without, 0, false)"),
    't', 'and the weights are drawn';
is $class->psql(
    "SELECT gan_generate(4, 1, $run) = gan_generate(4, 1, $run, 24, true),
            gan_generate(4, 1, $run) = gan_generate(4, 1, $run, 24, false)"
    ),
    't|f', 'elsewhere the average is, unless the weights are wanted';
is + ($class->psql_fails("SELECT gan_create_run('x', average_decay => $_)"))[0], '22023',
    "refused: a decay of $_"
    for '1', '-0.1', "'NaN'";
$class->psql("SELECT gan_drop_run($short); SELECT gan_drop_run($without)");
$class->signal($coordinator, 'TERM');

# ---- strips
SKIP: {
    skip 'python3-numpy and python3-pil are not installed', 1 unless $numpy;
    save('strip.png', "SELECT gan_interpolate(5, -6, 7, $run)");
    save('first.png', "SELECT gan_generate(1, 5, $run)");
    save('last.png', "SELECT gan_generate(1, -6, $run)");
    my ($status, $output) = $class->run(
        $python, '-c', 'import sys; from PIL import Image, ImageChops as c
strip, first, last = (Image.open(f) for f in sys.argv[1:])
cut = lambda i: strip.crop((32 * i, 0, 32 * i + 32, 32)).tobytes()
print(strip.size, cut(0) == first.tobytes(), cut(6) == last.tobytes(), len({cut(i) for i in range(7)}))',
        map { $class->folder . "/$_" } 'strip.png', 'first.png', 'last.png'
    );
    is $output, "(224, 32) True True 7\n", 'a strip leads from one image to another';
}
is + ($class->psql_fails("SELECT gan_interpolate(1, 2, $_, $run)"))[0], '22023',
    "refused: a strip of $_"
    for 1, 257;
is + ($class->psql_fails("SELECT gan_interpolate(1, NULL, 3, $run)"))[0], '22004',
    'refused: half a strip';

# ---- quality
is $class->psql(
    "SELECT count(*), bool_and(agrees), count(*) FILTER (WHERE kept), max(difference) <
            1e-4
        FROM gan_reference_check
        WHERE run = $run"
    ),
    '2|t|1|t', 'two summaries of the real images agree';
my @measured = split /\n/,
    $class->psql("SELECT iteration FROM gan_swd WHERE run = $run ORDER BY 1");
# When the first summary comes depends on the machine's speed; from then on every eight iterations
# have one figure.
my @eights = map { int($_ / 8) } @measured;
is "@eights $measured[-1]", join(' ', $eights[0] .. 3, 24),
    "quality was measured as the policy says, from the first summary on (@measured)";
is $class->psql(
    "SELECT bool_and(swd = gan_quality($run, iteration) AND swd BETWEEN 1 AND 1000)
        FROM gan_swd
        WHERE run = $run"
    ),
    't', 'gan_quality tells it';
is $class->psql(
    "SELECT string_agg((iteration + 1)::text, ' ' ORDER BY iteration)
        FROM gan_learning_curve
        WHERE run = $run
        AND swd IS NOT NULL"
    ),
    "@measured",
    'and the learning curve shows it';
like join(' ', ($class->psql_fails("SELECT gan_quality($run, 3)"))[ 0, 1 ]),
    qr/^55000 iteration 3 .* is not held/, 'of weights that are gone it says so';
my $none = $class->create_run('none');
like join(' ', ($class->psql_fails("SELECT gan_quality($none, 0)"))[ 0, 1 ]),
    qr/^55000 .*no summary of the real images/, 'and where there is nothing to compare with';
$class->psql("SELECT gan_drop_run($none)");
SKIP: {
    skip 'python3-numpy and python3-pil are not installed', 2 unless $numpy;
    save('summary.blob', "SELECT data FROM gan_reference WHERE run = $run AND kept");
    save('many.png', "SELECT gan_generate(512, seed, $run) FROM gan_run WHERE run = $run");
    my @arguments = ($class->psql("SELECT seed FROM gan_run WHERE run = $run"), 32, 1, 512);
    my ($status, $output) = $class->run({ timeout => 120 },
        $python, 'test/independent/swd.py', 'summary', @arguments, $class->data,
        $class->folder . '/summary.blob');
    is $status, 0, 'the summary is that of a program written from docs/format.md' or diag $output;
    ($status, $output) = $class->run(
        { timeout => 120 },
        $python, 'test/independent/swd.py', 'distance', @arguments,
        $class->folder . '/many.png',
        $class->folder . '/summary.blob'
    );
    my @ours = split /\|/, $class->psql(
        "SELECT distances[1], distances[2] FROM gan_swd
            WHERE run = $run
            AND iteration = 24"
    );
    my @theirs = split ' ', $output;
    ok((@theirs == 2 && abs($theirs[0] - $ours[0]) < 0.01 && abs($theirs[1] - $ours[1]) < 0.01),
        "and so are the distances: @ours")
        or diag $output;
}

# Hostile summaries: what comes is checked before it is compared.
my $good = pack 'H*', $class->psql(
    "SELECT encode(data, 'hex') FROM gan_reference
        WHERE run = $run
        AND kept"
);
my @numbers = unpack 'f<*', substr $good, 24;
my $spoilt = sub { my @n = @numbers; $_[0]->(\@n); return blob(@n) };
# summaries are for runs that go on
$class->psql("UPDATE gan_run SET state = 'paused', target_iterations = 25 WHERE run = $run");
is contribute($good), 'stale', 'none is wanted of a login of whose work nothing was averaged';
$class->psql("UPDATE gan_worker SET units = 1, images = 20 WHERE worker = $late");
my $nan = 9**9**9 / 9**9**9;
for my $case (
    [ 'empty', '', '22P03' ],
    [ 'cut', substr($good, 0, -4), '22P03' ],
    [ 'longer', $good . "\0\0\0\0", '22P03' ],
    [ 'of another count', blob(@numbers[ 0 .. 9 ]), '22P03' ],
    [ 'damaged', $good ^ ("\0" x 1000 . "\1"), '22P03' ],
    [ 'another magic', 'GANG' . substr($good, 4), '22P03' ],
    [ 'with NaN', $spoilt->(sub { $_[0][77] = $nan }), '22003' ],
    [ 'with infinity', $spoilt->(sub { $_[0][-1] = 9**9**9 }), '22003' ],
    [ 'out of order', $spoilt->(sub { @{ $_[0] }[ 10, 20 ] = @{ $_[0] }[ 20, 10 ] }), '22P03' ],
    [ 'too large', $spoilt->(sub { $_ *= 1000 for @{ $_[0] } }), '22003' ]
    )
{
    is contribute($case->[1]), $case->[2], "refused: a summary that is $case->[0]";
}
is contribute($good, images => 511), 'stale', 'a summary of another sample';
$class->psql("SELECT gan_set_policy($run, quality_every => 0)");
is contribute($good), 'stale', 'where no quality is measured';
$class->psql(
    "SELECT gan_set_policy($run, quality_every => 8); UPDATE gan_run SET state = 'stopped'
        WHERE run = $run"
);
is contribute($good), 'stale', 'or the run is over, none is wanted';
$class->psql("UPDATE gan_run SET state = 'paused' WHERE run = $run");
is contribute($good, user => 'zq-bo'), '42501', 'refused: under somebody else\'s worker';
is contribute($spoilt->(sub { $_ *= 1.01 for @{ $_[0] } })), 'differs', 'a wrong one is told so';
$class->psql("SELECT gan_choose_reference($run)");
is $class->psql("SELECT login, agrees, kept FROM gan_reference_check WHERE NOT agrees"),
    'zq-cy|f|f', 'and reported';
like $class->server_log,
    qr/the summary of login "zq-cy" differs by [\d.]+ from the one that counts/,
    'in the log as well, and nobody else is named';
$class->psql("UPDATE gan_reference SET login = 'zq-dee', agrees = true WHERE login = 'zq-cy'");
is contribute($good), 'stale', 'three are enough';
$class->psql("UPDATE gan_reference SET login = 'zq-cy' WHERE login = 'zq-dee'");
is contribute($good), 'already', 'once a login';
# A first summary that is made up counts until two others agree; the instructor may say which it is.
$class->psql(
    "UPDATE gan_reference
        SET kept = false, agrees = NULL, made_at = CASE login WHEN 'zq-cy' THEN now() - interval
            '1 h' ELSE made_at END
        WHERE run = $run; SELECT gan_choose_reference($run)"
);
is $class->psql(
    "SELECT login = 'zq-cy', agrees, provisional FROM gan_reference_check
        WHERE run = $run
        AND NOT agrees"
    ),
    't|f|f', 'one that came first and is made up does not decide';
like $class->psql("SELECT gan_set_reference('zq-cy', $run)"), qr/by the summary of zq-cy/,
    'unless the instructor says so';
is $class->psql("SELECT login, confirmed FROM gan_reference_check WHERE run = $run AND kept"),
    'zq-cy|t', 'then it counts';
$class->psql("SELECT gan_forget_reference($run)");
is contribute($good), 'kept', 'when all is forgotten, it begins again';
cmp_ok $class->psql("SELECT gan_quality($run, 24)"), '>', 1, 'and measures on demand';
$class->psql(
    "UPDATE gan_run SET state = 'finished', target_iterations = 24
        WHERE run = $run; UPDATE gan_worker SET units = 0, images = 0
        WHERE worker = $late"
);

# ---- what everybody may see
$class->psql("CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE gan_viewer");
is $class->psql(
    "SELECT sum(images), sum(units), round(sum(share)::numeric, 6) FROM gan_leaderboard
        WHERE images > 0", user => 'monitor'
    ),
    '960|48|1.000000', 'the leaderboard adds up';
is $class->psql(
    "SELECT max(streak) BETWEEN 1 AND 24, min(place) FROM gan_leaderboard",
    user => 'monitor'
    ),
    't|1', 'streaks and places';
is $class->psql(
    "SELECT iteration, target_iterations, state, epoch > 0, time_left IS NULL
        FROM gan_progress", user => 'monitor'
    ),
    '24|24|finished|t|t', 'progress';
is $class->psql(
    "SELECT count(*), count(*) FILTER (WHERE images_per_second > 0
            AND participants BETWEEN 1 AND 2 AND images = 40)
        FROM gan_learning_curve", user => 'monitor'
    ),
    '24|24', 'the learning curve';
my $cluster = 'SELECT workers >= participants
        AND cores >= workers, images_per_second > 0 FROM gan_cluster';
is $class->psql($cluster, user => 'monitor'), 't|', 'the cluster: a run that is over has no speed';
$class->psql("UPDATE gan_run SET state = 'running', target_iterations = 25 WHERE run = $run");
is $class->psql($cluster, user => 'monitor'), 't|t', 'one that runs has';
is $class->psql(
    "SELECT abs(extract(epoch FROM time_left) - (SELECT avg(seconds)
            FROM (SELECT seconds FROM gan_learning_curve ORDER BY iteration DESC LIMIT 10) l)) <
            1e-3
        FROM gan_progress", user => 'monitor'
    ),
    't',
    'and an expected end: one iteration as long as the last ten were';
$class->psql(
    "SELECT gan_pause($run); UPDATE gan_run
        SET iteration_started_at = now() - interval '1 hour', paused_at = now() - interval '59 min'
        WHERE run = $run; SELECT gan_start($run)"
);
is $class->psql(
    "SELECT now() - iteration_started_at BETWEEN '60 s' AND '90 s', paused_at IS NULL
        FROM gan_run
        WHERE run = $run"
    ),
    't|t', 'a pause is no part of an iteration';
$class->psql(
    "UPDATE gan_run SET state = 'finished', target_iterations = 24
        WHERE run = $run; DELETE FROM gan_work_unit
        WHERE run = $run
        AND iteration = 24"
);
# A streak is up to the last iteration, and ends where nothing of a login was averaged.
is $class->psql(
    "BEGIN; UPDATE gan_work_unit u
        SET worker = (SELECT w.worker FROM gan_worker w WHERE w.run = $run
            AND w.login = CASE WHEN u.iteration = 20 THEN 'zq-bo' ELSE 'zq-ann' END)
    WHERE u.run = $run
    AND u.iteration >= 18
    AND u.state = 'done'; SELECT string_agg(nickname || ' ' || streak, ', ' ORDER BY nickname)
    FROM gan_leaderboard
    WHERE images > 0; ROLLBACK"
    ),
    'Otter 3, student ' . $class->psql(
    "SELECT worker FROM gan_worker
            WHERE login = 'zq-bo'"
    )
    . ' 0',
    'a streak that broke';
# What a step took less of, or nothing, and what was refused, is in its report.
$class->psql(
    "UPDATE gan_work_unit SET scale = 0.25
        WHERE unit = (SELECT min(unit) FROM gan_work_unit WHERE run = $run AND iteration = 20);
    UPDATE gan_work_unit SET scale = 0
    WHERE unit = (SELECT max(unit) FROM gan_work_unit WHERE run = $run AND iteration = 20);
    INSERT INTO gan_failure (run, first_position, login, why, unit, attempt, iteration) SELECT run,
        first_position, 'zq-bo', 'bad_value', unit, 1, 20
    FROM gan_work_unit
    WHERE unit = (SELECT min(unit) FROM gan_work_unit WHERE run = $run AND iteration = 20)"
);
like $class->psql("SELECT outcome, notes FROM gan_iteration_report(20)"),
    qr/\Aaveraged\|clipped to 25\.0 %, refused \(bad_value\): student \d+\nleft out\|by the aggregator\z/,
    'an iteration\'s report: clipped, refused, left out';
$class->psql(
    "DELETE FROM gan_failure
        WHERE why = 'bad_value'; UPDATE gan_work_unit SET scale = NULL
        WHERE run = $run
        AND iteration = 20"
);
my $everything = join "\n",
    map { $class->psql("SELECT v::text FROM $_ AS v", user => 'monitor') } split /\n/,
    $class->psql(
    "SELECT c.oid::regclass FROM pg_class c WHERE relname LIKE 'gan\\_%' AND relkind IN ('r', "
    . "'v', 'p') AND has_table_privilege('gan_viewer', c.oid, 'SELECT')"
    ),;
$everything .= $class->psql(
    "SELECT r::text
        FROM generate_series(0, 24) AS i, gan_iteration_report(i) AS r", user => 'monitor'
);
like $everything, qr/Otter.*student \d/s, 'lookers-on see nicknames';
unlike $everything, qr/zq|127\.0\.0\.1/, 'and no login, host or worker\'s name';
is + ($class->psql_fails("SELECT * FROM $_", user => 'monitor'))[0], '42501', "not $_"
    for 'gan_nickname', 'gan_roster', 'gan_gradebook', 'gan_account', 'gan_reference_check',
    'gan_streak', 'gan_worker';
is + ($class->psql_fails("SELECT $_", user => 'monitor'))[0], '42501', "nor may they call $_"
    for "gan_quality($run)", "gan_certificate('zq-ann')", "gan_generate(1)", "gan_set_policy()",
    "gan_set_nickname('x')";
is $class->psql("SELECT gan_set_nickname('Fox')", user => 'zq-bo'), 'others see you as "Fox"',
    'a student chooses a nickname';
is + ($class->psql_fails("SELECT gan_set_nickname('fOX')", user => 'zq-ann'))[0], '42710',
    'which nobody else may take';
is + ($class->psql_fails("SELECT gan_set_nickname('$_')", user => 'zq-bo'))[0], '42710',
    "nor anything that looks like another's: '$_'"
    for 'Otter ', 'O-t.ter_';
is + ($class->psql_fails("SELECT gan_set_nickname($_)", user => 'zq-ann'))[0], '22023',
    "refused: $_"
    for "E'a\\tb'", q{'<b>x</b>'}, q{''}, q{'student 4'}, q{'Student_04'}, q{'student4 '}, 'NULL';

# ---- the instructor's
is $class->psql(
    "SELECT login, nickname, may_log_in, workers, images > 0 FROM gan_roster
        ORDER BY login"
    ),
    "zq-ann|Otter|t|1|t\nzq-bo|Fox|t|1|t\nzq-cy|Badger|t|1|f", 'the roster';
my ($out) = $class->psql(
    "\\copy (SELECT login, images, share FROM gan_gradebook ORDER BY login) TO STDOUT CSV HEADER");
like $out, qr/^login,images,share\nzq-ann,\d+,0\.\d{4}\nzq-bo,\d+,0\.\d{4}\nzq-cy,0,0\.0000$/,
    'grades as CSV';
# The file again, with somebody more: who is enrolled keeps the password.
is $class->psql(
    "SELECT login, nickname, connection IS NULL
        FROM gan_enroll_csv(E'zq-ann\nzq-fay,Fay')"
    ),
    "zq-ann||t\nzq-fay|Fay|f", 'a file that was given before enrols those who were added';
is $class->psql(
    'SELECT 1',
    user => 'zq-ann',
    password => $class->{students}{'zq-ann'} =~ m{:([^:@]+)@}
    ),
    '1', 'the others\' passwords hold';
is $class->psql(
    "SELECT nickname, workers, images, share FROM gan_gradebook WHERE login = 'zq-fay'"),
    'Fay|0|0|0.0000', 'who never came has grades as well';
($state, $message) = $class->psql_fails("SELECT * FROM gan_enroll_csv(E'zq-gus\nzq-hal\nzq-gus')");
like "$state $message", qr/^42710 line 3: login "zq-gus" stands on an earlier line/,
    'a login stands in a file once';
my $certificate = $class->psql("SELECT gan_certificate('zq-ann')");
like $certificate, qr/^zq-ann \(Otter\) took part in the training of "clothes"/m, 'a certificate';
my ($body, $digest) = $certificate =~ /\A(.*)\nSHA-256 of the lines above: ([0-9a-f]{64})/s;
is $class->psql("SELECT encode(sha256(convert_to(\$q\$$body\$q\$, 'UTF8')), 'hex')"), $digest,
    'whose digest fits its lines';
is + ($class->psql_fails("SELECT gan_certificate('zq-cy')"))[0], 'P0002', 'none for nothing';

# ---- metrics: the exporter from Debian, and every figure that the dashboard draws
SKIP: {
    my $exporter = '/usr/bin/prometheus-postgres-exporter';
    skip 'prometheus-postgres-exporter is not installed', 4 unless -x $exporter;
    my $port = GannTest::_free_port();
    my $pid = $class->start_background(
        {
            name => 'exporter',
            env => { DATA_SOURCE_NAME => $class->uri('monitor', 'monitor') . '?sslmode=disable' }
        },
        $exporter,
        "--web.listen-address=127.0.0.1:$port",
        '--extend.query-path=monitoring/queries.yaml',
        '--disable-default-metrics',
        '--disable-settings-metrics'
    );
    my $metrics = '';
    for (1 .. 100) {
        my $answer = HTTP::Tiny->new->get("http://127.0.0.1:$port/metrics");
        $metrics = $answer->{content} // '';
        last if $answer->{success} && $metrics =~ /^gan_run_iteration/m;
        select undef, undef, undef, 0.2;
    }
    like $metrics, qr/^gan_run_iteration\{[^}]*run="clothes"[^}]*\} 24$/m, 'the exporter exports';
    like $metrics, qr/^gan_student_images\{[^}]*nickname="Otter"[^}]*\} \d+$/m,
        'students by nickname';
    unlike $metrics, qr/zq/, 'no login among it';
    unlike $metrics, qr/^\w+_(?:last_scrape_error|user_queries_load_error)\S* [1-9]/m,
        'no query failed';
    like $metrics, qr/^\w+_last_scrape_error\S* 0$/m, 'which the exporter would say';
    open my $in, '<', 'monitoring/dashboard.json' or die $!;
    my $dashboard = decode_json(do { local $/; <$in> });
    my %missing;
    for my $expression (map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} }) {
        $missing{$_}++ for grep { $metrics !~ /^\Q$_\E\{/m } $expression =~ /\b(gan_\w+)/g;
    }
    is join(' ', sort keys %missing), '', 'all that the dashboard draws is there';
    $class->signal($pid, 'TERM');
}

# ---- the yardstick
SKIP: {
    my $faces = GannTest::faces_file();
    skip 'no archive of faces, or not the yardstick', 1
        unless $faces && $numpy && -r '../shared/bench/swd.py';
    local $class->{data_file} = $faces;
    my $colour = $class->create_run(
        'faces',
        channels => 3,
        image_size => 64,
        images_per_unit => 8,
        units_per_iteration => 1,
        target_iterations => 1
    );
    $class->psql(
        "SELECT gan_set_policy($colour, sheet_every => 0); SELECT gan_start($colour),
                gan_trust_login('zq-ann', $colour)"
    );
    my $alone = $class->worker('zq-ann', '--run', 'faces');
    ok $class->poll_until("SELECT count(*) FROM gan_reference WHERE run = $colour", '1', 60),
        'faces are summarised';
    $class->signal($alone, 'TERM');
    my @ours = split /\|/, $class->psql(
        "SELECT d[1], d[2], d[3]
            FROM (SELECT gan_measure_distances($colour, 0, 512, data) FROM gan_reference
                WHERE run = $colour) AS m (d)"
    );
    save('faces.png', "SELECT gan_generate(512, seed, $colour) FROM gan_run WHERE run = $colour");
    my ($status, $output) = $class->run(
        { timeout => 120 }, $python, '-c',
        'import sys; sys.path.insert(0, "../shared/bench"); import swd
swd.np.float32 = swd.np.float64 # its means of a million numbers are sums in float32: not right where images have next to no contrast
print(*swd.compare(swd.load(sys.argv[1], 512), swd.load(sys.argv[2], 512)))', $faces,
        $class->folder . '/faces.png'
    );
    my @theirs = split ' ', $output;
    my @off = map { abs($ours[$_] / $theirs[$_] - 1) } 0 .. 2 if @theirs == 3;
    ok(
        (@theirs == 3 && !grep { $_ > 0.15 } @off),
        sprintf
            'other patches, directions and faces give the same figures (%.0f %.0f %.0f beside %.0f %.0f %.0f)',
        @ours,
        @theirs
    ) or diag $output;
}
done_testing;

# Writes the bytes that a query returns into a file of the test's folder.
sub save {
    my ($file, $query) = @_;
    open my $to, '>:raw', $class->folder . "/$file" or die "$file: $!";
    print $to pack 'H*', $class->psql("SELECT encode(bytes, 'hex') FROM ($query) AS q (bytes)");
    close $to or die "$file: $!";
}

# Makes a float32 blob.
sub blob {
    my $data = pack 'f<*', @_;
    return pack('a4 v v Q< V V', 'GANF', 1, 1, scalar @_, crc32c($data), 0) . $data;
}

sub crc32c {
    my ($crc, @table) = (0xFFFFFFFF);
    for my $b (0 .. 255) {
        my $c = $b;
        $c = $c & 1 ? $c >> 1 ^ 0x82F63B78 : $c >> 1 for 1 .. 8;
        push @table, $c;
    }
    $crc = $crc >> 8 ^ $table[ ($crc ^ $_) & 255 ] for unpack 'C*', $_[0];
    return $crc ^ 0xFFFFFFFF;
}

# Sends a summary as zq-cy; the answer, or the SQLSTATE.
sub contribute {
    my ($bytes, %opt) = @_;
    my $images = $opt{images} // 512;
    my $sql = "SELECT gan_contribute_reference($late, $images, '\\x" . unpack('H*', $bytes) . "')";
    my ($out, $err, $status) =
        $class->_psql($sql, user => $opt{user} // 'zq-cy', verbosity => 'verbose');
    return $status == 0 ? $out : $err =~ /ERROR:\s+(\w{5}):/ ? $1 : $err;
}
