# Words: what docs/glossary.md has replaced, and phrases that no reader should have to decode.
#
#   prove test/house/words.t
use strict;
use warnings;
use Test::More;

# What is not to be found, and what to write.
my %instead = (
    'in work' => 'in progress',
    'is at it' => 'say what it does',
    'anew' => 'again',
    'of no matter' => 'does not matter',
    'heed(?:s|ed|ing)?' => 'obey, follow, take into account',
    'hand(?:s|ed|ing)? (?:it |them |that |these )?in' => 'submit',
    'goes on' => 'continues',
    'so many' => 'a number, or N',
    'as far as' => 'where, or if',
    'read along' => 'read the traffic',
    'accounts that are about' => 'active accounts',
    '[Ww]hoever' => 'name who it is',
);

my @files = grep { !m{^test/(?:house/words\.t|fixture/gannsfriends--)} }
    split /\n/, `git ls-files`;
cmp_ok scalar @files, '>', 300, 'the files are found';
for my $words (sort keys %instead) {
    my @found;
    for my $file (grep { -f && !/\.(?:png|bin|gz|jpg|zip|safetensors)$/ } @files) {
        open my $in, '<', $file or die "$file: $!";
        while (<$in>) { push @found, "$file:$." if /\b$words\b/ }
    }
    is join(' ', @found), '', "\"$words\": $instead{$words}";
}

# ---- the documentation: how long it is, how wide, and no cell that is a paragraph
my ($total, @wide, @cells) = (0);
for my $file ('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', glob 'docs/*.md') {
    next if $file eq 'docs/session.md';                      # which test/tools/session.pl writes
    my $formulas = $file eq 'docs/format.md';
    open my $in, '<:encoding(UTF-8)', $file or die "$file: $!";
    my $code = 0;
    while (<$in>) {
        $total += () = /\S+/g if $file !~ /^C/ && !$formulas;
        chomp;
        $code = !$code if /^```/;
        next if $code || /^```/;
        if (/^\|/) {
            push @cells, "$file:$." if !$formulas && grep { length > 200 } split /(?<!\\)\|/;
        } elsif (length > 100 && !/^    / && !/^!\[|^\[[^\]]+\]: |^https?:/) {
            push @wide, "$file:$.";
        }
    }
}
cmp_ok $total, '<=', 16000, "words of README.md and docs/ without format.md and session.md: $total";
is "@wide", '', 'lines of more than 100 columns';
is "@cells", '', 'table cells of more than 200 characters';
done_testing;
