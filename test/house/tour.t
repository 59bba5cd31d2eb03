# The tour of the code (docs/tour.md): what it says to read is there, and each stop asks a question.
#
#   prove test/house/tour.t
#
# A stop says what to read by two texts, the first and the last; each occurs once in its file:
#
#   **Read** [path](../path) from `first text` to `last text`.
use strict;
use warnings;
use Test::More;

sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }

# Where a text begins in another, or -1 unless it occurs exactly once.
sub place {
    my ($text, $in) = @_;
    my $at = index $in, $text;
    return $at < 0 || index($in, $text, $at + 1) >= 0 ? -1 : $at;
}

# The lines from one text to another in a file; 0 unless both are there once, in this order.
sub lines_between {
    my ($file, $first, $last) = @_;
    ok -f $file, "$file is there" or return 0;
    my $content = slurp($file);
    my ($from, $to) = map { place($_, $content) } $first, $last;
    cmp_ok $from, '>=', 0, "$file: \"$first\" occurs once";
    cmp_ok $to, '>=', 0, "$file: \"$last\" occurs once";
    return 0 if $from < 0 || $to < 0;
    cmp_ok $from, '<', $to, "$file: \"$first\" comes before \"$last\"" or return 0;
    return 1 + (substr($content, $from, $to - $from) =~ tr/\n//);
}

my $read = qr/\*\*Read\*\*\s+\[([^\]]+)\]\(([^)]+)\)\s+from\s+`([^`\n]+)`\s+to\s+`([^`\n]+)`\.\n/;
my $answered = qr{\*\*Question\.\*\*\s[^<]+\?[^<]*
    <details><summary>Answer</summary>\n\n[^<]+\n\n</details>\n}x;

my $tour = slurp('docs/tour.md');
my ($found, %stops, %lines) = 0;
my (undef, @paths) = split /^(?=## Path )/m, $tour;
is scalar @paths, 3, 'three paths';
for my $path (@paths) {
    my ($name) = $path =~ /^## (Path \d)/;
    my (undef, @stops) = split /^(?=### )/m, $path;
    $stops{$name} = @stops;
    for my $stop (@stops) {
        my ($title) = $stop =~ /^### (.*)/;
        my @reads;
        while ($stop =~ /$read/g) {
            my ($label, $link, $first, $last) = ($1, $2, $3, $4);
            is $link, "../$label", "$name, $title: the link is the file's";
            push @reads, lines_between($label, $first, $last);
        }
        cmp_ok scalar @reads, '>=', 1, "$name, $title: there is something to read";
        $found += @reads;
        $lines{$name} += $_ for @reads;
        is scalar(() = $stop =~ /$answered/g), 1, "$name, $title: a question and its answer";
        like $stop, qr/\*\*Ignore\*\*\s+\S/, "$name, $title: what to ignore at first";
    }
}
is $found, scalar(() = $tour =~ /\*\*Read\*\*/g), 'every "Read" has the form that is checked here';
is $stops{'Path 1'}, 5, 'path 1 has five stops';
cmp_ok $lines{'Path 1'}, '>=', 200, "path 1 has $lines{'Path 1'} lines: at least 200";
cmp_ok $lines{'Path 1'}, '<=', 320, 'and at most 320';
done_testing;
