# Servers as people have them: encodings, locales, a schema of its own, settings that somebody made
# for a whole database. In each, a class is made, its workers train ten iterations, and the texts of
# people who aren't English come back as they were. What can't work is refused when the extension is
# created.
use strict;
use warnings;
use utf8;
use Encode qw(decode encode);
use Test::More;
use Time::HiRes qw(time);
use GannClass;
use GannTest qw(long_run);

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output);

# Locales of this test's own, where Debian's package "locales" has their sources.
my %locale;

sub make_locales {
    my $folder = "$_[0]/locales";
    mkdir $folder;
    for my $one (
        [ 'tr_TR.UTF-8', 'tr_TR', 'UTF-8' ],
        [ 'tr_TR.ISO-8859-9', 'tr_TR', 'ISO-8859-9' ],
        [ 'de_DE.UTF-8', 'de_DE', 'UTF-8' ]
        )
    {
        my ($name, $source, $charmap) = @{$one};
        $locale{$name} = !system("localedef -i $source -f $charmap $folder/$name >/dev/null 2>&1");
    }
    symlink '/usr/lib/locale/C.utf8', "$folder/C.utf8";    # with LOCPATH set libc looks nowhere else
    chmod 0755, $folder;
    mkdir "$_[0]/elsewhere";
    chown +(getpwnam 'postgres')[ 2, 3 ], "$_[0]/elsewhere" if $> == 0;
    return;
}

my $class = GannClass->new(
    database => 'postgres',
    extension => 0,
    prepare => \&make_locales,
    conf => [ 'max_connections = 100', "listen_addresses = '127.0.0.1, ::1'" ]
);
$class->{env}{LOCPATH} = $class->folder . '/locales';
$class->restart;
my $port = $class->port;
sub text { return decode('UTF-8', $class->psql(@_)) }

sub uri {
    my ($database, $host) = @_;
    return $class->{uri}{$database} =~ s/\@127\.0\.0\.1:\d+/\@$host/r;
}

# A dataset of 64 small images.
$class->{data_file} = $class->folder . '/images-idx3-ubyte';
GannClass::write_file(
    $class->data,
    pack('N4', 0x803, 64, 28, 28) . join '',
    map { chr($_ * 37 % 251) } 1 .. 64 * 28 * 28
);
chmod 0755, $class->folder;

# ---- the scripts themselves: read in the database's encoding, and their functions' texts under
# each session's standard_conforming_strings

my @scripts = glob GannTest::root_folder() . '/sql/{install,upgrade}/*.sql';
for my $bad ([ 'a character that is not ASCII', qr/[^\x00-\x7f]/ ],
    [ "a backslash in a string that is not E'...'", qr/(?<![Ee])(?<!')'(?:[^'\\\n]|'')*+\\/ ])
{
    my ($what, $pattern) = @{$bad};
    my @found;
    for my $file (@scripts) {
        my $number = 0;
        for my $line (split /\n/, GannTest::_slurp($file)) {
            $number++;
            (my $left = $line) =~ s/--.*|\bE'(?:[^'\\]|\\.|'')*'//g;
            push @found, "$file:$number"
                if ($what =~ /ASCII/ ? $line : $left) =~ $pattern && $line !~ /^\\echo/;
        }
    }
    is join(' ', @found), '', "no script has $what";
}

# ---- what can't work

for my $encoding ('SQL_ASCII', 'EUC_JP') {
    $class->psql("CREATE DATABASE refused TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
    my ($state, $message, $all) =
        $class->psql_fails('CREATE EXTENSION gannsfriends', db => 'refused');
    is $state, '0A000', "$encoding is refused";
    like $message, qr/the encoding of database "refused" is $encoding/, 'and named';
    my ($remedy) = $all =~ /(CREATE DATABASE .*?;)/;
    $class->psql('DROP DATABASE refused');
    $class->psql($remedy);
    $class->psql('CREATE EXTENSION gannsfriends; DROP EXTENSION gannsfriends', db => 'train');
    $class->psql('DROP DATABASE train');
    pass 'the remedy, as it stands, helps';
}
is $class->psql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'gan%'"), 4,
    'nothing else was left behind';

# ---- what must

# Everything that somebody may have set for a database, the other way round.
my %hostile = (
    default_transaction_isolation => 'serializable',
    default_transaction_deferrable => 'on',
    statement_timeout => '2s',
    lock_timeout => '5ms',
    idle_in_transaction_session_timeout => '1s',
    idle_session_timeout => '3s',
    standard_conforming_strings => 'off',
    backslash_quote => 'off',
    bytea_output => 'escape',
    DateStyle => 'SQL, DMY',
    IntervalStyle => 'sql_standard',
    extra_float_digits => '-15',
    TimeZone => 'Asia/Kathmandu',
    row_security => 'off',
    check_function_bodies => 'off',
    client_encoding => 'LATIN1',
    jit => 'on',
    constraint_exclusion => 'on',
    plan_cache_mode => 'force_custom_plan',
    transform_null_equals => 'on',
    quote_all_identifiers => 'on',
    array_nulls => 'off',
    synchronous_commit => 'off',
    exit_on_error => 'on',
    client_min_messages => 'debug1',
    force_parallel_mode => 'on',
    work_mem => '64kB',
    xmlbinary => 'hex',
    default_tablespace => 'elsewhere',
    temp_tablespaces => 'elsewhere',
    default_table_access_method => 'heap2',
    gin_fuzzy_search_limit => '1',
    lo_compat_privileges => 'on',
);
$class->psql("CREATE TABLESPACE elsewhere LOCATION '" . $class->folder . "/elsewhere'");
my @wanted = (
    [ 'c', "ENCODING 'UTF8' LOCALE 'C'" ],
    [ 'posix_utf8', "ENCODING 'UTF8' LOCALE 'C.UTF-8'" ],
    [ 'icu', "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr' LOCALE 'C.UTF-8'" ],
    [ 'latin1', "ENCODING 'LATIN1' LOCALE 'C'" ],
    [ 'win1252', "ENCODING 'WIN1252' LOCALE 'C'", long => 1 ],
    [
        'koi8r', "ENCODING 'KOI8R' LOCALE 'C'",
        run => 'Цюрих',
        say => 'большой перерыв',
        nick => 'Ёж'
    ],
    [ 'turkish', "ENCODING 'UTF8' LOCALE 'tr_TR.UTF-8'", locale => 'tr_TR.UTF-8' ],
    [
        'latin5', "ENCODING 'LATIN5' LOCALE 'tr_TR.ISO-8859-9'",
        locale => 'tr_TR.ISO-8859-9',
        nick => 'İnci',
        long => 1
    ],
    [ 'own', "ENCODING 'UTF8' LOCALE 'C.UTF-8'", schema => '"My class"' ],
    [ 'hostile', "ENCODING 'UTF8' LOCALE 'C.UTF-8'", set => \%hostile, workers => 2 ],
    [
        'repeatable',
        "ENCODING 'LATIN9' LOCALE 'C'",
        set => {
            default_transaction_isolation => 'repeatable read',
            search_path => 'nowhere',
            $locale{'de_DE.UTF-8'} ? (lc_messages => 'de_DE.UTF-8') : ()
        },
        schema => 'public',
        workers => 2
    ],
    [
        'moved', "ENCODING 'UTF8' LOCALE 'C.UTF-8' TABLESPACE elsewhere",
        before => { default_tablespace => 'pg_default' },
        long => 1
    ],
    [
        'placed',
        "ENCODING 'UTF8' LOCALE 'C.UTF-8'",
        before => { default_tablespace => 'elsewhere', default_table_access_method => 'heap2' }
    ],
);
push @wanted,
    map { [ lc, "ENCODING '$_' LOCALE 'C'", run => 'Zurich', say => 'Pause', nick => 'Jorg' ] }
    qw(LATIN2 LATIN3 LATIN4 LATIN6 LATIN7 LATIN8 LATIN10 WIN866 WIN874 WIN1250 WIN1251 WIN1253 WIN1254 WIN1255 WIN1256 WIN1257 WIN1258 KOI8U ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8)
    if long_run();

sub set_all {
    my ($database, $settings) = @_;
    return $class->psql(
        join ' ',
        map {
            my $to =
                $_ =~ /^(search_path|temp_tablespaces)$/ ? $settings->{$_} : "'$settings->{$_}'";
            "ALTER DATABASE $database SET $_ = $to;"
        } sort keys %{$settings}
    );
}

# Makes a class in a database of its own, with one run; returns what is to be known of it.
sub make_class {
    my ($name, $options, %more) = @_;
    my %it = (
        name => $name,
        run => 'Zürich',
        say => 'große Pause',
        nick => 'Jörg',
        workers => 1,
        %more
    );
    $class->psql("CREATE DATABASE $name TEMPLATE template0 $options");
    my $in = defined $it{schema} ? "SCHEMA $it{schema}" : '';
    $it{call} = defined $it{schema} ? "$it{schema}." : '';
    $class->psql(
        'CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler'
            . ($it{schema} && $it{schema} ne 'public' ? "; CREATE SCHEMA $it{schema}" : ''),
        db => $name
    );
    set_all($name, $it{before}) if $it{before};
    $class->psql("CREATE EXTENSION gannsfriends $in", db => $name);
    set_all($name, $it{set}) if $it{set};
    my %run = (
        %GannClass::small,
        latent => 2,
        generator_features => 1,
        discriminator_features => 1,
        images_per_unit => 8,
        units_per_iteration => 2,
        target_iterations => 10,
        epsilon => '1.2345678901234e-8',
        dataset()
    );
    $class->psql(
        "SELECT $it{call}gan_create_run('$it{run}', "
            . join(', ', map {"$_ => $run{$_}"} sort keys %run)
            . "); SELECT $it{call}gan_start()",
        db => $name
    );
    $it{students} = [ map {"s_${name}_$_"} 1 .. $it{workers} ];
    $class->{students}{$_} =
        $class->psql("SELECT ${\$it{call}}gan_enroll('$_', '127.0.0.1')", db => $name)
        for @{ $it{students} };
    return \%it;
}

sub begin {
    my ($it) = @_;
    local $class->{database} = $it->{name};
    $it->{coordinator} = $class->start_background(
        { name => "coordinator-$it->{name}" }, $class->{bindir} . '/psql',
        '-X', '-q',
        '-h', $class->host,
        '-p', $port,
        '-U', 'postgres',
        '-d', $it->{name},
        '-c', "CALL $it->{call}gan_coordinate()"
    );
    $it->{worker} = [ map { $class->worker($_) } @{ $it->{students} } ];
    return;
}

# The class's images, which an instructor knows: gan_worker --check tells their digest without a
# server.
sub dataset {
    my ($digest) =
        `${\ GannClass::worker_program()} --check --connect postgresql://nobody\@127.0.0.1:1/none --data $class->{data_file}`
        =~ /digest ([0-9a-f]{64})/;
    return (dataset_images => 64, dataset_digest => "decode('$digest', 'hex')");
}

my @classes;
for my $one (@wanted) {
    my ($name, $options, %more) = @{$one};
    SKIP: {
        skip "$name: the locale $more{locale} can't be made (package locales)", 1
            if $more{locale} && !$locale{ $more{locale} };
        next if $more{long} && !long_run();
        push @classes,
            eval { make_class($name, $options, %more) }
            || do { fail "$name: a class is made"; diag $@; () };
    }
}
my @waiting = @classes;
while (my @now = splice @waiting, 0, 6) {    # a few at a time
    begin($_) for @now;
    for my $it (@now) {
        my $name = $it->{name};
        is join(' ', map { $class->wait_for($_, 60) // 'none' } @{ $it->{worker} }),
            join(' ', (0) x $it->{workers}), "$name: the workers train to the end"
            or diag $class->log_of($it->{worker}[0]);
        is $class->wait_for($it->{coordinator}, 30), 0, "$name: the coordinator ends with them"
            or diag $class->log_of($it->{coordinator});
        is text(
            "SELECT name, state, iteration, epsilon = 1.2345678901234e-8
                FROM $it->{call}gan_run", db => $name
            ),
            "$it->{run}|finished|10|t",
            "$name: ten iterations, and names and numbers as they were given";
        unlike $class->log_of($it->{coordinator}), qr/WARNING|ERROR/, "$name: without a warning";
        unlike $class->log_of($_), qr/could not serialize|again in|DEBUG|server:/,
            "$name: no worker had to try twice"
            for @{ $it->{worker} };
    }
}

# ---- texts

for my $it (@classes) {
    my ($name, $c) = @{$it}{qw(name call)};
    my $told = text(
        "SET statement_timeout = 0; SELECT
            FROM (SELECT ${c}gan_say('$it->{say}'), ${c}gan_set_nickname('$it->{students}[0]',
                '$it->{nick}')) AS done; SELECT text
            FROM ${c}gan_message; SELECT nickname FROM ${c}gan_leaderboard
            WHERE nickname = '$it->{nick}';
        SELECT octet_length(${c}gan_export()) > 1000, (SELECT count(*)
        FROM ${c}gan_doctor_sql()) > 9", db => $name
    );
    is $told =~ s/^\n+//r, "$it->{say}\n$it->{nick}\nt|t",
        "$name: what the instructor says, a nickname, the model's export, the doctor";
}
for my $name ('c', 'latin1', 'hostile', 'repeatable') {
    my $all = ($class->psql_fails(q{SELECT public.gan_say(E'a\x1bb')}, db => $name))[2];
    like $all, qr/ 22023: /, "$name: control characters are refused";
}
my ($state, $message) = $class->psql_fails(q{SELECT gan_say('休み')}, db => 'latin1');
is $state, '22P05', 'what LATIN1 lacks is an error that says so';
like $message, qr/has no equivalent in encoding "LATIN1"/, 'with the encoding';
for my $name (qw(c posix_utf8 icu latin1)) {
    is $class->psql(
        q{SELECT string_agg(gan_is_name(n, 6)::int::text, '' ORDER BY k)
            FROM unnest(ARRAY['Zür 1', 'É', '1._-', '-a', ' a', '', 'sechs!', 'a¡', 'a×b',
                'a§', 'sechse']) WITH ORDINALITY AS x (n, k)}, db => $name
        ),
        '11100000001', "$name: the same names";
    is $class->psql(q{SELECT gan_name_key('Jörg.S') = gan_name_key('JÖRG s')}, db => $name), 't',
        "$name: capitals make no other name";
    is + ($class->psql_fails(qq{SELECT gan_set_nickname('s_${name}_2', 'JÖRG')}, db => $name))[0],
        '42710', "$name: somebody is called nearly so";
}
is text(
    q{SELECT login, nickname FROM gan_enroll_csv(E'LOGIN;NICKNAME\r\nlisa;Élise', '127.0.0.1')},
    db => $_
    ),
    'lisa|Élise', "$_: a class list"
    for map { $_->{name} } grep { $_->{name} =~ /^(c|latin1|turkish|icu)$/ } @classes;

# ---- a class moves to a server of another locale

for my $way (
    [ 'posix_utf8', 'c_again', "LOCALE 'C'" ],
    [ 'c', 'posix_again', "LOCALE 'C.UTF-8'" ],
    [ 'latin1', 'utf8_again', "LOCALE 'C'" ]
    )
{
    my ($from, $to, $locale) = @{$way};
    my @connection = ('-h', $class->host, '-p', $port, '-U', 'postgres');
    $class->psql("SELECT gan_fork(1, 10, '{\"target_iterations\": 20}')", db => $from);
    my ($status, $output) = $class->run("$class->{bindir}/pg_dump", @connection, '-Fc', '-f',
        $class->folder . "/$from.dump", $from);
    is "$status|$output", '0|', "$from: pg_dump has nothing to say";
    $class->psql("CREATE DATABASE $to TEMPLATE template0 ENCODING 'UTF8' $locale");
    ($status, $output) = $class->run("$class->{bindir}/pg_restore", @connection, '-d', $to,
        $class->folder . "/$from.dump");
    is "$status|$output", '0|', "$from: nor has pg_restore in $locale";
    is text('SELECT count(*), min(name) FROM gan_run', db => $to), '2|Zürich', 'the runs are there';
    next if $from ne 'c';
    ($status, $output) =
        $class->run("$class->{bindir}/pg_dump", @connection, '-Fc', '--data-only', '-f',
        $class->folder . '/data.dump', $from);
    is "$status|$output", '0|', 'pg_dump of the data alone neither';
    $class->psql('CREATE DATABASE parts TEMPLATE template0');
    $class->run("$class->{bindir}/pg_restore", @connection, '--schema-only', '-d', 'parts',
        $class->folder . "/$from.dump");
    ($status, $output) =
        $class->run("$class->{bindir}/pg_restore", @connection, '--data-only', '-d', 'parts',
        $class->folder . '/data.dump');
    is "$status|$output", '0|', 'which can be restored';
    is $class->psql('SELECT forked_from FROM gan_run WHERE run = 2', db => 'parts'), 1,
        'a fork knows where it is from';
    $class->psql('SELECT gan_drop_run(1)', db => 'parts');
    is $class->psql('SELECT forked_from IS NULL FROM gan_run WHERE run = 2', db => 'parts'), 't',
        'while that is there';
}

# ---- a schema of its own

like $class->psql(
    "SELECT remedy FROM \"My class\".gan_doctor_server() WHERE item = 'search_path'",
    db => 'own'
    ),
    qr/^ALTER DATABASE own SET search_path = "My class", /,
    'the doctor knows that the instructor must write the schema';
$class->psql('ALTER ROLE s_own_1 IN DATABASE own RESET ALL');
is $class->psql(
    "SELECT state FROM \"My class\".gan_doctor() WHERE item = 'limits of students'",
    db => 'own'
    ),
    'fix', 'and that a student of a restored class lacks it';
$class->psql($_, db => 'own') for split /\n/, $class->psql(
    "SELECT remedy
        FROM \"My class\".gan_doctor()
        WHERE item IN ('search_path', 'limits of students') ORDER BY item DESC", db => 'own'
);
is $class->psql(
    "SELECT string_agg(state, ' ') FROM gan_doctor(true)
        WHERE item IN ('search_path', 'limits of students', 'settings of students', 'encoding')",
    db => 'own'
    ),
    'ok ok ok ok', 'after the remedies all is well, and the schema need not be written';
$class->psql('ALTER DATABASE repeatable RESET search_path');
is $class->psql(
    "SET statement_timeout = 0; SELECT gan_hinders('statement_timeout')
        AND EXISTS (SELECT FROM gan_lacking_limit WHERE login LIKE 's_${_}%')", db => $_
    ),
    'f', "$_: a student who was enrolled has what is needed"
    for 'hostile', 'c';

# ---- time-outs

{
    my $start = time;
    my ($out, $err, $status) = $class->psql(
        q{SET statement_timeout = '300ms';
                SET default_transaction_isolation = 'serializable'; CALL gan_coordinate(1);
                SHOW statement_timeout; SHOW default_transaction_isolation},
        db => 'c',
        on_error => 'return'
    );
    is $status, 0, 'a statement_timeout does not end the coordinator' or diag $err;
    cmp_ok time - $start, '>', 0.9, 'which lasts as long as it was told to';
    is $out, "300ms\nserializable", 'and leaves the settings alone';
    is + ($class->psql_fails(
        q{SET statement_timeout = '300ms'; CALL gan_coordinate(0);
                SELECT pg_sleep(2)}, db => 'c'
    ))[0], '57014', 'other statements end as before';
}

# ---- read-only for a while

sub new_run {
    return $class->psql(
        "SELECT FROM (SELECT gan_create_run('again', channels => 1, image_size => 32, latent => "
        . "2, generator_features => 1, discriminator_features => 1, local_steps => 0, "
        . "images_per_unit => 8, batch => 8, dataset_images => 64, dataset_digest => "
        . "${\ {dataset()}->{dataset_digest}}, target_iterations => 10)) AS made; SELECT "
        . "gan_start(max(run)) FROM gan_run",
        db => 'c'
    );
}
{
    local $class->{database} = 'c';
    new_run();
    $class->psql('ALTER DATABASE c SET default_transaction_read_only = on');
    is $class->psql("SELECT state FROM gan_doctor_server() WHERE item = 'read-only'"), 'fix',
        'the doctor sees it';
    my $coordinator = $class->coordinate;
    ok $class->wait_for_log($coordinator, qr/the database is read-only/, 20),
        'a coordinator that begins in a database that is read-only says so';
    $class->psql(
        'SET default_transaction_read_only = off; ALTER DATABASE c RESET
                default_transaction_read_only', db => 'postgres'
    );
    my $worker = $class->worker('s_c_1', '--run', 'again');
    is $class->wait_for($worker, 60), 0, 'and continues afterwards';
    ok $class->poll_until("SELECT state FROM gan_run WHERE name = 'again'", 'finished', 10),
        'to the end of the run';
    is scalar(() = $class->log_of($coordinator) =~ /read-only/g), 2, 'it says both once';
    $class->signal($coordinator, 'TERM');

    $class->psql("SELECT gan_drop_run(run) FROM gan_run WHERE name = 'again'");
    $class->psql('SELECT gan_stop(2)');
    new_run();
    $coordinator = $class->coordinate;
    $class->configure('default_transaction_read_only = on');
    ok $class->wait_for_log($coordinator, qr/the database is read-only/, 20),
        'the whole server becomes read-only while a coordinator works';
    $class->configure('default_transaction_read_only = off');
    ok $class->wait_for_log($coordinator, qr/no longer read-only/, 20),
        'and it sees the end of that, too';
    is $class->wait_for($class->worker('s_c_1', '--run', 'again'), 60), 0, 'the run continues';
}

# ---- hosts and ports

SKIP: {
    skip 'there is no IPv6 here', 2 if $class->server_log !~ /listening on IPv6/;
    $class->{uri}{c} = $class->{students}{s_c_1};
    for my $host ("[::1]:$port", "127.0.0.1:1,[::1]:$port", "localhost:1,localhost:$port") {
        my ($status, $output) = $class->run(
            GannClass::worker_program(),
            '--connect', uri('c', $host),
            '--once', '--run', 'again', '--data', $class->data
        );
        is $status, 0, "at $host" or diag $output;
    }
}

# ---- the page

use HTTP::Tiny;
$class->psql("CREATE ROLE screen LOGIN PASSWORD 'watch' IN ROLE gan_viewer");
for my $name ('own', 'hostile', 'latin1', 'repeatable') {
    my $pid = $class->start_background(
        { name => "dashboard-$name", env => { GAN_DASHBOARD_TOKEN => '' } },
        'src/dashboard/gan_dashboard', '--connect', $class->uri('screen', 'watch', $name),
        '--listen', '127.0.0.1:0'
    );
    $class->wait_for_log($pid, qr{http://127\.0\.0\.1:\d+/}, 20);
    my ($address) = $class->log_of($pid) =~ m{(http://127\.0\.0\.1:\d+)/};
    my $seen = '';
    my $until = time + 20;    # the stream itself has no end
    HTTP::Tiny->new(timeout => 10)->get(
        "$address/events",
        {
            data_callback => sub {
                $seen .= $_[0];
                die "seen\n" if time > $until || $seen =~ /Z\\u00fcrich|Zürich|Z\xc3\xbcrich/;
            }
        }
    );
    like decode('UTF-8', $seen), qr/Zürich|Z\\u00fcrich/, "$name: the dashboard shows the run"
        or diag $class->log_of($pid);
    $class->signal($pid, 'TERM');
    is $class->wait_for($pid, 10), 0, "$name: and ends";
}

# The class in a database of somebody's habits: as invariants.sql reads it.
$class->psql("ALTER DATABASE hostile RESET $_") for 'client_encoding', 'client_min_messages';
done_testing;
