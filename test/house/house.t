# The house: checks the promises of the plan of the source tree at each run, so that a file in the
# wrong folder turns the suite red.
#
#   make && prove test/house/house.t
use strict;
use warnings;
use Test::More;
require './test/house/graph.pl';

my $house = house();

cmp_ok scalar @{ $house->{files} }, '>', 100, 'the sources are found';
cmp_ok scalar(map { keys %{$_} } values %{ $house->{uses} }), '>', 500, 'and what they use';

# ---- rooms
my @circles = circles($house->{uses});
is join("\n", @circles), '', 'circles of files that use each other: ' . scalar @circles;
my %in_folder;
$in_folder{$_}++ for map {m{^(.*)/}} @{ $house->{files} };
my ($fullest) = sort { $in_folder{$b} <=> $in_folder{$a} || $a cmp $b } keys %in_folder;
cmp_ok $in_folder{$fullest}, '<=', 12,
    "the most .c files in one folder: $in_folder{$fullest}, in $fullest";
my @chain = longest_chain($house->{includes});
cmp_ok scalar @chain, '<=', 6,
    'the longest chain of includes within a folder: ' . @chain . ', ' . join ' > ',
    map {m{([^/]*)$}} @chain;

# ---- the step: from the SQL function down, within its folder
my $step = functions(grep {m{^src/extension/step/}} @{ $house->{files} });
for my $name (qw(gan_aggregate gan_step)) {
    ok $step->{$name}, "$name is found" or next;
    cmp_ok $step->{$name}{lines}, '<=', 60, "lines of $name: $step->{$name}{lines}";
}
my @way = deepest($step, 'gan_aggregate');
cmp_ok scalar @way, '>', 1, 'its calls are found';
cmp_ok scalar @way, '<=', 3,
    'calls below each other in the step\'s folder: ' . @way . ', ' . join ' > ', @way;

# ---- a rule is one file and one row: its name stands nowhere else
my @rules = map { read_file($_) =~ /^const dcgan_rule dcgan_rule_(\w+)/m ? $1 : () }
    grep {m{^src/dcgan/rules/}} @{ $house->{files} };
cmp_ok scalar @rules, '>=', 5, "the rules are found: @rules";
my $names = join '|', @rules;
my @named = grep { read_file($_) =~ /["'](?:$names)\b[("']/ }
    grep { !m{^src/dcgan/rules/} } @{ $house->{files} };
is "@named", '', 'files outside src/dcgan/rules that name a rule';
is scalar(grep { read_file("src/dcgan/rules/$_.c") !~ /\.name = "$_"/ } @rules), 0,
    'each rule is the file of its name';

# ---- a tensor's memory is its backend's: the passes name it, and never look into it
my @inside = grep { read_file($_) =~ /host_at\(|host_sums\(/ }
    grep { m{^src/} && !m{^src/dcgan/(?:cpu|naive|host)/} } @{ $house->{files} };
is "@inside", '', 'files outside a backend that look into a tensor';
my @named_backends = grep { read_file($_) =~ /dcgan_backend_(?!name\b|cpu\b)\w/ }
    grep { m{^src/} && !m{^src/dcgan/(?:cpu|naive|gpu)/|^src/dcgan/(?:backend\.h|device\.c)$} }
    @{ $house->{files} };
is "@named_backends", '', 'files that name a backend: it is chosen by its name';

# ---- a backslash in a function's text means another thing where standard_conforming_strings is off
sub backslashes {
    my ($file) = @_;
    my ($line, $escapes, @found) = (0, 0);
    for (split /\n/, read_file($file)) {
        $line++;
        $escapes = /E'/ || $escapes && /^ *'/;    # an E'...' continues on the next line
        push @found, "$file:$line" if /\\/ && !$escapes && !/^ *--|^\\echo|\\x00\.\.\./;
    }
    return @found;
}
is join(' ', map { backslashes($_) } glob 'sql/core/*.sql sql/extras/*.sql'), '',
    'backslashes in SQL';

# ---- lines
my %long;
for my $file (glob 'sql/core/*.sql sql/extras/*.sql test/tap/*/*.t test/lib/*.pm test/pgtap/*.sql') {
    $long{$file} += grep { length > 100 } split /\n/, read_file($file);
}
cmp_ok eval { my $n = 0; $n += $_ for values %long; $n }, '<=', 170,
    'lines of more than 100 columns in SQL and tests: expressions and texts that can\'t be broken';

# ---- what is thin
my $worker = lines(grep {m{^src/worker/}} @{ $house->{files} });
cmp_ok $worker, '>', 0, 'the worker is found';
cmp_ok $worker, '<=', 4000, "lines of the worker proper: $worker";
done_testing;
