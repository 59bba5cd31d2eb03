# The documentation agrees with the program: names, flags, versions, and the instructor's SQL.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }

my ($version) = slurp('gannsfriends.control') =~ /default_version = '(.*)'/;
is $class->psql("SELECT extversion FROM pg_extension WHERE extname = 'gannsfriends'"), $version,
    'the extension has the version of the control file';
is + (slurp('META.json') =~ /"version": "(.*?)"/)[0], $version, 'so has META.json';
is `src/worker/gan_worker --version`, "gan_worker $version\n", 'and the worker';
is `src/local/gan_local --version`, "gan_local $version\n", "and gan_local";
is `src/dashboard/gan_dashboard --version`, "gan_dashboard $version\n", 'and the dashboard';

is `src/worker/gan_worker --conect=postgresql://ann:secret\@host/train 2>&1` =~ /secret/
    ? 'shown'
    : 'hidden', 'hidden', 'a mistyped option does not show the password';

my @documents = ('README.md', glob 'docs/*.md');
my %exists = map { $_ => 1 } split /\n/, $class->psql(
    q{SELECT proname FROM pg_proc WHERE proname LIKE 'gan\_%' UNION SELECT relname FROM pg_class WHERE relname LIKE 'gan\_%'
    UNION SELECT rolname FROM pg_roles WHERE rolname LIKE 'gan\_%'}
);
$exists{$_} = 1 for qw(gan_worker gan_local);
# And the other way: what has a comment is for people, so it is documented.
my $documents = join '', map { slurp($_) } @documents;
my %of_extension = map { $_ => 1 } split /\n/, $class->psql(
    q{SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind IN ('r', 'v', 'p') AND c.relname LIKE 'gan\_%'
    UNION SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' WHERE obj_description(p.oid, 'pg_proc') IS NOT NULL}
);
is join(' ', sort grep { $documents !~ /\b$_\b/ } keys %of_extension), '',
    'every table, view and function for people is documented';
cmp_ok scalar(keys %of_extension), '>', 80, 'and there are many';
# The tables of options and presets are those of the program, and gan_create_run has just these
# parameters.
is $class->psql(q{SELECT string_agg(a, ' ' ORDER BY n)
        FROM pg_proc, unnest(proargnames) WITH ORDINALITY AS u (a, n)
        WHERE proname = 'gan_create_run'}),
    $class->psql(q{SELECT format('name %s preset', string_agg(option, ' ' ORDER BY place))
            FROM gan_option}),
    'gan_create_run has a parameter for each option';
my $instructor = slurp('docs/instructor.md');
for my $table (
    'SELECT * FROM gan_option_table()', q{SELECT format('| `%s` | %s | %s |', preset,
            options, meaning)
        FROM gan_preset}
    )
{
    my $rows = $class->psql($table);
    cmp_ok scalar(split /\n/, $rows), '>=', 5, 'a table of the program';
    ok index($instructor, "|---|---|---|\n$rows\n\n") >= 0, 'stands in docs/instructor.md'
        or diag $rows;
}
my $help = join '', map {`src/$_ --help`} 'worker/gan_worker', 'local/gan_local',
    'dashboard/gan_dashboard';
for my $document (@documents) {
    my $text = slurp($document);
    my %missing = map { $_ => 1 } grep { !$exists{$_} } $text =~ /\b(gan_[a-z_]*[a-z])\b/g;
    is join(' ', sort keys %missing), '', "$document: every gan_… is there";
    my %flags = map { $_ => 1 }
        grep { index($help, $_) < 0 } $text =~ /(?:gan_worker[^\n|]*? |`)(--[a-z]+)/g;
    delete @flags{ '--data', '--keep', '--minutes' };    # of scripts/demo.sh
    is join(' ', sort keys %flags), '', "$document: every flag of a program is in its --help";
    my %links =
        map { $_ => 1 }
        grep { !/^http/ && !-e ($document =~ m{^docs/} ? "docs/$_" : $_) }
        $text =~ /\]\(([^)#]+)\)/g;
    is join(' ', sort keys %links), '', "$document: every link leads somewhere";
}

# The statements of the README and of the instructor's page run. What needs pg_cron is 030_cron.t's.
for my $document ('README.md', 'docs/instructor.md', 'docs/security.md', 'docs/dashboard.md',
    'docs/rules.md')
{
    $class->psql('DROP EXTENSION gannsfriends');
    # which does it itself
    $class->psql('CREATE EXTENSION gannsfriends') if $document ne 'README.md';
    for my $block (slurp($document) =~ /```sql\n(.*?)```/gs) {
        $block =~ s/^.*pg_cron.*$|^.*cron\.schedule.*$//mg;
        my ($out, $err, $status) = $class->psql($block, on_error => 'return');
        is $status, 0, "$document: " . (split /\n/, $block)[0] or diag $err;
    }
}
done_testing;
