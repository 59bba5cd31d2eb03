# The README's lines for the instructor, one after the other, on a server as Debian makes it: the
# server coordinates a run by itself, then pg_cron another one, with nobody else calling the
# coordinator. Without cron.use_background_workers, which Debian's pg_hba.conf makes necessary,
# gan_doctor says what is wrong and what helps.
use strict;
use warnings;
use Test::More;
use GannTest;
use GannDebian;
use Time::HiRes qw(sleep time);

plan skip_all => 'postgresql-15-cron is not installed'
    unless -e '/usr/share/postgresql/15/extension/pg_cron.control';
plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $debian = GannDebian->new or plan skip_all => 'takes root and postgresql-common';
sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }

sub poll {
    my ($sql, $wanted, $seconds) = @_;
    my $end = time + $seconds;
    my $got;
    do {
        $got = eval { $debian->sql($sql) } // $@;
        return $got if $got =~ $wanted;
        sleep 0.5;
    } while time < $end;
    return $got;
}

# The lines. What needs a network or builds was done before this test; the server listens on
# loopback alone, without TLS where Debian has no certificate.
my ($section) = slurp('README.md') =~ /^## Instructor: ten lines\n(.*?)^## /ms;
my ($shell, $sql, $cron_shell, $cron_sql) =
    $section =~ /```sh\n(.*?)```.*?```sql\n(.*?)```.*?```sh\n(.*?)```.*?```sql\n(.*?)```/s;
my %left_out = (
    clone => qr/^git clone /,
    deps => qr{^scripts/deps\.sh},
    build => qr/^make$/,
    install => qr/^sudo make install$/,
    cron => qr/^sudo apt-get install -y postgresql-15-cron/,
    cluster => qr/^sudo pg_createcluster 15 main\b/,
    psql => qr/^sudo -u postgres psql train\b/
);
my %seen;

sub to_run {
    my ($text) = @_;
    my @kept;
    LINE: for my $line (split /\n/, $text) {
        for (keys %left_out) { $seen{$_}++, next LINE if $line =~ $left_out{$_} }
        push @kept, $line;
    }
    return join("\n", @kept) . "\n";
}
($shell, $cron_shell) = map { to_run($_) } $shell, $cron_shell;
is $seen{$_}, 1, "the README has the line '$_'" for sort keys %left_out;
is $shell =~ s/^listen_addresses = '\*'$/listen_addresses = '127.0.0.1'/mr,
    $shell =~ s/'\*'/'127.0.0.1'/r, 'and the line with the addresses';
$shell =~ s/'\*'/'127.0.0.1'/;

my ($digest) =
    `src/worker/gan_worker --check --connect 'postgresql://nobody\@127.0.0.1:1/none' --data @{[GannTest::fashion_file()]}`
    =~ /digest ([0-9a-f]{64})/;
ok $digest, 'gan_worker --check tells the dataset\'s digest without a server';
my ($status, $output) = $debian->create;
is $status, 0, 'a cluster of Debian\'s' or diag $output;
like slurp("$debian->{folder}/etc/15/main/pg_hba.conf"),
    qr/^local\s+all\s+all\s+peer\nhost|^local\s+all\s+postgres\s+peer/m,
    'with Debian\'s pg_hba.conf';

($status, $output) = $debian->shell($shell);
is $status, 0, 'the README\'s commands' or diag $output, slurp("$debian->{folder}/server.log");
my $small =
    "target_iterations => 20, channels => 1, image_size => 32, latent => 16, generator_features "
    . "=> 8, discriminator_features => 8, local_steps => 0, images_per_unit => 20, "
    . "units_per_iteration => 2, batch => 8, seed => 7, audit_minimum => 0, dataset_images => "
    . "60000, dataset_digest => '\\x$digest'";
$sql =~ s/gan_create_run\('faces'[^;]*\);/gan_create_run('faces', $small);/;
$sql =~ s/'db\.example\.org'/'127.0.0.1'/;
my $answer = $debian->sql($sql);
my ($uri) = $answer =~ m{^(postgresql://alice:\S+)$}m;
ok $uri, 'the README\'s statements; alice has a connection string';
my $doctor =
    q{SELECT state, finding FROM gan_doctor(everything => true) WHERE item = 'coordinator'};
is $debian->sql($doctor), 'ok|the server coordinates by itself', 'gan_doctor says who coordinates';

sub work {
    my ($run) = @_;
    return +(
        GannTest::_capture(
            { env => {} },
            'timeout', '150', 'src/worker/gan_worker', '--once', '--run', $run, '--connect', $uri,
            '--data', GannTest::fashion_file()
        )
    )[0];
}
is work('faces'), 0, 'the worker ends when the run does';
is $debian->sql('SELECT state, iteration FROM gan_run'), 'finished|20',
    'the server alone drove the run to its end';

# With pg_cron: first as people do it who read pg_cron's page and not ours.
($status, $output) = $debian->shell($cron_shell =~ s/^cron\.use_background_workers = on\n//mr);
is $status, 0, 'the README\'s commands for pg_cron, but for one'
    or diag $output, slurp("$debian->{folder}/server.log");
$debian->sql($cron_sql);
$debian->sql("SELECT gan_create_run('again', $small); SELECT gan_start()");
is $debian->sql($doctor), q{warn|pg_cron's job 1 has not run yet; it does so within a minute},
    'a job that was just made is not called broken';
like poll(q{SELECT state, finding, remedy FROM gan_doctor() WHERE item = 'coordinator'},
    qr/^fix/, 90),
    qr/^fix\|pg_cron's job 1 fails: connection failed\|ALTER SYSTEM SET cron\.use_background_workers = on;\n-- then restart the server: sudo pg_ctlcluster 15 main restart$/m,
    'a minute later gan_doctor says that the job fails, and what helps';

# What it says, done: the statement by SQL, the command in the shell.
my ($statement, $command) = $debian->sql(q{SELECT remedy FROM gan_doctor()
        WHERE item = 'coordinator'}) =~ /^(ALTER SYSTEM.*;)\n-- then restart the server: (.*)$/m;
$debian->sql($statement);
($status, $output) = $debian->shell("$command\n");
is $status, 0, "the server is restarted: $command" or diag $output;
is work('again'), 0, 'the worker ends when the run does';
is $debian->sql(q{SELECT state, iteration FROM gan_run WHERE name = 'again'}), 'finished|20',
    'pg_cron alone drove the run to its end';
is $debian->sql(q{SELECT count(*) > 0, bool_and(status IN ('running', 'succeeded'))
        FROM cron.job_run_details
        WHERE start_time > (SELECT pg_postmaster_start_time())}),
    't|t', 'its job ran, and did not fail';
is $debian->sql(q{SELECT state FROM gan_doctor(everything => true) WHERE item = 'coordinator'}),
    'ok', 'and gan_doctor is content with it';

# All that the doctor prints for this server: commands with paths that are there.
my $commands = $debian->sql('SELECT gan_doctor_sql()');
like $commands,
    qr{^-- in a shell: sudo pg_ctlcluster 15 main stop\n--   sudo -u postgres (/\S+/pg_checksums) --enable -D \Q$debian->{folder}\E/data\n--   sudo pg_ctlcluster 15 main start$}m,
    'checksums are switched on by three commands';
($status, $output) = $debian->shell(
    join '',
    map { s/^-- (?:in a shell:)? *//r . "\n" }
        $commands =~ /^(-- .*(?:pg_ctlcluster 15 main st|pg_checksums).*)$/mg
);
is $status, 0, 'which work as they stand' or diag $output;
is $debian->sql('SHOW data_checksums'), 'on', 'and did it';
done_testing;
