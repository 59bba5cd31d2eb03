#!/usr/bin/perl
# Makes pages of the documentation for the dashboard, with cmark-gfm.
#
#   render.pl ROOT FOLDER LIST
#
# ROOT is the project's folder. Pages and pictures are written to FOLDER; LIST names them for
# assets.c: DOC(number, name, type). Without cmark-gfm LIST is empty, and the dashboard has no /docs.
use strict;
use warnings;

my ($root, $folder, $list) = @ARGV;

# The order in which a reader meets them.
my @order = qw(README student instructor dashboard views learning tour architecture decisions rules
    protocol format security reliability servers testing glossary session notebook);

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    local $/ = undef;
    return scalar <$in>;
}

sub spew {
    my ($file, $text) = @_;
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} $text;
    close $out or die "$file: $!\n";
    return;
}

# The name of a heading in an address, as GitHub makes it.
sub anchor {
    my ($heading) = @_;
    $heading =~ s/<[^>]*>//g;
    $heading =~ s/&\w+;//g;
    $heading = lc $heading;
    $heading =~ s/[^\w\s-]//g;
    $heading =~ s/ /-/g;
    return $heading;
}

# A link of a document, as it is on a page: to another page, to a picture; what is in the sources
# is named only.
sub link_to {
    my ($from, $to, $text, $page_of) = @_;
    return qq{<a href="$to">$text</a>} if $to =~ m{^https?://|^\#};
    my ($file, $part) = $to =~ /^([^#]*)(#.*)?$/;
    my ($name) = $file =~ m{([^/]+)\.md$};
    return $text if !defined $name || !$page_of->{$name};
    return sprintf '<a href="%s.html%s">%s</a>', $name, $part // '', $text;
}

sub render {
    my ($file, $page_of) = @_;
    open my $in, '-|', 'cmark-gfm', '-e', 'table', '-e', 'strikethrough', '--unsafe', $file
        or die "cmark-gfm: $!\n";
    my $html = do { local $/ = undef; <$in> };
    close $in or die "cmark-gfm can't render $file\n";
    $html =~ s{<h([1-6])>(.*?)</h\1>}{sprintf '<h%d id="%s">%s</h%d>', $1, anchor($2), $2, $1}ges;
    $html =~ s{<a href="([^"]*)">(.*?)</a>}{link_to($file, $1, $2, $page_of)}ges;
    $html =~ s{<img src="(?:docs/)?([^"]*)"}{<img src="$1"}g;
    $html =~ s{<table>}{<div class="scroll" tabindex="0"><table>}g;
    $html =~ s{</table>}{</table></div>}g;
    return $html;
}

sub page {
    my ($title, $body, $to) = @_;
    return <<"HTML";
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="${to}../icon.svg">
<link rel="stylesheet" href="${to}docs.css">
</head>
<body>
<nav><a href="${to}../">The class</a> <a href="${to}index.html">All pages</a></nav>
<main>
$body</main>
</body>
</html>
HTML
}

# The list of all pages.
sub contents {
    my ($to, $pages) = @_;
    my $items = join '', map {qq{<li><a href="$to$_->{name}.html">$_->{title}</a></li>\n}} @{$pages};
    return page('Documentation', "<h1>Documentation</h1>\n<ul>\n$items</ul>\n", $to);
}

mkdir $folder;
if (system('cmark-gfm --version >/dev/null 2>&1') != 0) {
    warn "gan_dashboard is built without its pages of documentation: install cmark-gfm for them\n";
    spew($list, '');
    exit;
}
my %file = (README => "$root/README.md", map { m{([^/]+)\.md$} ? ($1 => $_) : () } glob "$root/docs/*.md");
my %place = map { $order[$_] => $_ } 0 .. $#order;
my @pages;
for my $name (sort { ($place{$a} // 99) <=> ($place{$b} // 99) || $a cmp $b } keys %file) {
    my ($title) = slurp($file{$name}) =~ /^# (.*)/m;
    push @pages, { name => $name, title => $title // $name };
}
my @entries;
for my $page (@pages) {
    spew("$folder/$page->{name}.html", page($page->{title}, render($file{ $page->{name} }, \%file), ''));
    push @entries, [ "docs/$page->{name}.html", 'text/html; charset=utf-8' ];
}
spew("$folder/index.html", contents('', \@pages));
spew("$folder/contents.html", contents('docs/', \@pages) =~ s{docs/\.\./}{./}gr);
spew("$folder/docs.css", slurp("$root/src/dashboard/docs/docs.css"));
push @entries, [ 'docs/index.html', 'text/html; charset=utf-8' ], [ 'docs/docs.css', 'text/css; charset=utf-8' ],
    [ 'docs/contents.html', 'text/html; charset=utf-8' ];
for my $picture (glob "$root/docs/*.png") {
    my ($name) = $picture =~ m{([^/]+)$};
    spew("$folder/$name", slurp($picture));
    push @entries, [ "docs/$name", 'image/png' ];
}
for my $entry (@entries) {
    system('sh', '-c', 'gzip -9nc "$1" >"$1.gz"', 'sh', "$folder/../$entry->[0]") == 0
        or die "gzip can't pack $entry->[0]\n";
}
my $number = 0;
spew($list, join '', map { sprintf qq{DOC(%d, "%s", "%s")\n}, $number++, @{$_} } @entries);
