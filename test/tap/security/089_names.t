# What is shown to others: names that carry control characters, HTML or terminal escapes do not get
# in, and what a server says does not reach a student's terminal but as text.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $run = $class->create_run('names');
$class->psql("SELECT gan_start($run)");
my @nasty = (
    "E'a\\nb'", "E'a\\x1b[2Jb'",
    "E'a\\x7fb'", "U&'a\\009bb'",
    "U&'a\\202eb'", "'<script>alert(1)</script>'",
    "'a&amp;b'", q{'a"b'},
    q{'a''b'}, "'a\\b'",
    "'a;b'", "'a/b'",
    "'a%s'", "U&'a\\200bb'",
    "repeat('a', 64)", "''"
);
for my $name (@nasty) {
    is + ($class->psql_fails("SELECT gan_enroll($name)"))[0], '22023', "no student is called $name";
    is + ($class->psql_fails("SELECT gan_create_run($name)"))[0], '22023', 'and no run';
}
is + ($class->psql_fails("SELECT gan_enroll('pg_x')"))[0], '22023', 'no student is called pg_x';
is + ($class->psql_fails("SELECT gan_enroll('alice', $_)"))[0], '22023', "no host is called $_"
    for "E'a\\nb'", q{'a/b@c'}, "'<b>'";

# An installation whose messages are malicious.
my $evil = q{E'\x1b[2J\x1b]0;owned\x07\rfine\x08' || U&'\009b2J\202E'};
$class->psql(
    "CREATE OR REPLACE FUNCTION gan_no_work(r gan_run, suspended boolean, OUT reason text,
            OUT message text, OUT retry_seconds float8) LANGUAGE plpgsql AS \$\$ BEGIN reason :=
            'stopped'; message := $evil || ' the end'; retry_seconds := 0;
    RAISE WARNING '%', $evil || ' a warning'; END \$\$; UPDATE gan_run SET state = 'paused'"
);
my $worker = $class->worker('ann');
is $class->wait_for($worker, 60), 0, 'a worker hears it';
my $log = $class->log_of($worker);
like $log, qr/\?\[2J.*the end/, 'and shows it as text';
like $log, qr/\?\[2J.*a warning/, 'warnings, too';
unlike $log, qr/[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/,
    'nothing in it is for the terminal';
my ($status, $output) = $class->run(
    'script',
    '-qec',
    "stty cols 200; src/worker/gan_worker --connect '"
        . $class->student('ann')
        . "' --once --data "
        . $class->data,
    '/dev/null'
);
like $output, qr/the end/, 'on a terminal the worker says the same';
unlike $output =~ s/\r|\n|\e\[K//gr, qr/[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/,
    'and sends it nothing but what is its own';
done_testing;
