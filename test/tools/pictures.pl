#!/usr/bin/perl
# Takes the pictures of docs/dashboard.md from a dashboard that shows a running class:
#
#   scripts/demo.sh --data faces.zip --minutes 10 --keep        # prints the dashboard's address
#   perl -Itest/lib test/tools/pictures.pl http://127.0.0.1:8765/ [FOLDER]
use strict;
use warnings;
use GannTest;
use GannBrowser;

my ($address, $folder) = @ARGV;
die "usage: $0 ADDRESS [FOLDER]\n" if !$address;
$folder //= GannTest::root_folder() . '/docs';

my $server = GannTest->new(extension => 0);    # the browser is one of its processes
my $browser = GannBrowser->new($server);
for my $view (
    [ 'dashboard', 1280, 900, '', {} ],
    [ 'dashboard-dark', 1280, 900, '', { scheme => 'dark' } ],
    [ 'dashboard-phone', 390, 844, '', { mobile => 1, scale => 2 } ],
    [ 'dashboard-projector', 1280, 720, '?projector', { scheme => 'dark' } ],
    )
{
    my ($name, $width, $height, $query, $how) = @{$view};
    $browser->screen($width, $height, %{$how});
    $browser->open($address . $query);
    $browser->wait_js(
        'return document.getElementById("sheet").naturalWidth > 0 && '
        . 'window.Chart?.getChart("loss")?.data.datasets[0].data.length > 1',
        60
    );
    $browser->screenshot("$folder/$name.png");
    print "$folder/$name.png\n";
}
$browser->quit;
