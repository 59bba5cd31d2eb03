# A private PostgreSQL server for one test file, and what the tests do with it.
#
#   use GannTest;
#   my $server = GannTest->new(conf => ["work_mem = '8MB'"]);
#   is($server->psql('SELECT 1'), '1');
#   my $worker = $server->start_background('src/worker/gan_worker', $server->uri('ann', 'secret'));
#   ok($server->poll_until('SELECT count(*) > 3 FROM gan_history', 't', 60));
#   $server->signal($worker, 'KILL');
#   is($server->wait_for($worker, 10), 137);
#
# Run by `prove -Itest/lib test/tap/…` from the repository's root, as root (the server then runs as
# the user postgres) or not. Whatever way the test ends, its server and the processes started here
# are stopped and the folder is removed; logs stay in build/test/.
package GannTest;

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(getcwd);
use Exporter qw(import);
use File::Basename qw(basename dirname);
use File::Copy ();
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir tempfile);
use IO::Socket::INET;
use IPC::Open3 qw(open3);
use POSIX qw(:sys_wait_h);
use Scalar::Util qw(refaddr weaken);
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(fashion_file faces_file long_run root_folder);

my $root = Cwd::abs_path(dirname(__FILE__) . '/../..');
my $logs = "$root/build/test";
my $name = basename($0) =~ s/\.t$//r =~ s/^\W+/script-/r;
my $log_mode = '>';    # of the first server's log, the next ones are added to it
my %live;    # every server object of this process, weakly

# What the caller's environment says about PostgreSQL concerns another server.
delete @ENV{
    qw(PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE
        PGOPTIONS PGSSLMODE)
};

# A signal must reach the END block below.
for my $signal (qw(HUP INT TERM)) {
    $SIG{$signal} //= sub { exit 128 + ($signal eq 'HUP' ? 1 : $signal eq 'INT' ? 2 : 15) };
}

# ---- functions

# Fashion-MNIST's training images, from Debian's dataset-fashion-mnist; undef where not installed.
sub fashion_file {
    my $file = '/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz';
    return -r $file ? $file : undef;
}

# The archive of faces that the environment names; undef where there is none.
sub faces_file {
    return $ENV{GANN_FACES};
}

# True where tests that take minutes are asked for.
sub long_run {
    return $ENV{GANN_LONG} ? 1 : 0;
}

sub root_folder {
    return $root;
}

# ---- construction

# GannTest->new(%options), all of them optional:
#   conf      => [lines of postgresql.conf]
#   database  => name of the database (train)
#   extension => 0 to leave out CREATE EXTENSION gannsfriends
#   checksums => 1 for a cluster with checksums of its pages
#   module    => a library of the extension that is used in place of the installed one (GannModule makes them)
#   durable   => 1 to have fsync on: otherwise data outlive a server's crash, but not a machine's
#   prepare   => sub ($folder) to be called before the cluster is made in $folder/data
#   wal       => folder for the WAL instead of $folder/data/pg_wal
#   env       => {NAME => value} for the server
#   standby_of => another server of this test, whose streaming standby this one is
sub new {
    my ($class, %opt) = @_;
    my $self = bless {
        conf => $opt{conf} // [],
        database => $opt{database} // 'train',
        durable => $opt{durable} // 0,
        owner => $$,
        processes => {},
    }, $class;
    _test_invariants_at_the_end();
    $live{ refaddr $self } = $self;
    weaken $live{ refaddr $self };

    $self->{bindir} = _bindir();
    $self->{folder} = tempdir('gann.XXXXXX', DIR => '/tmp', CLEANUP => 0);
    chmod 0700, $self->{folder};
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'postgres')[ 2, 3 ];
        defined $uid or croak 'there is no user postgres';
        chown $uid, $gid, $self->{folder} or croak "chown: $!";
    }
    $self->{data} = "$self->{folder}/data";
    make_path($logs);

    $self->{env} = $opt{env} // {};
    $opt{prepare}->($self->{folder}) if $opt{prepare};
    my ($status, $output) =
        $opt{standby_of} ? $self->_copy_cluster($opt{standby_of}) : $self->_make_cluster(\%opt);
    $status == 0 or croak "no cluster was made: $output";

    # Someone else may take the port between the look and the start: then another one.
    for my $try (1 .. 5) {
        $self->{port} = _free_port();
        $self->_configure;
        last if eval { $self->start; 1 };
        croak $@ if $try == 5 or $self->server_log !~ /Address already in use/;
    }

    return $self if $opt{standby_of};
    my $database = $self->{database};
    $self->psql(qq{CREATE DATABASE "$database"}, db => 'postgres') if $database ne 'postgres';
    if ($opt{extension} // 1) {
        $self->psql('CREATE EXTENSION gannsfriends CASCADE');
        $self->_use_module($opt{module} // $ENV{GANN_MODULE});
        $self->psql($ENV{GANN_MUTANT}) if $ENV{GANN_MUTANT};
    }
    return $self;
}

# The invariants of test/invariants.sql that a database breaks, a line each.
sub broken_invariants {
    my ($self, $database) = @_;
    my ($out, $err, $status) = $self->psql(
        _slurp("$root/test/invariants.sql"),
        db => $database // $self->{database},
        on_error => 'return'
    );
    return $status == 0 ? $out : "the invariants can't be looked at: $err";
}

# Tests the invariants in all databases of all servers of this test that are alive.
sub invariants_hold {
    for my $server (grep { defined && $_->{running} } values %live) {
        my @databases = eval {
            split /\n/, $server->psql(
                "SELECT datname FROM pg_database
                WHERE datallowconn
                AND datname <> 'template1' ORDER BY 1", db => 'postgres'
            );
        };
        for my $database (@databases) {
            next
                if $server->psql("SELECT count(*) FROM pg_extension WHERE extname = 'gannsfriends'",
                db => $database) eq '0';
            Test::More::is($server->broken_invariants($database),
                '', "the invariants hold in the end ($database)");
        }
    }
    return;
}

# A test file ends with done_testing: the invariants are looked at before it.
sub _test_invariants_at_the_end {
    no warnings qw(redefine once);    ## no critic
    my $done = \&Test::More::done_testing;
    *main::done_testing = sub { invariants_hold(); $done->(@_) };
    return;
}

# Lets the extension's functions be those of another library: a build with fault points, or with a
# guard left out.
sub _use_module {
    my ($self, $module) = @_;
    defined $module or return;
    my $copy = "$self->{folder}/gannsfriends.so";    # where the server may read it
    File::Copy::copy($module, $copy) or croak "$module: $!";
    chmod 0755, $copy;
    $self->psql("UPDATE pg_proc SET probin = '$copy' WHERE probin = '\$libdir/gannsfriends'");
    return;
}

sub _make_cluster {
    my ($self, $opt) = @_;
    return $self->_as_server(
        "$self->{bindir}/initdb",
        '-D',
        $self->{data},
        '-U',
        'postgres',
        '--encoding=UTF8',
        '--locale=C.UTF-8',
        '--lc-messages=C',
        '--auth-local=trust',
        '--auth-host=scram-sha-256',
        $self->{durable} ? () : '--no-sync',
        defined $opt->{wal} ? ('-X', $opt->{wal}) : (),
        $opt->{checksums} ? '--data-checksums' : ()
    );
}

sub _copy_cluster {
    my ($self, $primary) = @_;
    push @{ $self->{conf} },
        "primary_conninfo = 'host=$primary->{folder} port=$primary->{port} user=postgres'";
    return $self->_as_server("$self->{bindir}/pg_basebackup",
        '-R', '-c', 'fast', '-D', $self->{data}, '-h', $primary->host,
        '-p', $primary->port, '-U', 'postgres');
}

sub _bindir {
    return '/usr/lib/postgresql/15/bin'
        if !$ENV{PG_CONFIG} && -x '/usr/lib/postgresql/15/bin/initdb';
    my $config = $ENV{PG_CONFIG} // 'pg_config';
    chomp(my $bindir = `$config --bindir`);
    return $bindir;
}

sub _free_port {
    for (1 .. 200) {
        my $port = 20000 + int rand 10000;
        my $socket = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1',
            LocalPort => $port,
            Listen => 1
        ) or next;
        close $socket;
        return $port;
    }
    croak 'no free port found';
}

sub _configure {
    my $self = shift;
    my @conf = (
        "listen_addresses = '127.0.0.1'", "port = $self->{port}",
        "unix_socket_directories = '$self->{folder}'", 'unix_socket_permissions = 0700',
        'gannsfriends.coordinator = off',    # 150_background.t turns it on: elsewhere a test says when a step is taken
        'max_connections = 50', "log_line_prefix = '%m [%p] %q%u\@%d '",
        "timezone = 'UTC'", "log_timezone = 'UTC'",
        $self->{durable} ? () : map {"$_ = off"} qw(fsync full_page_writes)
    );
    my $file = "$self->{data}/postgresql.auto.conf";
    open my $out, '>', $file or croak "$file: $!";
    print {$out} map {"$_\n"} @conf, @{ $self->{conf} };
    close $out or croak "$file: $!";
    return;
}

# ---- the server

sub port { return $_[0]{port} }
sub host { return $_[0]{folder} }    # the socket's folder, where everyone let in is trusted
sub database { return $_[0]{database} }
sub folder { return $_[0]{folder} }

# A connection string for TCP with a password, as a worker's owner types it.
sub uri {
    my ($self, $user, $password, $database) = @_;
    my $login = _percent($user);
    $login .= ':' . _percent($password) if defined $password;
    return sprintf 'postgresql://%s@127.0.0.1:%d/%s', $login, $self->{port},
        _percent($database // $self->{database});
}

sub _percent {
    my $text = shift;
    utf8::encode($text) if utf8::is_utf8($text);
    return $text =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger;
}

sub start {
    my $self = shift;
    my ($status, $output) =
        $self->_as_server($self->_pg_ctl, '-l', "$self->{folder}/server.log", 'start');
    $status == 0 or croak "the server did not start: $output" . $self->server_log;
    $self->{running} = 1;
    return;
}

# stop('fast'), stop('immediate') as a crash, stop('smart')
sub stop {
    my ($self, $mode) = @_;
    $self->{running} or return;
    $mode //= 'fast';
    my ($status, $output) = $self->_as_server($self->_pg_ctl, '-m', $mode, 'stop');
    $status == 0 or croak "the server did not stop: $output";
    $self->{running} = 0;
    return;
}

# Starts the server where its postmaster has ended by itself, as a service manager would.
sub restart_if_ended {
    my $self = shift;
    my ($status) = $self->_as_server("$self->{bindir}/pg_ctl", '-D', $self->{data}, 'status');
    $self->start if $status != 0;
    return $status != 0;
}

# Makes a standby the primary.
sub promote {
    my $self = shift;
    my ($status, $output) = $self->_as_server($self->_pg_ctl, 'promote');
    $status == 0 or croak "the standby was not promoted: $output" . $self->server_log;
    return;
}

sub restart {
    my ($self, $mode) = @_;
    $self->stop($mode);
    $self->start;
    return;
}

# More lines for postgresql.conf, read again at once (without a restart).
sub configure {
    my ($self, @lines) = @_;
    push @{ $self->{conf} }, @lines;
    $self->_configure;
    $self->psql('SELECT pg_reload_conf()', db => 'postgres') if $self->{running};
    return;
}

sub server_log {
    my $self = shift;
    return _slurp("$self->{folder}/server.log");
}

sub _pg_ctl {
    my $self = shift;
    return ("$self->{bindir}/pg_ctl", '-D', $self->{data}, '-t', 60, '-w', '-s');
}

# Runs a command as the server's user, from /: the current folder may be closed to that user.
sub _as_server {
    my ($self, @command) = @_;
    unshift @command, qw(runuser -u postgres --) if $> == 0;
    return _capture({ cwd => '/', env => $self->{env} }, @command);
}

# ---- SQL

# psql($sql, %options): what the statements print, unaligned, without the last line feed.
#   user     => login role (postgres)       password => connects by TCP with it
#   db       => database
#   on_error => 'die' (default), 'ignore', or 'return': (output, errors, exit status)
#   keep_going => 1 to go on with the next statement after an error
#   verbosity => psql's VERBOSITY
sub psql {
    my ($self, $sql, %opt) = @_;
    my $on_error = $opt{on_error} // 'die';
    my ($out, $err, $status) = $self->_psql($sql, %opt);
    return ($out, $err, $status) if $on_error eq 'return';
    if ($status != 0 && $on_error eq 'die') {
        croak "psql (exit status $status): $err\nin: $sql\n";
    }
    return $out;
}

# psql_fails($sql, %options): (SQLSTATE, message, all that psql wrote about it) of the error that
# must come. ('00000', '') where none does. ('08001', message) where the connection was refused:
# psql does not tell the server's SQLSTATE then.
sub psql_fails {
    my ($self, $sql, %opt) = @_;
    my ($out, $err, $status) = $self->_psql($sql, %opt, verbosity => 'verbose');
    return ('00000', '', $err) if $status == 0;
    if ($err =~ /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5}): (.*?)\n(?=[A-Z ]+:\s|LINE \d|\z)/s) {
        return ($1, $2, $err);
    }
    chomp(my $message = $err);
    return ('08001', $message =~ s/^psql: error: //r, $err);
}

sub _psql {
    my ($self, $sql, %opt) = @_;
    my %env = (PGCONNECT_TIMEOUT => 20, PGAPPNAME => $name, PGCLIENTENCODING => 'UTF8');
    $env{PGPASSWORD} = $opt{password} if defined $opt{password};
    my @command = (
        "$self->{bindir}/psql", '-X',
        '-A', '-t',
        '-q', '-w',
        '-v', 'ON_ERROR_STOP=' . ($opt{keep_going} ? 0 : 1),
        '-v', 'VERBOSITY=' . ($opt{verbosity} // 'default'),
        '-h', defined $opt{password} ? '127.0.0.1' : $self->{folder},
        '-p', $self->{port},
        '-U', $opt{user} // 'postgres',
        '-d', $opt{db} // $self->{database},
        '-f', '-'
    );
    my ($status, $out, $err) = _capture({ input => $sql, env => \%env, split => 1 }, @command);
    $out =~ s/\n\z//;
    return ($out, $err, $status);
}

# Asks again until the answer is $expected (a string, or a pattern made by qr). True when it came
# within $timeout seconds (30). Errors are answers to be asked again: the server may be restarting.
sub poll_until {
    my ($self, $sql, $expected, $timeout, %opt) = @_;
    $expected //= 't';
    my $until = time + ($timeout // 30);
    my $last = '';
    while (1) {
        my ($out, $err, $status) = $self->_psql($sql, %opt);
        $last = $status == 0 ? $out : $err;
        return 1 if $status == 0 && (ref $expected ? $out =~ $expected : $out eq $expected);
        last if time >= $until;
        sleep 0.1;
    }
    Test::More::diag("waited in vain for $expected from: $sql\nthe last answer: $last");
    return 0;
}

# ---- other processes

# start_background([{options},] command…): its pid. Its output goes to
# build/test/TEST-N-COMMAND.log.
#   env => {NAME => value}, cwd => folder, user => run as this user (needs root), name => for the log
sub start_background {
    my ($self, @command) = @_;
    my %opt = ref $command[0] ? %{ shift @command } : ();
    my $log = sprintf '%s/%s-%d-%s.log', $logs, $name, ++$self->{started},
        $opt{name} // basename($command[0]);
    @command = ('runuser', '-u', $opt{user}, '--', @command) if defined $opt{user};
    my $pid = _spawn({ %opt, out => $log, err => $log }, @command);
    $self->{processes}{$pid} = { log => $log };
    return $pid;
}

sub log_file {
    my ($self, $pid) = @_;
    return $self->_process($pid)->{log};
}

sub log_of {
    my ($self, $pid) = @_;
    return _slurp($self->log_file($pid));
}

sub is_running {
    my ($self, $pid) = @_;
    return defined $self->wait_for($pid, 0) ? 0 : 1;
}

# signal($pid, 'TERM'): false where the process has ended.
sub signal {
    my ($self, $pid, $signal) = @_;
    return 0 if !$self->is_running($pid);
    return kill $signal, $pid;
}

# The exit status as a shell tells it (128 + N after signal N), undef where the process continues
# after $timeout seconds (30).
sub wait_for {
    my ($self, $pid, $timeout) = @_;
    my $process = $self->_process($pid);
    my $until = time + ($timeout // 30);
    while (!defined $process->{status}) {
        if (waitpid($pid, WNOHANG) == $pid) {
            $process->{status} = _shell_status($?);
            last;
        }
        return if time >= $until;
        sleep 0.02;
    }
    return $process->{status};
}

# Waits until the process's log shows a pattern; false at the end of the time or of the process.
sub wait_for_log {
    my ($self, $pid, $pattern, $timeout) = @_;
    my $until = time + ($timeout // 30);
    while (1) {
        my $ended = !$self->is_running($pid);    # asked first: the log is then complete
        return 1 if $self->log_of($pid) =~ $pattern;
        last if $ended || time >= $until;
        sleep 0.05;
    }
    Test::More::diag("waited in vain for $pattern in:\n" . $self->log_of($pid));
    return 0;
}

# run(command…), with start_background's options before it and timeout => seconds (60) among them:
# (exit status, output and errors); 124 where it had to be killed.
sub run {
    my ($self, @command) = @_;
    my %opt = ref $command[0] ? %{ $command[0] } : ();
    my $pid = $self->start_background(@command);
    my $status = $self->wait_for($pid, $opt{timeout} // 60);
    if (!defined $status) {
        $self->signal($pid, 'KILL');
        $self->wait_for($pid, 10);
        $status = 124;
    }
    return ($status, $self->log_of($pid));
}

sub _process {
    my ($self, $pid) = @_;
    return $self->{processes}{$pid} // croak "process $pid was not started here";
}

# ---- plumbing

sub _slurp {
    my $file = shift;
    open my $in, '<', $file or return '';
    local $/ = undef;
    return scalar(<$in>) // '';
}

sub _shell_status {
    my $status = shift;
    return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

# Starts a command. Options: in, out, err => files (/dev/null); env, cwd.
sub _spawn {
    my ($opt, @command) = @_;
    my $out = $opt->{out} // '/dev/null';
    my $err = $opt->{err} // '/dev/null';
    open my $in_fh, '<', $opt->{in} // '/dev/null' or croak "$opt->{in}: $!";
    open my $out_fh, '>', $out or croak "$out: $!";
    my $err_fh;
    if ($err ne $out) {
        open $err_fh, '>', $err or croak "$err: $!";
    }
    my $here = getcwd();
    if (defined $opt->{cwd}) {
        chdir $opt->{cwd} or croak "$opt->{cwd}: $!";
    }
    my $pid = do {
        local %ENV = (%ENV, %{ $opt->{env} // {} });

        # A test's handlers do not go with it, and what it ignores the command should not.
        local @SIG{qw(HUP INT TERM PIPE)} = ('DEFAULT') x 4;
        eval {
            open3(
                '<&' . fileno($in_fh),
                '>&' . fileno($out_fh),
                '>&' . fileno($err_fh // $out_fh), @command
            );
        };
    };
    my $failure = $@;
    chdir $here if defined $opt->{cwd};
    defined $pid or croak "cannot run $command[0]: $failure";
    return $pid;
}

# Runs a command to its end: (exit status, output[, errors]). Options: input, env, cwd, and split to
# have the errors apart.
sub _capture {
    my ($opt, @command) = @_;
    my $folder = tempdir('gann.XXXXXX', DIR => '/tmp', CLEANUP => 0);
    my $err = $opt->{split} ? "$folder/err" : "$folder/out";
    my $in = '/dev/null';
    if (defined $opt->{input}) {
        $in = "$folder/in";
        open my $fh, '>', $in or croak "$in: $!";
        my $text = $opt->{input};
        utf8::encode($text) if utf8::is_utf8($text);
        print {$fh} $text, "\n";
        close $fh or croak "$in: $!";
    }
    my $status = do {
        local $?;
        my $pid = _spawn({ %{$opt}, in => $in, out => "$folder/out", err => $err }, @command);
        1 while waitpid($pid, 0) < 0 && $!{EINTR};
        _shell_status($?);
    };
    my @result = ($status, _slurp("$folder/out"), $opt->{split} ? _slurp($err) : ());
    remove_tree($folder);
    return @result;
}

# ---- the end

# Once for every object, in the process that made it. $? stays what the test made of it.
sub _close {
    my $self = shift;
    return if $self->{closed}++ || $self->{owner} != $$;
    local ($?, $@, $!);
    local $SIG{$_} = 'IGNORE' for qw(HUP INT TERM);
    delete $live{ refaddr $self };

    my $open = $self->{processes};
    my @running = grep { $self->is_running($_) } keys %{$open};
    kill 'TERM', @running if @running;
    my $until = time + 5;
    for my $pid (@running) {
        my $rest = $until - time;
        next if defined $self->wait_for($pid, $rest > 0 ? $rest : 0);
        kill 'KILL', $pid;
        $self->wait_for($pid, 10);
    }

    if (-e "$self->{data}/postmaster.pid") {
        my ($pid) = _slurp("$self->{data}/postmaster.pid") =~ /\A(\d+)/;
        $self->{running} = 1;
        if (!eval { $self->stop('fast'); 1 } && !eval { $self->stop('immediate'); 1 } && $pid) {

            # A stale file may name a process that is not ours.
            my ($status) =
                $self->_as_server("$self->{bindir}/pg_ctl", '-D', $self->{data}, 'status');
            kill 'KILL', $pid if $status == 0;
        }
    }
    my $log = $self->server_log;
    if ($log ne '') {
        if (open my $out, $log_mode, "$logs/$name.server.log") {
            $log_mode = '>>';
            print {$out} $log;
            close $out;
        }
    }
    remove_tree($self->{folder}) if $self->{folder};
    return;
}

sub DESTROY {
    my $self = shift;
    $self->_close;
    return;
}

END {
    local $?;
    $_->_close for grep {defined} values %live;
}

1;
