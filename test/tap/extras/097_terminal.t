# The worker in a terminal: what it finds by itself, shows, checks, obeys and leaves alone; and
# training without a server.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use POSIX ();
use GannClass;

my $class = GannClass->new(conf => ["listen_addresses = '*'"]);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
plan skip_all => 'libio-pty-perl is not installed' unless eval { require IO::Pty; 1 };
delete @ENV{qw(GANN_DATA GANN_POWER_SUPPLY)};
my $folder = $class->folder;
my $program = GannClass::worker_program();
my $alone = GannClass::local_program();
my $ann = $class->student('ann');
my ($power, $home) = ("$folder/power", "$folder/home");
mkdir $_ for $power, "$power/AC", "$power/BAT0", $home;
sub slurp { open my $in, '<:raw', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }

sub spew {
    open my $out, '>:raw', $_[0] or die "$_[0]: $!";
    print $out $_[1];
    close $out or die "$_[0]: $!";
}
# a checkpoint without its header
sub numbers { my $file = slurp($_[0]); return substr $file, 8 + unpack 'Q<', $file }

# Starts the worker on a terminal of its own with a number of columns.
my %terminals;

sub terminal {
    my ($columns, @arguments) = @_;
    my $pty = IO::Pty->new;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        $pty->make_slave_controlling_terminal;
        my $slave = $pty->slave;
        $slave->set_winsize(40, $columns);
        open STDIN, '<&', $slave and open STDOUT, '>&', $slave and open STDERR, '>&', $slave
            or POSIX::_exit(126);
        exec $program, @arguments or POSIX::_exit(127);
    }
    $pty->close_slave;
    $pty->blocking(0);
    return $terminals{$pid} = { pid => $pid, pty => $pty, text => '' };
}

sub status_of {
    my ($t) = @_;
    return $t->{status} if defined $t->{status};
    return waitpid($t->{pid}, POSIX::WNOHANG()) == $t->{pid} ? $t->{status} = $? : undef;
}

sub hear {
    my ($t) = @_;
    while (sysread $t->{pty}, my $bytes, 65536) { $t->{text} .= $bytes }
    return $t->{text};
}

# Waits until the terminal shows a pattern, or (undef) until the program ends; false if that doesn't
# come.
sub shows {
    my ($t, $pattern, $seconds) = @_;
    my $until = time + ($seconds // 60);
    while (time < $until) {
        my $ended = defined status_of($t);
        my $text = hear($t);
        return 1 if $pattern ? $text =~ $pattern : $ended;
        last if $ended;
        sleep 0.05;
    }
    diag 'the terminal showed: ' . substr hear($t), -3000;
    return 0;
}

END {
    kill 'KILL', map { $_->{pid} } grep { !defined status_of($_) } values %terminals;
}

# ---- a join string does everything
my $run = $class->create_run('first', target_iterations => 1, units_per_iteration => 1);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate;
my ($status, $output) =
    $class->run({ cwd => $home, env => { HOME => $home } }, $program, $ann, '--once');
is $status, 0, 'a join string is enough' or diag $output;
like $output, qr{^found /usr/share/datasets/fashion-mnist/}m, 'the dataset is found, and said so';
$class->wait_for($coordinator, 30);
my $other =
    $class->create_run('other', dataset_images => 3, dataset_digest => "'\\x" . '11' x 32 . "'");
($status, $output) = $class->run({ cwd => $home, env => { HOME => $home } },
    $program, $ann, '--once', '--run', 'other');
is $status, 2, 'what has other images than the run is not taken';
like $output,
    qr/You have 60,000 images, the class has 3\..*images \(3 images, digest 1111111111111111…\) were not found\.\nSay where they are: --data PATH, or GANN_DATA/s,
    'and the remedy is shown';
my $file = '/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz';
($status, $output) = $class->run({ cwd => $home, env => { GANN_DATA => $file } },
    $program, $ann, '--once', '--run', 'other');
like $output, qr/10000 images in IDX file t10k/, 'GANN_DATA is used';
$class->psql("SELECT gan_drop_run($other)");

# ---- progress, rank, messages, on a terminal
my $show = $class->create_run(
    'show',
    target_iterations => 100000,
    units_per_iteration => 1,
    lease_seconds => 60
);
$class->psql("SELECT gan_start($show)");
$coordinator = $class->coordinate(600);
my $wide = terminal(160, $ann, '--run', 'show', '--data', $class->data);
ok shows(
    $wide,
    qr{\riteration \d+/100000  D \d+\.\d\d  G \d+\.\d\d  \d+ images/s  units \d+  ETA [0-9dhmins ]+  rank 1 of 1 \(100\.0 %\)}
    ),
    'iteration, losses, speed, ETA, rank and share';
like $class->psql("SELECT gan_say('coffee in 5', $show)"), qr/^said to 1 workers of run $show/,
    'the instructor says something';
ok shows($wide, qr/instructor: coffee in 5\r\n/), 'and it appears';
is scalar(() = $wide->{text} =~ /coffee/g), 1, 'once';
$class->psql(
    "INSERT INTO gan_message (run, text) VALUES ($show, E'\\x1b[2Jx' || chr(155) || 'y' || "
    . "chr(8238) || 'z' || chr(233))"
);
ok shows($wide, qr/instructor: \?\[2Jx\?y\?z\xc3\xa9\r\n/),
    'what could move the cursor or turn the line is shown as a question mark';
for my $bad (
    [ "E'a\\nb'", 'a line feed' ],
    [ "chr(27) || 'c'", 'an escape' ],
    [ 'chr(155)', 'a C1 control' ],
    [ 'chr(8238)', 'a turn of direction' ],
    [ 'chr(173)', 'a soft hyphen' ],
    [ "'a' || chr(917569)", 'a tag' ],
    [ "repeat('x', 201)", '201 characters' ],
    [ "''", 'nothing' ],
    [ 'NULL', 'NULL' ]
    )
{
    is + ($class->psql_fails("SELECT gan_say($bad->[0], $show)"))[0], '22023',
        "gan_say refuses $bad->[1]";
}
$class->psql(
    "INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, units,
            images)
        VALUES ($show, 'postgres', 'p', 1, 1, '', '', 1, 1000000000)"
);
my ($worker) = $class->psql("SELECT worker FROM gan_worker WHERE run = $show AND login = 'ann'");
is $class->psql(
    "SELECT rank, students, share < 0.5, seconds_left > 0, message, messages IS NULL
        FROM gan_standing($worker, 2)", user => 'ann'
    ),
    '2|2|t|t|2|t', 'rank among students, and nothing that was shown before';
is + (
    $class->psql_fails(
        "SELECT * FROM gan_standing($worker)",
        user => ($class->student('bo'), 'bo')[1]
    )
)[0], '42501', 'of one\'s own workers only';
ok shows($wide, qr/rank 2 of 2/), 'the terminal follows';
$class->psql("DELETE FROM gan_worker WHERE run = $show AND login = 'postgres'");
syswrite $wide->{pty}, "\x03";
ok shows($wide, undef, 30), 'Ctrl-C ends it';
is status_of($wide), 0, 'in good order';
like hear($wide), qr/averaged into the model so far/, 'with a summary';
my $narrow = terminal(40, $ann, '--run', 'show', '--data', $class->data);
ok shows($narrow, qr/units [1-9]|iteration \d+\/100000  D/), 'a narrow terminal';
sleep 1;
my @wrapping = grep { length($_) > 39 } map {/\r([^\r\n]*?)\e\[K/g} hear($narrow);
is scalar(@wrapping), 0, 'no line that is rewritten is longer than a line' or diag $wrapping[0];

# A second Ctrl-C ends at once what the first lets finish: here the answer to a claim, which
# somebody holds up.
$class->psql("SELECT gan_pause($show)");
ok shows($narrow, qr/is paused/), 'the worker waits';
my $blocker = $class->start_background(
    { name => 'blocker' }, $class->{bindir} . '/psql',
    '-Xq', '-h',
    $class->host, '-p',
    $class->port, '-U',
    'postgres', '-d',
    $class->database, '-c',
    "BEGIN; SELECT FROM gan_worker WHERE worker = $worker FOR UPDATE", '-c',
    'SELECT pg_sleep(120)'
);
ok $class->poll_until(
    q{SELECT count(*) > 0 FROM pg_stat_activity
        WHERE wait_event_type = 'Lock'
        AND query LIKE '%gan_claim%'}, 't', 30
    ),
    'a claim hangs';
syswrite $narrow->{pty}, "\x03";
sleep 1;
ok !defined status_of($narrow), 'the first Ctrl-C waits for its answer';
my $asked = time;
syswrite $narrow->{pty}, "\x03";
ok shows($narrow, undef, 20), 'the second one ends the program';
is status_of($narrow) >> 8, 130, 'with the status of an interruption';
cmp_ok time - $asked, '<', 5, 'at once';
$class->signal($blocker, 'TERM');
$class->psql("SELECT gan_stop($show)");

# ---- room for others: battery, quiet hours, priority, share of the time
spew("$power/AC/type", "Mains\n");
spew("$power/BAT0/$_->[0]", "$_->[1]\n") for [ 'type', 'Battery' ], [ 'status', 'Discharging' ];
sub plug { spew("$power/AC/online", $_[0]) }
plug(0);
my $long = $class->create_run(
    'long',
    target_iterations => 1,
    units_per_iteration => 1,
    images_per_unit => 6000,
    batch => 40,
    image_size => 64,
    channels => 3,
    generator_features => 32,
    discriminator_features => 32,
    lease_seconds => 60
);
$class->psql("SELECT gan_start($long)");
my @long = ({ env => { GANN_POWER_SUPPLY => $power } }, 'ann', '--run', 'long', '--nice', '2');
my $resting = $class->worker(@long, '--max-cpu', '20');
ok $class->wait_for_log($resting, qr/^resting until the machine is plugged in \(--on-battery/m, 30),
    'on battery the worker rests, and says what to do';
is $class->psql("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $long"), 'pending',
    'without a unit';
plug(1);
ok $class->poll_until("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $long",
    'claimed', 30),
    'plugged in, it continues';
is getpriority(0, $resting), getpriority(0, 0) + 2 > 19 ? 19 : getpriority(0, 0) + 2,
    '--nice lowers the priority';

# The share of the time that the computing thread works, of the time in which the machine lets it.
sub threads {
    my ($pid) = @_;
    return map {
        my ($thread) = m{(\d+)/schedstat$};
        my ($cpu, $waited) = split ' ', slurp($_);
        $thread == $pid ? () : ($thread => [ $cpu / 1e9, $waited / 1e9, time ])
    } glob "/proc/$pid/task/*/schedstat";
}

sub busy {
    my ($pid) = @_;
    for (1 .. 20) {
        my %first = threads($pid);
        sleep 5;
        my %last = threads($pid);
        my ($share, $most) = (0, 0.05);    # a thread that has only just begun tells nothing
        for my $thread (grep { $last{$_} && $first{$_}[0] > 0.05 } keys %first) {
            my ($cpu, $waited, $wall) = map { $last{$thread}[$_] - $first{$thread}[$_] } 0 .. 2;
            ($share, $most) = ($cpu / ($wall - $waited), $cpu) if $cpu > $most;
        }
        return $share if $share;
    }
    return -1;
}
my $share = busy($resting);
ok $share > 0 && $share < 0.45,
    sprintf('--max-cpu 20: the thread works %.0f %% of the time', 100 * $share);
plug(0);
ok $class->wait_for_log($resting, qr/giving unit \d+ back for somebody else to compute: resting/, 30),
    'unplugged, it gives up a unit that would take long';
ok $class->poll_until("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $long",
    'pending', 10),
    'at once';
my $diligent = $class->worker(@long, '--name', 'diligent', '--on-battery');
ok $class->poll_until("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $long",
    'claimed', 30),
    '--on-battery works all the same';
$share = busy($diligent);
cmp_ok $share, '>', 0.6,
    sprintf('without --max-cpu the thread works %.0f %% of the time', 100 * $share);
$class->signal($resting, 'INT');
$class->signal($diligent, 'HUP') for 1, 2;
is $class->wait_for($_, 30), 0, 'Ctrl-C ends one, its closed terminal the other'
    for $resting, $diligent;
is $class->psql("SELECT string_agg(state, '') FROM gan_work_unit WHERE run = $long"), 'pending',
    'which gives its unit back';
my ($minute, $hour) = (localtime)[ 1, 2 ];
my @hours = map { sprintf '%02d:%02d', $_ / 60 % 24, $_ % 60 } 60 * $hour + $minute + 1435,
    60 * $hour + $minute + 30;
my $quiet = $class->worker('ann', '--run', 'long', '--quiet-hours', join '-', @hours);
ok $class->wait_for_log($quiet, qr/^resting until $hours[1]: these are the quiet hours$/m, 30),
    'in quiet hours the worker rests';
$class->signal($quiet, 'INT');
is $class->wait_for($quiet, 30), 0, 'until it is ended';
$class->psql("SELECT gan_stop($long)");

# ---- where results are compared, minibatches are the run's
my $compared = $class->create_run(
    'compared',
    target_iterations => 1,
    audit_minimum => 0.05,
    batch => 8,
    images_per_unit => 16
);
$class->psql("SELECT gan_start($compared)");
my $stubborn = $class->worker('ann', '--run', 'compared', '--batch', 4);
is $class->wait_for($stubborn, 60), 0,
    'a run with spot checks is done by who asks for another minibatch';
like $class->log_of($stubborn),
    qr/--batch 4 is ignored: this run's minibatches have 8 images, for everybody\.\nLeave out --batch\./,
    'and is told that it is ignored';

# ---- --check
my $check = $class->create_run(
    'check',
    dataset_images => 60000,
    dataset_digest => "(SELECT dataset_digest FROM gan_run WHERE run = $run)"
);

sub checked {
    my ($connect, @more) = @_;
    my %opt = ref $more[0] ? %{ shift @more } : ();
    ($status, $output) = $class->run({ timeout => 120, %opt },
        @more, $program, $connect, '--data', $class->data, '--run', 'check', '--check');
    return join ' ', map { /^(\w+) +(ok|NOT OK)/ ? "$1:$2" : () } split /\n/, $output;
}
is checked($ann),
    'connection:ok TLS:ok role:ok clock:ok run:ok link:ok dataset:ok speed:ok credit:ok' =~
    s/role:ok clock:ok/clock:ok role:ok/r, '--check: a table in which all is fine';
is $status, 0, 'with status 0';
like $output, qr/^clock +ok +as the server's$/m, 'the clock';
like $output, qr/^speed +ok +[\d.]+ images\/s.*\n(?s:.*)^credit +ok +about \d+ images an hour/m,
    'images a second, and the credit to be expected in an hour';
SKIP: {
    skip 'faketime is not installed', 2 if system('command -v faketime >/dev/null');
    like checked($ann, { env => { FAKETIME_DONT_FAKE_MONOTONIC => 1 } }, 'faketime', '-f',
        '-3600s'), qr/clock:NOT OK role:ok/, 'a clock that is wrong';
    like $output, qr/^clock +NOT OK (59 min|1 h 0 min) behind the server's\n +Set the clock/m,
        'by how much, and the remedy';
}
$class->psql("CREATE ROLE passer LOGIN PASSWORD 'secret'");
like checked($class->uri('passer', 'secret')), qr/role:NOT OK run:NOT OK/,
    'a login that is no student\'s';
is $status, 2, 'with status 2';
$class->psql('REVOKE EXECUTE ON FUNCTION gan_fetch_weights FROM gan_student');
like checked($ann), qr/link:NOT OK/, 'weights that do not come';
$class->psql('GRANT EXECUTE ON FUNCTION gan_fetch_weights TO gan_student');
{
    local $class->{data_file} = $file;
    like checked($ann), qr/dataset:NOT OK/, 'another dataset';
    like $output, qr/Get the same images as the others/, 'and its remedy';
}

# ---- TLS
my $tls = "$folder/tls";
mkdir $tls;

sub openssl {
    system(join ' ', 'openssl', @_, ">>$folder/openssl.log 2>&1") == 0
        or die 'openssl: ' . slurp("$folder/openssl.log");
}
for my $ca ('class', 'foreign') {
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=$ca CA' -keyout $tls/$ca.key -out "
        . "$tls/$ca.crt"
    );
}
spew("$tls/names", 'subjectAltName = IP:127.0.0.1');
openssl(
    "req -newkey rsa:2048 -nodes -subj /CN=server -keyout $tls/server.key -out $tls/server.csr");
openssl(
    "x509 -req -in $tls/server.csr -CA $tls/class.crt -CAkey $tls/class.key -CAcreateserial "
    . "-days 2 -extfile $tls/names -out $tls/server.crt"
);
chown((getpwnam 'postgres')[ 2, 3 ], "$tls/server.key", "$tls/server.crt") if $> == 0;
chmod 0600, "$tls/server.key";
$class->configure(
    "ssl = on",
    "ssl_cert_file = '$tls/server.crt'",
    "ssl_key_file = '$tls/server.key'"
);
ok $class->poll_until(q{SHOW ssl}, 'on', 20), 'the server has a certificate';
my $verify = "$ann?sslmode=verify-full&sslrootcert=";
like checked("$verify$tls/class.crt"), qr/^connection:ok TLS:ok /,
    'sslmode=verify-full works with the class\'s CA';
like $output, qr/^TLS +ok +TLSv1\.[23], the server's certificate was checked$/m, 'and says so';
like checked("$verify$tls/foreign.crt"), qr/^connection:NOT OK/,
    'it refuses a server whose certificate is of another CA';
like $output, qr/certificate verify failed/, 'with the reason';
like checked($verify =~ s/127\.0\.0\.1/localhost/r . "$tls/class.crt"), qr/^connection:NOT OK/,
    'it refuses a server of another name';
like $output, qr/does not match host name "localhost"/, 'with the reason';
my $secure = $class->create_run('secure', target_iterations => 1, units_per_iteration => 1);
$class->psql("SELECT gan_start($secure)");
my $safe = $class->start_background({ name => 'secure' },
    $program, "$verify$tls/class.crt", '--data', $class->data, '--run', 'secure', '--once');
ok $class->poll_until("SELECT iteration FROM gan_run WHERE run = $secure", '1', 60),
    'and a unit is done over it';
is $class->wait_for($safe, 30), 0, 'to the end of the run';
my $wrong = $class->start_background({ name => 'wrong-ca' },
    $program, "$verify$tls/foreign.crt", '--data', $class->data, '--run', 'secure', '--once');
ok $class->wait_for_log($wrong, qr/certificate verify failed/, 30),
    'a worker shows why it does not connect';
$class->signal($wrong, 'INT');
$class->wait_for($wrong, 30);
$class->configure('ssl = off');
SKIP: {
    my ($address) = grep { /^\d+\.\d+\.\d+\.\d+$/ && !/^127\./ } split ' ', `hostname -I`;
    skip 'this machine has no address but the loopback\'s', 2 unless $address;
    open my $hba, '>>', "$class->{data}/pg_hba.conf" or die "pg_hba.conf: $!";
    print $hba "host all all all scram-sha-256\n";
    close $hba or die "pg_hba.conf: $!";
    $class->psql('SELECT pg_reload_conf()');
    ok $class->poll_until(q{SHOW ssl}, 'off', 20), 'a server without TLS';
    like checked($ann =~ s/127\.0\.0\.1/$address/r), qr/^connection:ok TLS:NOT OK/,
        'over a network that is not fine';
}

# ---- without a server: the same numbers, bit for bit
my %same = (
    local_steps => 3,
    batch => 8,
    images_per_unit => 'NULL',
    units_per_iteration => 1,
    target_iterations => 3,
    seed => 7
);
my $twin = $class->create_run('twin', %same);
$class->psql("SELECT gan_start($twin)");
my $student = $class->worker('ann', '--run', 'twin');
ok $class->poll_until("SELECT iteration FROM gan_run WHERE run = $twin", '3', 60),
    'a run of local steps with one worker';
spew("$folder/twin.safetensors", pack 'H*',
    $class->psql("SELECT encode(gan_export($twin), 'hex')"));
my @local = (
    '--data', $class->data,
    qw(--image-size 32 --channels 1 --latent 16 --features 8 --seed 7 --batch 8 --local-steps 3 --learning-rate 0.0002)
);
($status, $output) =
    $class->run($alone, @local, '--iterations', 3, '--save-every', 2, '--out', "$folder/l1");
is $status, 0, 'the same without a server' or diag $output;
like $output, qr{^iteration 2/3  D \d+\.\d\d  G \d+\.\d\d  [\d.]+ images/s}m,
    'it shows its progress';
my $checkpoint = "$folder/l1/checkpoint.safetensors";
ok numbers($checkpoint) eq numbers("$folder/twin.safetensors"),
    'has the same weights and running statistics, bit for bit';
is join(' ', map {s{.*/}{}r} glob "$folder/l1/*"),
    'checkpoint.safetensors samples-000002.png samples-000003.png',
    'and leaves a checkpoint and sheets';
my $kept = slurp($checkpoint);
($status, $output) = $class->run($alone, @local, '--iterations', 3, '--out', "$folder/l1");
is $status, 2, 'a second training does not begin over the first one';
like $output,
    qr{\Q$checkpoint\E exists already and would be overwritten\.\nContinue from it with --resume},
    'and says how to continue';
ok slurp($checkpoint) eq $kept, 'the checkpoint is unchanged';

# interrupted and resumed
my $trainer = $class->start_background(
    { name => 'local' },
    'sh', '-c', 'trap "" HUP; exec "$0" "$@"',
    $alone, @local, '--iterations', 100000, '--save-every', 100000, '--out', "$folder/l2"
);
ok $class->wait_for_log($trainer, qr{^iteration 2/100000}m, 60), 'a long training';
$class->signal($trainer, 'HUP');
my ($at_hangup) = $class->log_of($trainer) =~ m{.*^iteration (\d+)/}ms;
ok $class->wait_for_log($trainer, qr{^iteration @{[$at_hangup + 5]}/100000}m, 60),
    'under nohup it continues when its terminal is closed';
$class->signal($trainer, 'INT');
is $class->wait_for($trainer, 30), 0, 'Ctrl-C ends it';
my ($reached) = $class->log_of($trainer) =~ /^iteration (\d+): wrote/m;
like $class->log_of($trainer),
    qr{continue with: gan_local --resume $folder/l2/checkpoint\.safetensors}, 'with a checkpoint';
my $end = $reached + 2;
($status, $output) =
    $class->run($alone, '--data', $class->data, '--resume', "$folder/l2/checkpoint.safetensors",
    '--iterations', $end, '--out', "$folder/l2");
is $status, 0, 'from which it continues' or diag $output;
$class->run($alone, @local, '--iterations', $end, '--out', "$folder/l3");
ok numbers("$folder/l2/checkpoint.safetensors") eq numbers("$folder/l3/checkpoint.safetensors"),
    "to the same bits after $end iterations";
($status, $output) =
    $class->run($alone, '--data', $file, '--resume', $checkpoint, '--iterations', 4, '--out',
    "$folder/l2");
is $status, 2, 'other images are refused';
like $output, qr/are not the 60000 images that the checkpoint was trained on/, 'and why';

# What is trained survives a folder that can't be written, and a battery: an iteration that would
# take long is given up, and done later.
plug(1);
my $careful = $class->start_background(
    { name => 'careful', env => { GANN_POWER_SUPPLY => $power } },
    $alone,
    @local[ 0 .. 1 ],
    qw(--image-size 32 --channels 1 --latent 16 --features 16 --seed 7 --batch 32 --local-steps 60),
    '--iterations',
    100000,
    '--save-every',
    1,
    '--out',
    "$folder/l5"
);
ok $class->wait_for_log($careful, qr{^iteration 1: wrote}m, 60), 'a training that saves often';
rename "$folder/l5", "$folder/l5-away" or die $!;
ok $class->wait_for_log($careful, qr{\Q$folder\E/l5/checkpoint\.safetensors.*No such file}, 60),
    'it says that it can\'t save';
my $unsaved = () = $class->log_of($careful) =~ /^iteration \d+\/100000/mg;
ok $class->wait_for_log($careful, qr{(?:^iteration \d+/100000.*\n(?s:.*?)){@{[$unsaved + 1]}}}m,
    60),
    'and continues';
rename "$folder/l5-away", "$folder/l5" or die $!;
plug(0);
ok $class->wait_for_log($careful, qr{^resting until the machine is plugged in}m, 30),
    'unplugged, it rests within an iteration';
my $still = $class->log_of($careful);
sleep 3;
is $class->log_of($careful), $still, 'and computes nothing';
plug(1);
my ($at_rest) = $still =~ m{.*^iteration (\d+)/}ms;
ok $class->wait_for_log($careful, qr{^iteration @{[$at_rest + 1]}/100000}m, 60),
    'plugged in, it continues where it was';
$class->signal($careful, 'INT');
is $class->wait_for($careful, 30), 0, 'and ends with a checkpoint';

# into the server and on
my $joined = $class->psql(
    "SELECT gan_import('joined', pg_read_binary_file('$checkpoint'),
            '{\"target_iterations\": 5}')"
);
is $class->psql("SELECT iteration, next_position FROM gan_run WHERE run = $joined"), '3|72',
    'gan_import takes it where it was';
$class->psql("SELECT gan_start($joined)");
$student = $class->worker('ann', '--run', 'joined');
ok $class->poll_until("SELECT iteration FROM gan_run WHERE run = $joined", '5', 60),
    'the class continues with it';
($status) = $class->run(
    $alone, '--data', $class->data, '--resume', $checkpoint, '--iterations',
    5, '--out', "$folder/l4"
);
spew(
    "$folder/joined.safetensors",
    pack 'H*',
    $class->psql(
        "SELECT encode(gan_export($joined),
            'hex')"
    )
);
ok numbers("$folder/l4/checkpoint.safetensors") eq numbers("$folder/joined.safetensors"),
    'to the bits that one machine comes to';

# pictures
spew(
    "$folder/server.png",
    pack 'H*',
    $class->psql(
        "SELECT encode(gan_generate(12, 5, $twin,
            average => false), 'hex')"
    )
);
spew("$folder/seed=7.safetensors", slurp($checkpoint));    # which has a "=" as connection strings have
for my $source ([ 'a checkpoint', "$folder/seed=7.safetensors" ],
    [ 'a run', $ann, '--run', 'twin' ])
{
    my ($name, @source) = @{$source};
    ($status, $output) =
        $class->run($program, 'sample', @source, '--count', 12, '--seed', 5, '--out',
        "$folder/sample.png");
    is $status, 0, "a sheet from $name" or diag $output;
    my $difference = `/usr/bin/python3 -c "
import sys, numpy
from PIL import Image
a, b = (numpy.asarray(Image.open(f)).astype(int) for f in sys.argv[1:])
print(abs(a - b).max() if a.shape == b.shape and a.std() > 0 else 'another shape')" $folder/sample.png $folder/server.png`;
    like $difference, qr/^[01]$/, 'is the one that gan_generate draws';
}
($status, $output) = $class->run($program, 'sample', "$folder/server.png");
is $status, 2, 'a picture is no checkpoint';
like $output, qr/^Cannot use the checkpoint .*\.\nGive a checkpoint/, 'which is said';
done_testing;
