# A new option of a run is a patch of five files at most: test/house/option.patch adds one (a run
# that pauses itself), which is built, documented, checked, forked, and does what it says.
use strict;
use warnings;
use File::Temp ();
use Test::More;
use GannClass;

my $root = GannTest::root_folder();
sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }
my @files = slurp("$root/test/house/option.patch") =~ /^diff --git a\/(\S+)/mg;
cmp_ok scalar(@files), '<=', 5, "the patch changes @files";

# Built from a copy of the tree, as a version of the extension of its own.
my $copy = File::Temp->newdir;
is
    system(
    "cp -r '$root/sql' '$root/docs' '$root/Makefile' '$root/gannsfriends.control' $copy/ && rm "
    . "-f $copy/sql/gannsfriends--*.sql && mkdir $copy/src && cp '$root/src/sources.mk' "
    . "$copy/src/ && patch -s -d $copy -p1 < '$root/test/house/option.patch'"
    ),
    0, 'it applies';
is
    system(
    "make -s -C $copy sql/gannsfriends--0.2.0.sql sql/gannsfriends--0.1.0--0.2.0.sql >/dev/null "
    . "2>&1"
    ), 0, 'and is built';
like slurp("$copy/sql/gannsfriends--0.1.0--0.2.0.sql"), qr/ADD COLUMN pause_every/,
    'for a class of 0.1.0, too';
chomp(
    my $target = do {
        my $config =
            -x '/usr/lib/postgresql/15/bin/pg_config'
            ? '/usr/lib/postgresql/15/bin/pg_config'
            : 'pg_config';
        `$config --sharedir`;
    }
);
$target .= '/extension/gannsfriends--0.2.0option.sql';
plan skip_all => "$target can't be written"
    if system("install -m 644 $copy/sql/gannsfriends--0.2.0.sql $target 2>/dev/null")
    && system("sudo -n install -m 644 $copy/sql/gannsfriends--0.2.0.sql $target");

END {
    if ($target && -e $target) { unlink $target or system 'sudo', '-n', 'rm', $target }
}

my $class = GannClass->new(extension => 0);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
$class->psql("CREATE EXTENSION gannsfriends VERSION '0.2.0option'");
$class->confirm_datasets;
ok index(slurp("$copy/docs/instructor.md"), $class->psql('SELECT * FROM gan_option_table()')) > 0,
    'the table of the documentation is the program\'s';
like + ($class->psql_fails("SELECT gan_create_run('x', pause_every => -1)"))[1],
    qr/^pause_every is -1, but must be between 0 \(never\) and 1000000$/, 'it is checked';
my $run =
    $class->create_run('pauses', target_iterations => 4, pause_every => 2, checkpoint_every => 1);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate(60);
my $worker = $class->worker('ann');
my $state = "SELECT state, iteration FROM gan_run WHERE run = $run";
ok $class->poll_until($state, 'paused|2', 60), 'the run pauses itself';
my $fork = $class->psql("SELECT gan_fork($run, 2, '{\"pause_every\": 3}')");
is $class->psql("SELECT pause_every FROM gan_run WHERE run = $fork"), '3',
    'a fork may have another value';
$class->psql("SELECT gan_start($run)");
ok $class->poll_until($state, 'finished|4', 60), 'and continues to its end';
$class->signal($coordinator, 'TERM');
$class->signal($worker, 'TERM');
done_testing;
