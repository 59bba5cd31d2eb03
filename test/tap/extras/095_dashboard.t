# The dashboard: a real run is trained, and the page is seen to change in a real browser; 200 open
# pages; a hostile visitor.
use strict;
use warnings;
use utf8;
use Test::More;
use GannClass;
use GannBrowser;
use GannTest;
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8;
my $class = GannClass->new(conf => [ "log_min_messages = 'warning'", 'max_connections = 60' ]);
my $http = HTTP::Tiny->new(timeout => 30, keep_alive => 0);

$class->psql("CREATE ROLE screen LOGIN PASSWORD 'watch' IN ROLE gan_viewer");
my $uri = $class->uri('screen', 'watch');
# As it is after gan_doctor's remedies.
$class->psql($class->psql("SELECT remedy FROM gan_doctor() WHERE item = '$_'"))
    for 'CONNECT for everybody', 'functions of PostgreSQL';

# Starts gan_dashboard at a free port; returns its pid and its address.
sub dashboard {
    my (@options) = @_;
    my $pid =
        $class->start_background({ name => 'dashboard', env => { GAN_DASHBOARD_TOKEN => '' } },
        'src/dashboard/gan_dashboard', '--connect', $uri, '--listen', '127.0.0.1:0', @options);
    $class->wait_for_log($pid, qr{http://127\.0\.0\.1:\d+/}, 30) or diag $class->log_of($pid);
    my ($address) = $class->log_of($pid) =~ m{(http://127\.0\.0\.1:\d+)/};
    return ($pid, $address);
}

# Opens a stream of events by hand.
sub stream {
    my ($address, $path) = @_;
    my ($host) = $address =~ m{//(.*)};
    my $socket = IO::Socket::INET->new(PeerAddr => $host, Timeout => 20)
        or die "no connection to $host: $!";
    print {$socket} "GET $path HTTP/1.1\r\nHost: $host\r\n\r\n";
    return $socket;
}

# Sends a request by hand; returns all of the answer.
sub ask {
    my ($to, $request) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $to =~ s{.*//}{}r, Timeout => 20)
        or die "no connection to $to: $!";
    print {$socket} $request;
    local $/;
    return <$socket> // '';
}

# Reads from streams for $seconds, or until $enough says so; returns their texts.
sub listen_to {
    my ($seconds, $enough, @sockets) = @_;
    my %text = map { $_ => '' } @sockets;
    my $select = IO::Select->new(@sockets);
    my $until = time + $seconds;
    while ((my $left = $until - time) > 0 && !$enough->(\%text)) {
        for my $socket ($select->can_read($left < 0.2 ? $left : 0.2)) {
            my $got = sysread $socket, my $bytes, 65536;
            if ($got) { $text{$socket} .= $bytes }
            else { $select->remove($socket) }
        }
    }
    return map { $text{$_} } @sockets;
}

my ($pid, $address) = dashboard();
ok $address, 'it says where it is';

# ---- another one at the same port would share its visitors
my ($taken) = $address =~ m{:(\d+)$};
my ($shared, $why) = $class->run({ timeout => 20 },
    'src/dashboard/gan_dashboard', '--connect', $uri, '--listen', "127.0.0.1:$taken");
is $shared, 2, 'a second dashboard at the same port ends';
like $why,
    qr/can't listen at 127\.0\.0\.1, port $taken: the port is taken by another program\n.*--listen/,
    'and says why, and what to do';

# ---- what a visitor may do

sub status {
    my ($method, $path, %headers) = @_;
    return $http->request($method, $address . $path, { headers => \%headers });
}

my $page = status('GET', '/');
is $page->{status}, 200, 'the page';
like $page->{headers}{'content-security-policy'},
    qr/^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; /,
    'nothing but its own files may run';
is $page->{headers}{'set-cookie'}, undef, 'no cookie';
unlike $page->{content}, qr/<script(?![^>]*\ssrc=)|\son\w+=|style=|javascript:|watch/,
    'no script, style or secret within it';
is status('HEAD', '/')->{status}, 200, 'HEAD';
is status('GET', '/', 'If-None-Match' => $page->{headers}{etag})->{status}, 304,
    'not sent again when it is the same';
for my $method (qw(POST PUT DELETE OPTIONS TRACE)) {
    is status($method, '/')->{status}, 405, "$method is refused";
}
is status('GET', $_)->{status}, 404, "$_ is not there"
    for '/nothing', '/../../etc/passwd', '/%2e%2e/etc/passwd', '/sheet/1/0.png/', '/sheet/1/0',
    '/events?run=x', '/events?run=-1', '/index.html/';
is status('GET', '/' . 'x' x 40000)->{status}, 414, 'an endless address is refused';
is status('GET', '/sheet/999/0.png')->{status}, 404, 'a sheet of a run that is not there';
my $packed = status('GET', '/chart.js', 'Accept-Encoding' => 'gzip');
is $packed->{headers}{'content-encoding'}, 'gzip', 'the chart library travels packed';
cmp_ok length $packed->{content}, '<', 80_000, 'in 80 kB';

# A page of another site whose name was made to lead here (DNS rebinding) may not read the class.
sub host {
    my ($host, $path) = @_;
    return ask($address, "GET $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n");
}
like host($_, '/'), qr/^HTTP\/1\.1 200 /, "Host: $_ is answered"
    for 'localhost', 'LOCALHOST:1', '127.0.0.1:8765', '[::1]:8765';
like host($_->[0], $_->[1]), qr/^HTTP\/1\.1 403 .*or start it with --host NAME/s,
    "$_->[1] for Host: $_->[0] is refused"
    for map {
    my $name = $_;
    map { [ $name, $_ ] } '/', '/events', '/sheet/1/0.png', '/app.js'
    } 'evil.example', 'localhost.evil.example:8765';

# A role that may look, and nothing else.
is(($class->psql_fails('SELECT * FROM gan_worker', user => 'screen', password => 'watch'))[0],
    '42501', 'its login may read no table');
is(($class->psql_fails("SELECT gan_generate(1)", user => 'screen', password => 'watch'))[0],
    '42501', 'and call nothing that costs');
my ($code, $output) =
    $class->run('src/dashboard/gan_dashboard', '--connect', $class->student('eve'),
    '--listen', '127.0.0.1:0', '--token-file', '/dev/null');
is $code, 2, 'a wrong token file is a mistake';
like $output, qr/token file/, 'which is named';

# ---- a run, watched

my $run = $class->create_run(
    'fashion',
    units_per_iteration => 4,
    images_per_unit => 32,
    batch => 32,
    target_iterations => 100000,
    lease_seconds => 20
);
$class->psql(
    "SELECT gan_set_policy($run, sheet_every => 2, quality_every => 2, quality_images =>
            16)"
);
$class->psql(
    "INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, last_seen)
        VALUES ($run, 'mallory', 'Mallory', 2, 1000, '', '', now() - interval '2 hours')"
);
# Fashion-MNIST's
$class->psql(
    "SELECT gan_set_dataset($run, 60000, "
    . "'\\x0dfde18c63c6787ab029d04d59b6eafae962d32a10d34822dcfb526ca4383d88')"
);
# The table's own check keeps such names out; the page must not depend on it.
$class->psql('ALTER TABLE gan_account DROP CONSTRAINT gan_account_nickname_check');
$class->psql(
    q{INSERT INTO gan_account (login, nickname)
        VALUES ('mallory', '<img src=x onerror="document.title=''hacked''">'), ('ann', 'Ann')}
);

my $began = time;
sub mark { note sprintf '%.1f s: %s', time - $began, $_[0]; return }

my $missing = GannBrowser::missing();
my $browser = $missing ? undef : GannBrowser->new($class);
my $gone = 0;

# Fails for each rule of accessibility that the page as it stands violates.
sub accessible {
    my ($what) = @_;
    SKIP: {
        my $found = $browser->axe;
        skip 'axe-core is not there (npm, or the network, is missing)', 1 if !$found;
        is_deeply $found->{violations}, [], "axe-core: no violation, $what";
        cmp_ok $found->{passes}, '>', 15, 'of many rules that apply';
    }
    return;
}

sub text {
    my ($selector) = @_;
    return $browser->js('return document.querySelector(arguments[0]).textContent', $selector);
}

SKIP: {
    skip "$missing is not there", 1 if $missing;
    $browser->screen(1280, 900);
    $browser->open("$address/");
    ok $browser->wait_js(
        'return document.getElementById("happening").textContent === "Not started yet"', 20
        ),
        'before the start it says so';
    accessible('before the start');

    mark('browser is up');
    $class->coordinate(120);
    $class->psql("SELECT gan_start($run)");
    ok $browser->wait_js(
        'return /^Iteration 0: 0 of 4 units done, and no worker is running; 4 are '
        . 'free/.test(document.getElementById("happening").textContent)',
        20
        ),
        'then that nobody computes';
    is $browser->js('return document.querySelectorAll("#tiles .free").length'), 4,
        'four tiles, all free';
    ok $browser->wait_js('return document.getElementById("sheet").naturalWidth > 0', 20),
        'the sheet of iteration 0 is there';
    my $noise = $browser->js('return document.getElementById("sheet").src');

    # Slow enough to be seen: the worker stops for a moment within its first units.
    $browser->js(
        'window.seen = new Set(); new MutationObserver(() => { for (const t of '
        . 'document.querySelectorAll("#tiles li")) seen.add(t.className); '
        . 'seen.add(document.getElementById("happening").textContent); }).observe(document.body, '
        . '{subtree: true, childList: true, attributes: true, characterData: true})'
    );
    my $ann = $class->worker('ann', '--name', 'Ann', '--threads', '1');
    ok $browser->wait_js('return seen.has("tile claimed") && seen.has("tile done")', 40),
        'tiles fill as the worker computes';
    ok $browser->wait_js('return [...seen].some((s) => /waiting for Ann/.test(s))', 20),
        'a sentence says who is waited for';
    ok $browser->wait_js(
        'return /^Iteration (\d+)/.exec(document.getElementById("happening").textContent)?.[1] '
        . '>= 3',
        40
        ),
        'the iteration rises';
    ok $browser->wait_js('return document.getElementById("sheet").src !== arguments[0]',
        20, $noise),
        'a new sheet appears by itself';
    ok $browser->wait_js('return +document.getElementById("film-slider").max >= 2', 20),
        'the slider grows with the sheets';
    ok $browser->wait_js(
        'return Chart.getChart("loss").data.datasets.every((set) => set.data.length >= 3)', 20
        ),
        'both losses are drawn';
    ok $browser->wait_js(
        'return Chart.getChart("speed").data.datasets[0].data.length >= 3 && /images per second '
        . '\\?[\\d,.K]+/.test(document.getElementById("figures").textContent)',
        20
        ),
        'throughput as a curve and as a figure';
    like $browser->js('return document.getElementById("loss").getAttribute("aria-label")'),
        qr/Curve over \d+ iterations: Discriminator [\d.]+ at first/, 'and told in words';
    ok $browser->wait_js(
        'return !document.getElementById("quality-section").hidden && '
        . 'Chart.getChart("quality").data.datasets[0].data.length >= 2',
        30
        ),
        'quality, too, as soon as it is measured';
    ok $browser->wait_js(
        'return /distance from real/.test(document.getElementById("figures").textContent)', 10
        ),
        'and the newest figure of it';
    my $row = $browser->wait_js(
        'return [...document.querySelectorAll("#class tr")].map((r) => r.textContent).find((t) '
        . '=> /Ann/.test(t))',
        10
    );
    like $row, qr/^1Ann(computing|waiting)[\d,.K]+100 %/, 'the class: Ann did it all';
    like text('#pooled'),
        qr/^1 of 2 workers active, together \d+ cores? and [\d,.]+ [MG]B of memory\.$/,
        'what is pooled';
    unlike $browser->js('return document.documentElement.outerHTML'), qr/mallory/,
        'logins are not on the page';
    is $browser->js('return document.querySelectorAll("#class img").length'), 0,
        'a name with markup in it is text';
    like $browser->js('return document.getElementById("class").textContent'),
        qr/<img src=x onerror=/, 'as it stands';
    unlike $browser->js('return document.title'), qr/hacked/, 'and does nothing';

    mark('trained');
    # By the keyboard alone.
    $browser->js('document.getElementById("run").focus()');
    my %reached;
    for (1 .. 30) {
        $browser->keys("\x{E004}");
        $reached{ $browser->js(
                'return document.activeElement.id || document.activeElement.className') }++;
    }
    ok $reached{$_}, "Tab reaches $_"
        for qw(film-play film-slider film-newest help me class-table projector);
    $browser->js('document.getElementById("film-slider").focus()');
    $browser->keys("\x{E011}");    # Home
    ok $browser->wait_js(
        'return /^Iteration 0;/.test(document.getElementById("sheet-caption").textContent)', 10
        ),
        'the keyboard moves the slider to the first sheet';
    is $browser->js('return document.getElementById("sheet").src'), $noise,
        'which is on the screen again';
    my $sheets = $browser->js('return +document.getElementById("film-slider").max');
    ok $browser->wait_js('return +document.getElementById("film-slider").max > arguments[0]',
        30, $sheets),
        'while newer ones come';
    is $browser->js('return document.getElementById("film-slider").value'), '0',
        'it stays where it was put';
    $browser->js('document.getElementById("film-play").focus()');
    $browser->keys("\x{E007}");    # Enter
    ok $browser->wait_js('return +document.getElementById("film-slider").value >= 2', 10),
        'the film runs';
    ok $browser->wait_js(
        'return document.getElementById("film-play").textContent === "Play the film" && /the '
        . 'newest sheet/.test(document.getElementById("sheet-caption").textContent)',
        30
        ),
        'to the newest sheet';

    mark('keyboard');
    # Every way to look at it.
    for my $view (
        [ 'light', 1280, 900, '', {} ],
        [ 'dark', 1280, 900, '', { scheme => 'dark' } ],
        [ 'phone', 360, 740, '', { mobile => 1, scale => 2 } ],
        [ 'projector', 1920, 1080, '?projector', { scheme => 'dark' } ]
        )
    {
        my ($name, $width, $height, $query, $how) = @{$view};
        $browser->screen($width, $height, %{$how});
        $browser->open("$address/$query");
        $browser->wait_js(
            'return document.getElementById("sheet").naturalWidth > 0 && '
            . 'window.Chart?.getChart("loss")?.data.datasets[0].data.length > 0',
            20
        );
        cmp_ok $browser->js('return document.documentElement.scrollWidth'), '<=', $width,
            "$name: nothing is wider than the screen";
        accessible($name);
        cmp_ok $browser->screenshot("build/test/dashboard-$name.png"), '>', 10_000,
            "a picture of it: build/test/dashboard-$name.png";
    }
    # Nobody scrolls in a lecture hall, not for eight units either.
    for my $size ([ 1280, 720 ], [ 1024, 768 ], [ 1920, 1080 ]) {
        $browser->screen(@{$size});
        $browser->js(
            'const t = document.getElementById("tiles"); while (t.children.length < 8) '
            . 't.append(t.firstChild.cloneNode(true))'
        );
        ok $browser->wait_js(
            'return ["happening", "sheet", "film-play", "tiles", "loss", "pooled"].every((i) => '
            . '{ const b = document.getElementById(i).getBoundingClientRect(); return b.height '
            . '>= 20 && b.bottom <= innerHeight; })',
            10
            ),
            "the projector shows all of it at $size->[0] x $size->[1]";
    }
    cmp_ok $browser->js(
        'return parseFloat(getComputedStyle(document.getElementById("happening")).fontSize)'),
        '>=', 40, 'the projector\'s sentence is 40 pixels high';
    is_deeply [ grep { !/sheet.*404/ } $browser->complaints ], [],
        'the browser has no complaint about the page, its policy least of all';

    mark('views');

    # Above 48 units there is no room for names on the tiles.
    my $many =
        $class->create_run('many', units_per_iteration => 60, images_per_unit => 8, batch => 8);
    $class->psql("SELECT gan_start($many)");
    my $hand = $class->psql("SELECT gan_join($many, 'x', 60000, sha256('faces'), 1, 1, '', '')",
        user => 'eve');
    $class->psql("SELECT gan_claim($hand)", user => 'eve');
    $browser->screen(1280, 900);
    $browser->open("$address/?run=$many");
    ok $browser->wait_js(
        'return document.querySelectorAll("#tiles.many li").length === 60 && /Computing: student '
        . '\\d+ \\(1\\)\\./.test(document.getElementById("tiles-note").textContent)',
        20
        ),
        'sixty units: small tiles, and a line says who computes';
    accessible('sixty units');
    $browser->screenshot('build/test/dashboard-many.png');
    $browser->open("$address/?run=$run");
    $class->psql("SELECT gan_drop_run($many)");
    ok $browser->wait_js('return document.getElementById("run").options.length === 1', 20),
        'a run that is removed leaves the list';

    unlike $class->log_of($pid), qr/does not answer/, 'the database has always answered';

    # The database goes away for a while; the page says so, and continues by itself.
    $class->stop('immediate');
    ok $browser->wait_js(
        'return /The database does not '
        . 'answer/.test(document.getElementById("trouble").textContent) && '
        . '!document.getElementById("trouble").hidden',
        30
        ),
        'the page says that the database is away';
    $class->start;
    $class->coordinate(120);
    ok $browser->wait_js('return document.getElementById("trouble").hidden', 60),
        'and recovers with it';
    my $before = (text('#happening') =~ /^Iteration (\d+)/)[0];
    ok $browser->wait_js(
        'return /^Iteration (\d+)/.exec(document.getElementById("happening").textContent)?.[1] > '
        . 'arguments[0]',
        90,
        $before
        ),
        'the run continues, and the page with it';

    mark('database back');
    # The dashboard itself is restarted: the page comes back to it.
    my ($port) = $address =~ /:(\d+)$/;
    $class->signal($pid, 'TERM');
    is $class->wait_for($pid, 20), 0, 'SIGTERM ends it, open pages or not';
    ok $browser->wait_js(
        'return /connection to the dashboard is '
        . 'lost/.test(document.getElementById("trouble").textContent)',
        20
        ),
        'the page sees that';
    $pid = $class->start_background({ name => 'dashboard' },
        'src/dashboard/gan_dashboard', '--connect', $uri, '--listen', "127.0.0.1:$port");
    ok $browser->wait_js('return document.getElementById("trouble").hidden', 40), 'and comes back';

    mark('dashboard back');
    # Another run: chosen by hand.
    my $other = $class->create_run('second', target_iterations => 5);
    ok $browser->wait_js('return document.getElementById("run").options.length === 2', 20),
        'a new run is on the list';
    $browser->js(
        'const s = document.getElementById("run"); s.value = arguments[0]; s.dispatchEvent(new '
        . 'Event("change"))',
        $other
    );
    ok $browser->wait_js(
        'return document.getElementById("happening").textContent === "Not started yet"', 20
        ),
        'and can be chosen';
    like $browser->js('return location.search'), qr/run=$other/, 'which the address tells';
    like $browser->js('return document.getElementById("projector").href'), qr/run=$other/,
        'and the projector continues with';
    $browser->quit;
    $class->signal($ann, 'TERM');
    $class->wait_for($ann, 30);
}

mark('browser closed');
# ---- 200 pages, one question a second

if ($missing) {
    $class->coordinate(120);
    $class->psql("SELECT gan_start($run)");
    $class->poll_until("SELECT count(*) FROM gan_sheet_list WHERE run = $run", '1', 30);
}
my @pages = map { stream($address, "/events?run=$run") } 1 .. 200;
my ($first) = listen_to(
    40,
    sub {
        my ($t) = @_;
        return !grep { !/event: curves/ } values %{$t};
    },
    @pages
);
my @bodies = listen_to(3, sub {0}, @pages);
is scalar(grep {length} @bodies), 200, 'two hundred open pages are told';
is scalar(keys %{ { map { $_ => 1 } @bodies } }), 1, 'all the same bytes';
$class->configure("log_statement = 'all'");
sleep 1;
my $log = length $class->server_log;
my $start = time;
listen_to(6, sub {0}, @pages);
my $asked = () = substr($class->server_log, $log) =~ /screen\@train LOG:  execute/g;
my $seconds = time - $start;
note sprintf '%d statements of the dashboard in %.1f s, with 200 pages', $asked, $seconds;
cmp_ok $asked, '>=', 2, 'the database is asked';
cmp_ok $asked, '<=', $seconds + 2, 'once a second at most';
is $class->psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'screen'"), '1',
    'over one connection';

# A sheet that all of them want is fetched once; each page has a second connection for it, and all
# come from one address.
$log = length $class->server_log;
my @wanting = map { stream($address, "/sheet/$run/0.png") } 1 .. 200;
my @sheets = listen_to(
    20,
    sub {
        my ($t) = @_;
        return !grep { !/IEND/ } values %{$t};
    },
    @wanting
);
is scalar(grep {/^HTTP\/1\.1 200 .*image\/png.*\x89PNG/s} @sheets), 200,
    'all of them get the sheet';
sleep 0.5;
my $fetched = () = substr($class->server_log, $log) =~ /execute[^\n]*gan_sheet_png/g;
is $fetched, 1, 'which was asked for once';
my $sheet = status('GET', "/sheet/$run/0.png");
is $sheet->{content}, pack('H*', $class->psql("SELECT encode(gan_sheet_png($run, 0), 'hex')")),
    'byte for byte';
is status('GET', "/sheet/$run/0.png", 'If-None-Match' => $sheet->{headers}{etag})->{status}, 304,
    'and not sent again';
$_->close for @wanting;

# Requests for sheets that don't exist cost no more than a statement per second, too.
$log = length $class->server_log;
$start = time;
my @guessing = map { stream($address, "/sheet/$run/$_.png") } map { 1_000_000 + $_ } 1 .. 24;
my @absent = listen_to(
    20,
    sub {
        my ($t) = @_;
        return !grep { !/ 404 / } values %{$t};
    },
    @guessing
);
$seconds = time - $start;
$fetched = () = substr($class->server_log, $log) =~ /execute[^\n]*gan_sheet_png/g;
is scalar(grep {/ 404 /} @absent), 24, 'twenty-four sheets that are not there';
cmp_ok $fetched, '>=', 3, 'eight a statement at most';
cmp_ok $fetched, '<=', $seconds + 1.1, 'and a second between them';
$_->close for @pages, @guessing;
$class->configure("log_statement = 'none'");
unlike $class->log_of($pid), qr/does not answer/, 'all that while the database has answered';

mark('200 pages');
# ---- a run that goes back takes its sheets with it
my $back = $class->create_run(
    'back',
    units_per_iteration => 1,
    images_per_unit => 32,
    batch => 32,
    target_iterations => 3,
    checkpoint_every => 1,
    checkpoints_kept => 9,
    dataset_images => 60000,
    dataset_digest => $class->psql(
        "SELECT quote_literal(dataset_digest)
            FROM gan_run
            WHERE run = $run"
    )
);
$class->psql(
    "SELECT gan_set_policy($back, sheet_every => 1, quality_every => 0);
            SELECT gan_start($back)"
);
my $painter = $class->worker('ann', '--run', 'back');
$class->coordinate(120);
is $class->wait_for($painter, 60), 0, 'a run of three iterations';
ok $class->poll_until("SELECT max(iteration) FROM gan_sheet_list WHERE run = $back", '3', 30),
    'and its sheets';
my $watching = stream($address, "/events?run=$back");
my ($seen) = listen_to(
    20,
    sub {
        my ($t) = @_;
        return !grep { !/event: state/ } values %{$t};
    },
    $watching
);
like $seen, qr/"branch": 0/, 'a page looks at it';
is status('GET', "/sheet/$back/3.png")->{status}, 200, 'the newest one is here';
$class->psql("SELECT gan_rollback($back, 1)");
my $gone;
for (1 .. 60) {
    listen_to(0.5, sub {0}, $watching);
    $gone = status('GET', "/sheet/$back/3.png")->{status};
    last if $gone == 404;
}

is $gone, 404, 'until the run goes back';
$watching->close;
$class->psql("SELECT gan_stop($back)");

# ---- a run that comes, and goes
# with no run running the database is asked every five seconds
$class->psql("SELECT gan_stop($run)");
my $future = $class->psql("SELECT nextval(pg_get_serial_sequence('gan_run', 'run')) + 1");
$watching = stream($address, "/events?run=$future");
($seen) = listen_to(
    20,
    sub {
        my ($t) = @_;
        return !grep { !/event: runs/ } values %{$t};
    },
    $watching
);
unlike $seen, qr/event: state/, 'a visitor who names a run that does not exist';
like $seen, qr/"name": "back"/, 'gets the list of runs';
is $class->create_run('future', target_iterations => 1), $future, 'the run is created';
like + (
    listen_to(
        20,
        sub {
            my ($t) = @_;
            return !grep { !/event: state/ } values %{$t};
        },
        $watching
    )
)[0], qr/event: state\ndata: .*"name": "future"/, 'and its page begins by itself';
my $told = time;
$class->psql("SELECT gan_start($future)");
like + (
    listen_to(
        20,
        sub {
            my ($t) = @_;
            return !grep { !/event: state\ndata: .*"running"/ } values %{$t};
        },
        $watching
    )
)[0], qr/"running"/, 'it is started';
cmp_ok time - $told, '<', 3,
    'which the page is told when the database says so, not when it is asked next';
$class->psql("SELECT gan_stop($future)");
$class->psql("SELECT gan_drop_run($future)");
# (An event of before may still be on its way.)
like + (
    listen_to(
        20,
        sub {
            my ($t) = @_;
            return !grep { !/event: runs\ndata: (?!.*"future")/ } values %{$t};
        },
        $watching
    )
)[0], qr/event: runs\ndata: (?!.*"future")/, 'the run is removed, which it is told too';
$watching->close;

mark('rollback');
# ---- tokens and limits

my $token_file = $class->folder . '/token';
open my $out, '>', $token_file or die $!;
print {$out} "open-sesame-123\n";
close $out;
my ($guarded, $there) = dashboard('--token-file', $token_file, '--per-address', 5);
$address = $there;
unlike $class->log_of($guarded), qr/sesame/, 'the token is not printed';
is status('GET', $_)->{status}, 401, "$_ asks for the token"
    for '/', '/events', "/sheet/$run/0.png", '/?token=wrong', '/?token=open-sesame-12';
is status('GET', '/app.js')->{status}, 200, 'the program of the page is no secret';
is status('GET', '/?token=open-sesame-123')->{status}, 200, 'with it in the address';
is status('GET', "/sheet/$run/0.png", Authorization => 'Bearer open-sesame-123')->{status}, 200,
    'or in a header';
# The connections of the answers above may still be closing.
my (@five, $all);
sleep 1;
for (1 .. 6) {
    @five = map {
        eval { stream($address, '/events?token=open-sesame-123') } // ()
    } 1 .. 5;
    $all = @five == 5 && !grep { !/200 OK/ } listen_to(
        5,
        sub {
            my ($t) = @_;
            return !grep { !/200 OK/ } values %{$t};
        },
        @five
    );
    last if $all;
    $_->close for @five;
    sleep 11;    # a stream whose reader has gone is noticed at the second beat
}
ok $all, 'five connections from one address';
my $sixth = eval { stream($address, '/events?token=open-sesame-123') };
is $sixth ? (listen_to(2, sub {0}, $sixth))[0] : '', '', 'a sixth gets no answer';
$_->close for @five, $sixth ? $sixth : ();
ok status_until(200), 'when they have gone there is room again';

sub status_until {
    my ($wanted) = @_;
    for (1 .. 400) {
        return 1 if status('GET', '/?token=open-sesame-123')->{status} == $wanted;
        sleep 0.1;
    }
    return 0;
}

mark('end');
done_testing;
