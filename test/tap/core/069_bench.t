# The benchmarks run: figures are listed and described, and cheap ones print a well-formed line.
use strict;
use warnings;
use Test::More;
use GannClass;

chdir GannTest::root_folder() or die $!;
sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }

my @figures = split /\n/, `bench/run.sh --list`;
is $?, 0, 'bench/run.sh --list';
cmp_ok scalar @figures, '>=', 18, 'lists the figures';
my %described = map { $_ => 1 } slurp('bench/README.md') =~ /^\| `([a-z0-9_]+)` \|/mg;
is join(' ', sort keys %described), join(' ', sort @figures),
    'bench/README.md describes those and no others';

is system('bench/run.sh no_such_figure 2>/dev/null') >> 8, 2,
    'a figure that is not there is refused';

# The ways of learning: those that docs/learning.md speaks of are there.
my %modes = map { $_ => 1 } split /\n/, `bench/learning.sh --list`;
is $?, 0, 'bench/learning.sh --list';
my @compared = slurp('docs/learning.md') =~ /^\| `([a-z0-9-]+)` \|/mg;
cmp_ok scalar @compared, '>', 0, 'docs/learning.md compares them';
is join(' ', grep { !$modes{$_} } @compared), '', 'and no others';
is system('bench/learning.sh no-such-mode 2>/dev/null') >> 8, 2,
    'a mode that is not there is refused';

# One that needs no server, and one that does.
my %lines = map { /^bench: (\S+) / ? ($1 => $_) : () } split /\n/,
    `bench/run.sh --quick worker_images_per_second_1t claims_per_second 2>&1`;
is $?, 0, 'two cheap figures';
like $lines{worker_images_per_second_1t},
    qr{^bench: \S+ [0-9.]+ images/s  \(threads 1, batch 64, path \S.*, min/median/max \S+ of \d+ runs, CPU \S.*, commit \S+, quick\)$},
    'pure compute';
like $lines{claims_per_second},
    qr{^bench: \S+ [0-9.]+ claims/s  \(64 clients, .*, min/median/max \S+, CPU \S.*, commit \S+, quick\)$},
    'claims';
is join(' ', sort keys %lines), 'claims_per_second worker_images_per_second_1t',
    'and no other figure';
done_testing;
