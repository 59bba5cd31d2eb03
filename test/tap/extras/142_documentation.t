# The dashboard serves the documentation: each page is there, each link leads somewhere, and a phone
# can show it.
use strict;
use warnings;
use Test::More;
use GannBrowser;
use GannTest;
use HTTP::Tiny;

plan skip_all => 'cmark-gfm is not installed' if system('cmark-gfm --version >/dev/null 2>&1') != 0;
my $server = GannTest->new;
$server->psql('CREATE ROLE screen LOGIN IN ROLE gan_viewer');
my $database = join ' ', 'host=' . $server->host, 'port=' . $server->port, 'user=screen',
    "dbname=$server->{database}";
my $pid = $server->start_background(
    { name => 'dashboard', env => { GAN_DASHBOARD_TOKEN => 'secret-of-the-class' } },
    'src/dashboard/gan_dashboard', '--connect', $database, '--listen', '127.0.0.1:0');
$server->wait_for_log($pid, qr{http://\S+:\d+/}, 20);
my ($address) = $server->log_of($pid) =~ m{(http://127\.0\.0\.1:\d+)/};
my $http = HTTP::Tiny->new(timeout => 10);

# Every page, with where its links lead.
sub get {
    my ($path) = @_;
    return $http->get("$address$path", { headers => { 'Accept-Encoding' => 'identity' } });
}
my $contents = get('/docs');
is $contents->{status}, 200, 'the list of pages is there, without the token';
my @pages = $contents->{content} =~ /<li><a href="docs\/([\w-]+)\.html">/g;
my @documents = map {m{([^/]+)\.md$}} 'README.md', glob 'docs/*.md';
is join(' ', sort @pages), join(' ', sort @documents), 'it has every document';
my (%id, %link);
for my $page (@pages) {
    my $answer = get("/docs/$page.html");
    is $answer->{status}, 200, "$page is there" or next;
    like $answer->{headers}{'content-type'}, qr{^text/html}, "$page is a page";
    $id{"$page.html"}{$1} = 1 while $answer->{content} =~ /id="([^"]*)"/g;
    push @{ $link{$page} }, $1 while $answer->{content} =~ /(?:href|src)="([^"]*)"/g;
    unlike $answer->{content}, qr/<a href="[^"]*\.md|<script/,
        "$page links to pages, and has no script";
}
my @broken;
for my $page (sort keys %link) {
    for my $to (grep { !m{^https?:} } @{ $link{$page} }) {
        my ($file, $part) = $to =~ /^([^#]*)(?:#(.*))?$/;
        my $path =
            $file =~ m{^\.\./(.*)} ? "/$1" : $file eq '' ? "/docs/$page.html" : "/docs/$file";
        my $status = $path eq '/' ? 200 : get($path)->{status};
        push @broken, "$page: $to" if $status != 200;
        push @broken, "$page: $to" if defined $part && !$id{ $file || "$page.html" }{$part};
    }
}
is join("\n", @broken), '', 'every link and picture leads somewhere';
is get('/docs/nothing.html')->{status}, 404, 'what is not there is not there';

SKIP: {
    skip 'there is no ' . GannBrowser::missing(), 4 if GannBrowser::missing();
    my $browser = GannBrowser->new($server);
    for my $page ('/docs', '/docs/tour.html', '/docs/instructor.html') {
        $browser->screen(360, 740);
        $browser->open("$address$page");
        cmp_ok $browser->js('return document.documentElement.scrollWidth'), '<=', 360,
            "$page fits a phone";
    }
    $browser->screenshot('build/test/documentation.png');
    is join(' ', $browser->complaints), '', 'the browser has nothing to complain about';
}
$server->signal($pid, 'TERM');
is $server->wait_for($pid, 20), 0, 'the dashboard ends';
done_testing;
