# Logins, connection strings and lists of students, as people have them: addresses with ports, IPv6
# and commas, names with spaces, @ and umlauts, CSV from Moodle and Excel. And no password where
# others read.
use strict;
use warnings;
use utf8;
use Test::More;
use GannClass;
use JSON::PP;

binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);
my $class = GannClass->new(
    database => 'tra in/ä%',
    conf => [
        "shared_preload_libraries = 'gannsfriends,pg_stat_statements,auto_explain'",
        'pg_stat_statements.track = all',
        'pg_stat_statements.track_utility = on',
        "log_statement = 'all'",
        'log_min_duration_statement = 0',
        'auto_explain.log_min_duration = 0',
        'auto_explain.log_nested_statements = on',
        'log_parameter_max_length = -1',
        'log_parameter_max_length_on_error = -1'
    ]
);
my $port = $class->port;

sub sql {
    my ($sql, %opt) = @_;
    utf8::encode($sql);
    my $out = $class->psql($sql, %opt);
    utf8::decode($out);
    return $out;
}
sub sql_bytes { my $out = sql(@_); return $out }
sub quoted { return q{'} . $_[0] =~ s/'/''/gr . q{'} }

# What statements are refused with, one each: SQLSTATE, message, hint. In one session: there are
# many.
$class->psql(
    'CREATE SCHEMA test; CREATE FUNCTION test.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE hint text; BEGIN EXECUTE statement; RETURN $q$00000$q$;
    EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; RETURN concat_ws(E\'\\n\', sqlstate || $q$ $q$ || sqlerrm, hint); END $$; CREATE EXTENSION pg_stat_statements'
);

sub refused {
    return @{ JSON::PP->new->decode(sql_bytes(
            'SELECT json_agg(test.refusal(s.statement)
            ORDER BY n)
        FROM unnest(ARRAY['
                . join(', ', map { quoted($_) } @_)
                . ']) WITH ORDINALITY AS s (statement, n)'
        ))
    };
}

# ---- addresses
my %hosts = (
    'db.example.org' => "db.example.org:$port",
    'db.example.org:6543' => 'db.example.org:6543',
    ' db.example.org ' => "db.example.org:$port",
    '192.0.2.7' => "192.0.2.7:$port",
    '192.0.2.7:6543' => '192.0.2.7:6543',
    '::1' => "[::1]:$port",
    '[::1]' => "[::1]:$port",
    '[2001:db8::7]:6543' => '[2001:db8::7]:6543',
    'fe80::1%eth0' => "[fe80::1%25eth0]:$port",
    'a.example.org,b.example.org:5433' => "a.example.org:$port,b.example.org:5433",
    '::1, [::2]:99,c' => "[::1]:$port,[::2]:99,c:$port",
    '/var/run/postgresql' => "%2Fvar%2Frun%2Fpostgresql:$port",
    '/tmp/a b:6543' => '%2Ftmp%2Fa%20b:6543',
);
my @hosts = sort keys %hosts;
my @uris = split /\n/,
    sql(  'SELECT gan_uri_hosts(h) FROM unnest(ARRAY['
        . join(', ', map { quoted($_) } @hosts)
        . ']) WITH ORDINALITY AS u (h, n) ORDER BY n');
is $uris[$_], $hosts{ $hosts[$_] }, "the address '$hosts[$_]'" for 0 .. $#hosts;
my @bad = (
    '', ' ',
    ':', ':5432',
    'a,', ',a',
    'a,,b', 'db.example.org:0',
    'db.example.org:65536', 'db.example.org:',
    'db.example.org:abc', 'db.example.org:5432x',
    '[::1', '::1]',
    '[::1]:', '[db]',
    '[1.2.3.4]:5', ':::',
    '1:2:3', '::g',
    '300.1.2.3', '1.2.3',
    'a..b', '.a',
    '-a', 'a b',
    'a@b', 'a/b',
    'a?b', 'a#b',
    "a'b", 'a"b',
    'a%b', 'postgresql://db/train',
    'http://db', "a\nb",
    'bücher', '<b>',
    'a' x 254
);
my @refusals = refused(map { "SELECT gan_enroll('nobody', " . quoted($_) . ')' } @bad);
like $refusals[$_], qr/^22023 host is .*, but must be a name or an address/s,
    'no address: ' . substr($bad[$_], 0, 24) =~ s/\n/\\n/r
    for 0 .. $#bad;
is $class->psql(q{SELECT count(*) FROM pg_roles WHERE rolname = 'nobody'}), '0',
    'and nobody was enrolled';

# ---- logins: each connection string leads in, by psql as by any program that reads URIs
for my $case (
    [ 'alice', 'alice' ],
    [ 'Fritz Smith', 'Fritz Smith' ],
    [ 'Smith, Fritz', 'Fritz Smith' ],
    [ 'Anna.Maria@Uni.Example', 'anna.maria@uni.example' ],
    [ "O'Brien, Sinead", 'Sinead OBrien' ],
    [ "o'brien\@x.ie", 'obrien@x.ie' ],
    [ 'Jörg Müßig', 'Jörg Müßig' ],
    [ 'Άννα', 'Άννα' ],
    [ '李明', '李明' ],
    [ ' a  b ', 'a b' ],
    [ '1234567', '1234567' ],
    [ 'a+b@c.d', 'a+b@c.d' ],
    [ 'x' x 63, 'x' x 63 ]
    )
{
    my ($name, $login) = @$case;
    my $uri = sql('SELECT gan_enroll(' . quoted($name) . ", '127.0.0.1')");
    my ($status, $output) = $class->run(
        $class->{bindir} . '/psql', '-XqAtw', $uri, '-c', q{SELECT
                login
            FROM gan_hello()}
    );
    is $status, 0, "'$name' is let in by $uri" or diag $output;
    like $uri,
        qr{^postgresql://[A-Za-z0-9._~%-]+:[0-9a-f]{32}\@127\.0\.0\.1:$port/tra%20in%2F%C3%A4%25$},
        'every part of it is escaped';
    is sql('SELECT count(*) FROM gan_roster WHERE login = ' . quoted($login)), '1',
        "the login is '$login'";
    is sql(
        'SELECT count(*) FROM pg_db_role_setting d JOIN pg_roles r ON r.oid = d.setrole
            WHERE d.setdatabase > 0
            AND r.rolname = ' . quoted($login)
        ),
        '1', 'with limits of its own in this database';
}
like + ($class->psql(q{SELECT gan_enroll('alice', 'a.example.org,b.example.org')}))[0],
    qr{\@a\.example\.org:$port,b\.example\.org:$port/[^?]+\?target_session_attrs=read-write$},
    'of several servers the one that writes is meant';
@bad = (
    '', ' ', 'a/b', 'a,b,c', '_a', '-a',
    '@a', '.a', 'pg_a', 'PG_a', 'public', 'none',
    "a\tb", "a\x{a0}b", "a\x{200b}b", "a\x{202e}b", "a\x{2019}b", 'ü' x 32,
    'a<b>', 'a:b', "a'b", 'a"b', 'a\\b', 'a;b',
    'a%b'
);
@refusals = refused(map { 'SELECT gan_enroll(' . quoted($_) . ", 'localhost')" } @bad);
like $refusals[$_], qr/^22023 name is .*, but must be at most 63 bytes/s,
    'no login: ' . $bad[$_] =~ s/([^ -~])/sprintf '\\x{%x}', ord $1/ger
    for 0 .. $#bad;
@refusals = refused(map { 'SELECT gan_enroll(' . quoted($_) . ", 'localhost')" } 'fritz SMITH',
    'Postgres', 'postgres');
like $refusals[0],
    qr/^42710 there is a login "Fritz Smith" already, which differs from "fritz SMITH" by capitals alone\nWrite it the same way/,
    'look-alikes are said';
like $refusals[1],
    qr/^42710 there is a login "postgres" already, which differs from "Postgres" by capitals alone/,
    'those of others, too';
like $refusals[2], qr/^42710 there is a role "postgres" that is not a member of gan_student/,
    'nobody else gets a new password';
my (undef, $notice) = $class->psql(q{SELECT gan_enroll('Last, First')}, on_error => 'return');
like $notice, qr/NOTICE:  the login is "First Last"/, 'it is said what the login is';
like $notice,
    qr/NOTICE:  this connection string works on the server's own machine only\nHINT:  Give the name by which students reach the server/,
    'and that nobody else can come in by that address';
my $viewer = $class->psql(q{SELECT gan_enroll_viewer('screen', '127.0.0.1')});
is + ($class->run(
    $class->{bindir} . '/psql', '-XqAtw', $viewer, '-c', 'SELECT count(*)
        FROM gan_progress'
))[1], "0\n", 'a screen looks at what everybody may see';

# ---- CSV
my %lists = (
    'a line each' => [ "user-01\nuser-02\n", 'user-01||t user-02||t' ],
    'nicknames, no heading' => [ "c1,Otter\nc2,\n", 'c1|Otter|t c2||t' ],
    'CRLF' => [ "login,nickname\r\nc1,Otter\r\n", 'c1|Otter|t' ],
    'CR' => [ "login,nickname\rc1,Otter\rc2,Badger", 'c1|Otter|t c2|Badger|t' ],
    'a byte-order mark' => [ "\x{feff}login;nickname\nc1;Otter\n", 'c1|Otter|t' ],
    'a byte-order mark and quotes' =>
        [ qq{\x{feff}"login";"nickname"\n"c1";"Otter"\n}, 'c1|Otter|t' ],
    'tabs' => [ "login\tnickname\nc1\tOtter\n", 'c1|Otter|t' ],
    'Excel says the delimiter' => [ "sep=;\r\nlogin;nickname\r\nc1;Otter\r\n", 'c1|Otter|t' ],
    'a quoted name, no heading' => [ qq{fritz,"Smith, Fritz"\n}, 'fritz|Fritz Smith|t' ],
    'a delimiter in quotes' => [ qq{login;nickname\nc1;"x; y"\n} =~ s/; y/, y/r, 'c1|y x|t' ],
    'doubled quotes and a field of lines' =>
        [ qq{login,group,nickname\nc1,"a ""b""\nc",Otter\n}, 'c1|Otter|t' ],
    'blanks before quotes' => [ qq{login, nickname\n"c1", "Otter"\n}, 'c1|Otter|t' ],
    'any order and case, a password' =>
        [ "PassWord,NickName,UserName\nhunter2,Otter,c1\n", 'c1|Otter|t' ],
    'a password alone beside logins' => [ "username,password\nc1,hunter2\n", 'c1||t' ],
    'e-mail addresses' => [ "E-Mail\nAnn\@Uni.Example\n", 'ann@uni.example||t' ],
    'Moodle, participants' => [
        qq{"First name","Last name","ID number","Email address",Groups\nFritz,Smith,77,f.smith\@uni.example,"A, B"\n},
        'f.smith@uni.example||t'
    ],
    'Moodle, upload' => [
        "username,password,firstname,lastname,email,course1,group1,cohort1\nc1,hunter2,Fritz,Smith,f\@x.de,M,G,C\n",
        'c1||t'
    ],
    'Moodle in German' =>
        [ "Vorname;Nachname;E-Mail-Adresse;Gruppen\nJürgen;Groß;j\@x.de;A\n", 'j@x.de||t' ],
    'first and last names' => [ "Prénom;Nom\nJürgen;Groß\n", 'Jürgen Groß||t' ],
    'names' => [ qq{Name\n"O'Brien, Una"\n}, 'Una OBrien||t' ],
    'umlauts in headings' =>
        [ "Vollständiger Name,Spitzname\nJürgen Groß,Möwe\n", 'Jürgen Groß|Möwe|t' ],
    'empty lines of a spreadsheet' =>
        [ "login;nickname\n\nc1;Otter\n;\n ; \n\"\";\n", 'c1|Otter|t' ],
    'no field at the end' => [ "login,nickname,group\nc1\nc2,Badger", 'c1||t c2|Badger|t' ],
    'logins like headings' => [ "team1\nteam2\n", 'team1||t team2||t' ],
    'a nickname like a heading' => [ "c1,Nick\nc2,Class\n", 'c1|Nick|t c2|Class|t' ],
    'nothing' => [ '', '' ],
    'a heading alone' => [ "login\n", '' ],
);
my @lists = sort keys %lists;
my @enrolled = split /^\x{1e}\n?/m, sql(
    join "\n",
    map {
        "\\echo \x{1e}\nBEGIN; SELECT login, nickname, connection IS NOT NULL FROM gan_enroll_csv("
            . quoted($lists{$_}[0])
            . ", 'localhost'); ROLLBACK;"
    } @lists
);
is $enrolled[ $_ + 1 ] =~ s/\n(?=.)/ /gr =~ s/\n//r, $lists{ $lists[$_] }[1], "a list: $lists[$_]"
    for 0 .. $#lists;
my %wrong = (
    'an unknown heading' => [
        "username,shoe size\nc1,44\n",
        qr/^22023 the first line has an unknown heading: 'shoe size'/
    ],
    'unknown headings' => [
        "Kürzel;Passwort\nc1;hunter2\n",
        qr/^22023 the first line has an unknown heading: 'Kürzel'/
    ],
    'two columns of logins' => [
        "username,login\nc1,c2\n", qr/^22023 the first line has two columns for the same thing: login/
    ],
    'no column of logins' => [
        "password,group\nhunter2,A\n",
        qr/^22023 the first line names no column that a login could come from/
    ],
    'three columns without names' =>
        [ "c1,Otter,hunter2\n", qr/^22023 line 1: there are 3 fields, but 2 columns/ ],
    'a field too many' => [
        "login,nickname\nc1,Otter,hunter2\n",
        qr/^22023 line 2: there are 3 fields, but 2 columns/
    ],
    'an empty login' =>
        [ "login,nickname\nc1,x\n,Otter\n", qr/^22023 line 3: the column login is empty/ ],
    'a quote that isn\'t closed' => [
        qq{login,nickname\nc1,"Otter\nc2,x\n},
        qr/^22023 line 2: a quotation mark is not where one can be/
    ],
    'a quote that closes early' => [
        qq{login,nickname\nc1,"Ot"ter\n},
        qr/^22023 line 2: a quotation mark is not where one can be/
    ],
    'one login twice' =>
        [ "login\nc1\n\nc1\n", qr/^42710 line 4: login "c1" stands on an earlier line/ ],
    'one address twice' =>
        [ "email\na\@b.c\nA\@B.C\n", qr/^42710 line 3: login "a\@b.c" stands on an earlier line/ ],
    'capitals alone' => [ "login\nc1\nC1\n", qr/^42710 line 3: there is a login "c1" already/ ],
    'a bad login' => [ qq{login,nickname\n"a ""b""\nc",x\nc<2>,y\n}, qr/^22023 line 2: name is / ],
    'a bad nickname' => [ "login,nickname\nc1,<b>\n", qr/^22023 line 2: nickname is '<b>'/ ],
);
my @wrong = sort keys %wrong;
@refusals =
    refused(map { 'SELECT * FROM gan_enroll_csv(' . quoted($wrong{$_}[0]) . ", 'localhost')" }
        @wrong);
for my $i (0 .. $#wrong) {
    like $refusals[$i], $wrong{ $wrong[$i] }[1], "refused: $wrong[$i]";
    unlike $refusals[$i], qr/hunter2/, 'without the password';
    like $refusals[$i],
        qr/\n.*login \(or username\), email, name, first name, last name, nickname/,
        'and with the headings that are known'
        if $refusals[$i] =~ /the first line/;
}
is $class->psql(
    q{SELECT count(*) FROM pg_roles WHERE rolname ~ '^(c[0-9]|hunter2|username|login)$'}), '0',
    'nobody of these files was enrolled';

# ---- passwords
my $uri = $class->psql(q{SELECT gan_enroll('alice', '127.0.0.1')});
my ($password) = $uri =~ m{alice:([0-9a-f]{32})@};
like $class->psql(q{SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'}),
    qr/^SCRAM-SHA-256\$4096:/, 'the server keeps a verifier';
$class->psql(q{SET password_encryption = 'md5'; SELECT gan_enroll('bo', '127.0.0.1')});
like $class->psql(q{SELECT rolpassword FROM pg_authid WHERE rolname = 'bo'}),
    qr/^SCRAM-SHA-256\$4096:/, 'whatever password_encryption is';
# Also where the statement fails: then it stands in the context of the message.
is + ($class->psql_fails(q{BEGIN READ ONLY; SELECT gan_enroll('cy', '127.0.0.1')}))[0], '25006',
    'a statement with a password in it fails';
my $log = $class->server_log;
my @lines = grep {/\Q$password\E|PASSWORD '(?!SCRAM-SHA-256)/} split /\n/, $log;
is join("\n", @lines), '', 'the server\'s log has no password';
ok $log =~ /CREATE ROLE cy [^\n]*PASSWORD 'SCRAM-SHA-256/,
    'but the verifier, where that statement failed';
like $class->psql(
    q{SELECT string_agg(query, ' ') FROM pg_stat_statements WHERE query ~ 'PASSWORD'}),
    qr/SCRAM-SHA-256/, 'pg_stat_statements has the verifier';
is $class->psql(
    "SELECT count(*) FROM pg_stat_statements
        WHERE query ~ 'PASSWORD ''(?!SCRAM)'
        OR query ~ '$password'"
    ),
    '0', 'and no password';
is + ($class->psql_fails(q{SELECT gan_scram_verifier('x')}, user => 'alice'))[0], '42501',
    'students make no verifiers';
done_testing;
