# The certificate of docs/instructor.md: its lines, run as they stand on a server as Debian makes
# it; then students see which server it is.
use strict;
use warnings;
use Test::More;
use GannTest;
use GannDebian;

my $debian = GannDebian->new or plan skip_all => 'takes root and postgresql-common';
plan skip_all => 'openssl is not installed' unless -x '/usr/bin/openssl';
sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }
my ($lines) = slurp('docs/instructor.md') =~ /^## A certificate\n.*?```sh\n(.*?)```/ms;
my $f = $debian->{folder};
is + ($debian->create)[0], 0, 'a cluster of Debian\'s';
my ($status, $output) = $debian->shell(<<~'END');
    printf '%s\n' "listen_addresses = '127.0.0.1'" "shared_preload_libraries = 'gannsfriends'" > /etc/postgresql/15/main/conf.d/class.conf
    echo 'hostssl train +gan_student,+gan_viewer all scram-sha-256' >> /etc/postgresql/15/main/pg_hba.conf
    pg_ctlcluster 15 main start
    cd / && sudo -u postgres createdb train
    END
is $status, 0, 'it runs' or diag $output;
$debian->sql('CREATE EXTENSION gannsfriends');
my ($uri) = $debian->sql(q{SELECT gan_enroll('alice', '127.0.0.1')}) =~ /^(postgresql:.*)$/m;

like $lines, qr/^san=DNS:db\.example\.org /, 'the lines begin with the server\'s name';
mkdir "$f/authority";
($status, $output) =
    $debian->shell("cd $f/authority\n" . $lines =~ s/^san=DNS:db\.example\.org/san=IP:127.0.0.1/r);
is $status, 0, 'they run' or diag $output;
is $debian->sql('SHOW ssl'), 'on', 'TLS is on';
like $debian->sql(
    q{SELECT state || finding FROM gan_doctor(everything => true) WHERE item = 'TLS'}), qr/^okon/,
    'as gan_doctor sees';
my $certificate = "$f/authority/class.crt";
$debian->sql('GRANT CONNECT ON DATABASE train TO gan_student');
like + (
    GannTest::_capture(
        {}, 'src/worker/gan_worker', "$uri?sslmode=verify-full&sslrootcert=$certificate", '--check'
    )
)[1], qr/^TLS +ok +.*TLS/m, 'a worker checks the certificate, and says so';

sub with {
    my ($options) = @_;
    my ($s, $o) = GannTest::_capture({}, '/usr/lib/postgresql/15/bin/psql',
        '-XqAtw', "$uri?$options", '-c', '\conninfo');
    return $s == 0 ? $o : "refused: $o";
}
like with("sslmode=verify-full&sslrootcert=$certificate"), qr/SSL connection/, 'psql does so, too';
$debian->shell(
    "cd $f/authority && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout "
    . "other.key -out other.crt"
);
like with("sslmode=verify-full&sslrootcert=$f/authority/other.crt"),
    qr/refused: .*certificate verify failed/s, 'another authority\'s server would be found out';
($status, $output) = $debian->shell("cd $f/authority\n$lines");
is $status, 0, 'the lines with another name' or diag $output;
like with("sslmode=verify-full&sslrootcert=$certificate"),
    qr/refused: .*server certificate for "db\.example\.org".* does not match host name "127\.0\.0\.1"/s,
    'a certificate for another name is found out';

# Whether students can come in: gan_doctor follows listen_addresses and pg_hba.conf.
like $debian->sql(q{SELECT concat_ws('|', state, finding, remedy) FROM gan_doctor()
        WHERE item = 'reach'}),
    qr/^fix\|the server listens on this machine only: no student can connect\|ALTER SYSTEM SET listen_addresses = '\*';\n-- then restart the server: sudo pg_ctlcluster 15 main restart$/,
    'a server that listens on loopback is no server for a class';
is + ($debian->shell(q{sed -i /gan_student/d /etc/postgresql/15/main/pg_hba.conf}))[0], 0,
    'the line of pg_hba.conf is taken out';
my $remedy = $debian->sql(q{SELECT pg_reload_conf(); SELECT pg_sleep(0.5); SELECT remedy
        FROM gan_doctor()
        WHERE item = 'reach'});
my ($add) = $remedy =~
    /^-- in a shell: (echo 'hostssl train \+gan_student,\+gan_viewer all scram-sha-256' \| sudo tee -a \S+pg_hba\.conf)$/m;
ok $add, 'gan_doctor has both lines to paste' or diag $remedy;
is + ($debian->shell("$add\n"))[0], 0, 'the one for the shell works as it stands';
is $debian->sql('SELECT gan_hba_lets_in()'), 't', 'and lets students in';
for my $case (
    [ 'host all all 127.0.0.0/8 scram-sha-256', 'f' ],
    [ 'host all all samehost scram-sha-256', 'f' ],
    [ 'hostssl train alice 192.0.2.0/24 scram-sha-256', 't' ],
    [ 'hostssl other all all scram-sha-256', 'f' ],
    [ 'hostnossl train all all scram-sha-256', 'f' ],
    [ "host all all all reject\nhostssl train all all scram-sha-256", 'f' ],
    [ 'hostssl train all all reject', 'f' ],
    [ 'hostssl all postgres all scram-sha-256', 'f' ],
    [ 'hostssl train +gan_student 0.0.0.0/0 scram-sha-256', 't' ]
    )
{
    $debian->shell(
        "sed -i '/^host/d' /etc/postgresql/15/main/pg_hba.conf; cat >> "
        . "/etc/postgresql/15/main/pg_hba.conf <<'END'\n$case->[0]\nEND\n"
    );
    is $debian->sql('SELECT gan_hba_lets_in()'), $case->[1],
        "students come in: $case->[1], by: " . $case->[0] =~ s/\n/ and /gr;
}

# What the doctor sets is not for the instructor: this session may be silent, and students' may not.
is $debian->sql(
    q{SELECT count(*) FROM gan_doctor_sql() AS line
        WHERE line ~ 'ALTER (SYSTEM|DATABASE)'
        AND line ~ 'idle_|temp_file_limit|log_min_error_statement|statement_timeout|lock_timeout'}
    ),
    '0', 'no limit for students is set for everybody';
like with('sslmode=require'), qr/SSL connection/, 'a student is let in';
like $debian->sql(q{SELECT string_agg(entry, ' ' ORDER BY entry) FROM gan_login_setting}),
    qr/idle_session_timeout=60s.*temp_file_limit=1GB/, 'students have theirs';
is $debian->sql('SHOW idle_session_timeout'), '0', 'the instructor has none';
done_testing;
