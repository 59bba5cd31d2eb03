# Gradients are unlogged and read where they lie: what a crash takes is done again, memory and
# cancelling have bounds.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(durable => 1);
my $feeder = GannTest::root_folder() . '/build/test/feed_units';
is system('make -s -f test/unit/Makefile build/test/feed_units >build/test/feed_units.log 2>&1'),
    0, 'feed_units is built';

# Hands in units of random gradients.
sub feed {
    my ($run, $units, %opt) = @_;
    my ($status, $output) = $class->run(
        { timeout => 120 },
        $feeder, $opt{uri} // $class->student('ann'),
        $run, $units, $opt{name} // 'feeder'
    );
    is $status, 0, "$units units are submitted" or diag $output;
    return $output;
}

sub states {
    my ($run, %opt) = @_;
    return $class->psql(
        "SELECT u.state, count(*) FROM gan_work_unit u
            JOIN gan_run r USING (run, iteration)
            WHERE u.run = $run GROUP BY 1 ORDER BY 1", %opt
    );
}

sub refusal { return ($class->psql_fails(@_))[1] }

# A crash of the server takes gradients of units that were acknowledged; they are done again, and
# counted once
my $run = $class->create_run('crash', units_per_iteration => 3, target_iterations => 4);
$class->psql("SELECT gan_start($run)");
feed('crash', 3);
like $class->psql("SELECT gan_tick($run)"), qr/^step/, 'a step before the crash';
feed('crash', 2);
is states($run), "done|2\npending|1", 'two units are done';
$class->restart('immediate');
is $class->psql("SELECT count(*) FROM gan_gradient WHERE run = $run"), '0',
    'the crash has emptied the gradients';
is $class->psql("SELECT count(*), count(DISTINCT iteration) FROM gan_weights WHERE run = $run"),
    '2|2', 'not the weights';
is states($run), "done|2\npending|1", 'nobody has noticed yet';
like $class->psql("SELECT gan_tick($run)"), qr/2 to be done again/, 'the next tick does';
is states($run), 'pending|3', 'all are open again';
feed('crash', 3);
$class->restart('immediate');
like refusal("SELECT gan_aggregate(1, $run)"), qr/shard 0 of unit \d+ is missing/,
    'a step by hand refuses units without gradients';
like $class->psql("SELECT gan_tick($run)"), qr/3 to be done again/,
    'a tick with the quorum does not step on them either';
my $coordinator = $class->coordinate;
feed('crash', 9);
ok $class->poll_until("SELECT state FROM gan_run WHERE run = $run", 'finished', 30), 'the run ends';
is $class->wait_for($coordinator, 30), 0, 'and the coordinator';
is $class->psql(
    "SELECT count(*), sum(images), max(upper(positions)) FROM gan_history
        WHERE run = $run"
    ),
    '4|240|240', 'every position was averaged once';
is $class->psql("SELECT sum(images), bool_and(images = different_images) FROM gan_ledger($run)"),
    '240|t', 'every image once';
is $class->psql("SELECT units, images FROM gan_worker WHERE run = $run"), '12|240',
    'and credited once';

# Whatever else takes gradients away, or a part of them
$run = $class->create_run('holes', units_per_iteration => 3, target_iterations => 2);
$class->psql("SELECT gan_start($run)");
feed('holes', 3);
my $last = $class->psql("SELECT max(unit) FROM gan_work_unit WHERE run = $run");
$class->psql("DELETE FROM gan_gradient_piece WHERE unit = $last AND shard = 1 AND piece = 0");
like $class->psql("SELECT gan_tick($run)"), qr/1 to be done again/, 'a shard that was deleted';
is states($run), "done|2\npending|1", 'opens its unit alone';
feed('holes', 1);
$class->psql(
    "UPDATE gan_gradient_piece SET token = gen_random_uuid()
        WHERE unit = $last
        AND shard = 0
        AND piece = 0"
);
like $class->psql("SELECT gan_tick($run)"), qr/1 to be done again/,
    'a shard of another claim does not count';
feed('holes', 1);
$class->psql(
    "UPDATE gan_gradient_piece SET data = set_byte(data, 1000, get_byte(data, 1000) # 1)
        WHERE unit = $last
        AND shard = 0
        AND piece = 0"
);
like $class->psql("SELECT gan_tick($run)"),
    qr/the step failed \(.*checksum does not fit.*\): unit $last is given out again/,
    'a damaged piece puts its unit back';
feed('holes', 1);
like $class->psql("SELECT gan_tick($run)"), qr/^step/, 'and done once more it continues';

# A standby has no unlogged tables: after promotion the class continues with the weights
feed('holes', 2);
my $standby = $class->folder . '/standby';
my $port = GannTest::_free_port();
my ($status, $output) = $class->_as_server("$class->{bindir}/pg_basebackup",
    '-h', $class->host, '-p', $class->port, '-U', 'postgres', '-c', 'fast', '-D', $standby, '-R');
is $status, 0, 'a standby is made' or diag $output;
($status, $output) = $class->_as_server(
    "$class->{bindir}/pg_ctl", '-D', $standby, '-o',
    "-p $port", '-l', "$standby.log", '-w',
    'start'
);
is $status, 0, 'and started' or diag $output;
{
    local $class->{port} = $port;
    is $class->psql(
        "SELECT gan_fetch_weights(run, iteration, 0) = (SELECT data FROM gan_weights w
                WHERE w.run = r.run AND w.iteration = r.iteration)
            FROM gan_run r
            WHERE run = $run"
        ),
        't', 'it serves weights';
    $class->psql('SELECT pg_promote()');
    like $class->psql("SELECT gan_tick($run)"), qr/2 to be done again/,
        'promoted, it asks for the gradients it has not got';
    (my $uri = $class->student('ann')) =~ s/:\d+\//:$port\//;
    feed('holes', 3, uri => $uri);
    like $class->psql("SELECT gan_tick($run)"), qr/^step/, 'and steps';
}
$class->_as_server("$class->{bindir}/pg_ctl", '-D', $standby, '-m', 'immediate', '-w', 'stop');

# Memory: the peak of what a backend allocates in a step, whatever the number of units
sub peak_growth {
    my ($name, $units) = @_;
    my $n = $class->create_run(
        $name,
        image_size => 64,
        channels => 3,
        latent => 100,
        generator_features => 16,
        discriminator_features => 16,
        units_per_iteration => $units,
        target_iterations => 1
    );
    $class->psql("SELECT gan_start($n)");
    feed($name, $units);
    my $peak = q{\\! grep VmPeak /proc/$PID/status};
    my $out = $class->psql(
        "SELECT pg_backend_pid() AS pid \\gset\n\\setenv PID :pid\nSELECT "
        . "gan_run_config('$name') IS NULL;\n$peak\nSELECT gan_aggregate(0, $n);\n$peak"
    );
    my @kb = $out =~ /VmPeak:\s+(\d+)/g;
    like $out, qr/$units units/, "a step of $units units";
    return ($kb[1] - $kb[0]) / 1024;
}
my ($few, $many) = (peak_growth('few', 4), peak_growth('many', 64));
cmp_ok $many, '<', 100, sprintf('the step of 64 units takes %.1f MB', $many);
cmp_ok abs($many - $few), '<', 5, sprintf('that of 4 units %.1f MB', $few);

# Cancelling: statement_timeout at several points of a full-size step, one that overwrites the
# weights of two iterations ago
sub full_size {
    my $name = shift;
    my $n = $class->psql(
        "SELECT gan_create_run('$name', seed => 7, local_steps => 0,
                units_per_iteration => 6, images_per_unit => 4, batch => 4, target_iterations => 3)"
    );
    $class->psql("SELECT gan_start($n)");
    feed($name, 6);
    like $class->psql("SELECT gan_aggregate(0, $n)"), qr/^step/, "$name: the first step";
    feed($name, 6);
    return $n;
}
my $undisturbed = full_size('undisturbed');
my $file = "SELECT pg_relation_filepath('gan_state_piece_r${undisturbed}_0')";
my $before = $class->psql($file);
like $class->psql("SELECT gan_aggregate(1, $undisturbed)"), qr/^step/, 'a step';
is $class->psql($file), $before, 'writes over the rows of two iterations ago, in the same file';
$run = $class->psql(
    "SELECT gan_create_run('followed', seed => 7, local_steps => 0,
            units_per_iteration => 1, images_per_unit => 4, batch => 4, target_iterations => 5,
            download_element => 'int8')"
);
$class->psql("SELECT gan_start($run)");
for my $i (0 .. 2) {
    feed('followed', 1);
    $class->psql("SELECT gan_aggregate($i, $run)");
}
$before = $class->psql(
    "SELECT pg_relation_filepath('gan_state_piece_r${run}_0'),
            pg_relation_size('gan_state_piece_r${run}_0')"
);
feed('followed', 1);
like $class->psql("SELECT gan_aggregate(3, $run)"), qr/^step/, 'so does one with changes';
is $class->psql(
    "SELECT pg_relation_filepath('gan_state_piece_r${run}_0'),
            pg_relation_size('gan_state_piece_r${run}_0')"
    ),
    $before, 'that are of another size than weights';
is $class->psql(
    "SELECT count(DISTINCT shard), sum(length(change)) FROM gan_broadcast
        WHERE run = $run
        AND iteration = 4"
    ),
    '25|' . (6441372 + 25 * 28), 'of which there are 6.4 MB';
$run = full_size('cancel');
my @late;
for my $ms (5, 15, 30, 50, 75, 100, 130, 160, 200, 250) {
    my $sql = "SET statement_timeout = $ms;\n\\timing on\nSELECT gan_aggregate(1, $run);";
    my ($code, $text) = $class->run(
        { timeout => 60 },
        '/bin/sh', '-c', 'printf "%s" "$1" | "$2" -X -h "$3" -p "$4" -U postgres -d train 2>&1',
        'sh', $sql, "$class->{bindir}/psql", $class->host, $class->port
    );
    my ($took) = $text =~ /Time: ([\d.]+) ms/;
    last if $text =~ /units of/;
    like $text, qr/canceling statement/, "cancelled after $ms ms" or last;
    push @late, $took - $ms;
    is $class->psql(
        "SELECT count(gan_fetch_weights($run, 1, s)),
                count(gan_fetch_weights($run, 2, s)), count(gan_fetch_weights($run, 0, s)) <= 26
            FROM generate_series(0, 25) s"
        ),
        '26|0|t', 'the run is where it was';
}
@late = sort { $a <=> $b } @late;
cmp_ok scalar(@late), '>=', 3, 'the step was cancelled at several points';
cmp_ok $late[ @late / 2 ], '<', 100,
    sprintf('and ended at most %.0f ms after (median %.0f)', $late[-1], $late[ @late / 2 ]);
like $class->psql("SELECT gan_aggregate(1, $run)"), qr/^step/, 'nothing was lost by it'
    if $class->psql(
    "SELECT iteration
        FROM gan_run
        WHERE run = $run"
    ) == 1;
is $class->psql(
    "SELECT count(DISTINCT weights_digest), count(*) FROM gan_history
        WHERE run IN ($run, $undisturbed)
        AND iteration = 1"
    ),
    '1|2', 'the step has the bits of an undisturbed one';
is $class->psql(
    "SELECT count(DISTINCT md5)
        FROM (SELECT md5(string_agg(first || second, '' ORDER BY shard)) FROM gan_moments
            WHERE run IN ($run, $undisturbed) AND iteration = 2 GROUP BY run) m"
    ),
    '1', 'the moments too';

# A step over old rows is in the WAL like any other, and a manual VACUUM or a lock makes it go the
# other way
$class->psql("CHECKPOINT");
feed($_, 6) for 'cancel', 'undisturbed';
$class->psql("VACUUM gan_state_piece_r${run}_1");
$before = $class->psql("SELECT pg_relation_filepath('gan_state_piece_r${run}_1')");
like $class->psql("SELECT gan_aggregate(2, $_)"), qr/^step/, 'a third step' for $run, $undisturbed;
isnt $class->psql("SELECT pg_relation_filepath('gan_state_piece_r${run}_1')"), $before,
    'after a VACUUM the table is emptied first';
my $sums = "SELECT run, iteration, md5(string_agg(data, '' ORDER BY shard)) FROM gan_weights
        WHERE run IN ($run, $undisturbed) GROUP BY 1, 2 ORDER BY 2, 1";
$before = $class->psql($sums);
$class->restart('immediate');
is $class->psql($sums), $before, 'a crash restores every row from the WAL';
is $class->psql("SELECT count(DISTINCT md5) FROM ($sums) s"), '2',
    'of two iterations, the same in both runs';
done_testing;
