# The page in every state of a run: one sentence says what is, another what there is to do; on a
# phone the class's table is whole; what the figures mean is told in place.
use strict;
use warnings;
use utf8;
use Test::More;
use GannClass;
use GannBrowser;

my $missing = GannBrowser::missing();
plan skip_all => "$missing is not there" if $missing;

my $class = GannClass->new(conf => ["log_min_messages = 'warning'"]);
$class->psql('CREATE ROLE screen LOGIN IN ROLE gan_viewer');
my $database = 'host=' . $class->host . ' port=' . $class->port . " user=screen dbname=train";
my $pid = $class->start_background({ name => 'dashboard', env => { GAN_DASHBOARD_TOKEN => '' } },
    'src/dashboard/gan_dashboard', '--connect', $database, '--listen', '127.0.0.1:0');
$class->wait_for_log($pid, qr{http://127\.0\.0\.1:\d+/}, 30);
my ($address) = $class->log_of($pid) =~ m{(http://127\.0\.0\.1:\d+)/};
my $browser = GannBrowser->new($class);
$browser->screen(1280, 900);

sub text {
    my ($id) = @_;
    return $browser->js(
        'const e = document.getElementById(arguments[0]); return e.hidden ? null : e.innerText',
        $id);
}

sub seen {
    my ($id) = @_;
    return $browser->js(
        'const e = document.getElementById(arguments[0]); return e.checkVisibility()', $id);
}

# What happens while nothing runs is looked at every five seconds; a word wakes the dashboard at
# once.
sub wake { return $class->psql('SELECT gan_wake(run) FROM gan_run') }

# Waits until the sentence of what is happening fits; tests what there is to do.
sub says {
    my ($what, $happening, $advice) = @_;
    wake();
    $browser->wait_js(
        'return new RegExp(arguments[0]).test(document.getElementById("happening").textContent)',
        20, "$happening");
    like text('happening'), qr/$happening/, "$what: what is";
    like text('advice'), $advice, "$what: what there is to do";
    if (my $found = $browser->axe) {
        is_deeply $found->{violations}, [], "$what: axe-core finds no violation";
    }
    $browser->screenshot('build/test/state-' . ($what =~ s/\W+/-/gr) . '.png');
    return;
}

sub no_worker_words {
    my ($what) = @_;
    unlike $browser->js('return document.body.innerText'),
        qr/\d+ of \d+ units? (?:in|done)|computing|gan_worker does|waiting for/,
        "$what: nothing says that something is being computed";
    return;
}

# ---- no run at all
$browser->open("$address/");
says(
    'no run',
    'There is no run yet',
    qr/^It appears here as soon as the instructor has created one\.$/
);
ok $browser->js('return document.getElementById("run").disabled'), 'and none to be chosen';

# ---- made, not started
my $run = $class->create_run(
    'states',
    units_per_iteration => 8,
    dataset_images => 60000,
    dataset_digest => "sha256('faces')"
);
says(
    'created',
    'Not started yet',
    qr/^Created at \d\d:\d\d\. You can start gan_worker already: it waits until the instructor starts the run\.$/
);
like text('tiles-note'), qr/^The units of the first iteration appear when the run starts\.$/,
    'the units say when they come';
like text('no-sheet'), qr/^The first picture is drawn when the run has started\.$/,
    'so does the picture';
like text("$_-empty"), qr/^The curve begins when the run has started/, "so does the curve of $_"
    for qw(loss right speed);
like text('quality-empty'),
    qr/^The distance is measured when a worker has sent a summary of the real images/,
    'so does the distance';
is $browser->js('return getComputedStyle(document.getElementById("loss")).visibility'), 'hidden',
    'no empty grid';

# ---- running, and nobody there
$class->psql("SELECT gan_start($run)");
says(
    'nobody joined',
    'Iteration 0: nobody has joined yet; 8 are free|Iteration 0: nobody has joined yet$',
    qr/^To take part, start gan_worker with the connection string that your instructor gave you\.$/
);
is text('pooled'), 'Nobody has joined yet.', 'the class says so';
ok seen('join'), 'and how one takes part';
$browser->screen(1280, 720);
$browser->js('document.documentElement.classList.add("projector")');
ok $browser->wait_js(
    'return ["happening", "advice", "tiles", "pooled", "loss-empty", "quality-empty"].every((i) '
    . '=> { const b = document.getElementById(i).getBoundingClientRect(); return b.height >= 20 '
    . '&& b.bottom <= innerHeight; })',
    10
    ),
    'the projector shows it, too';
$browser->screenshot('build/test/projector-empty.png');
$browser->js('document.documentElement.classList.remove("projector")');
$browser->screen(1280, 900);
$browser->js('document.querySelector("#join summary").focus()');
$browser->keys("\x{E007}");
like text('join'),
    qr/connection string from your instructor, which holds the address of the server/,
    'where the address is found, by the keyboard';
like text('tiles-note'), qr/^A unit is 20 images\.$/, 'the units are there';

# ---- somebody was there, and left: as rows, so that nobody has to wait for it
$class->psql(
    "INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, last_seen)
    SELECT $run, 'student' || i, 'laptop', 4, 8000, '', '', now() - interval '2 hours' - i *
        interval '5 minutes'
    FROM generate_series(1, 12) AS i"
);
$class->psql(
    "SELECT gan_set_nickname('student1', 'Otter'),
            gan_set_nickname('student2', 'A-long-name-of-the-32-letters-ok')"
);
says(
    'nobody active',
    'Iteration 0: 0 of 8 units done, and no worker is running; 8 are free',
    qr/^The last worker was seen 2 h ago\. Start gan_worker again to continue\.$/
);

# ---- the visitor's own tile
$class->student('ann');
$class->psql("SELECT gan_set_nickname('ann', 'Ann')");
my $hand =
    $class->psql("SELECT gan_join($run, 'x', 60000, sha256('faces'), 1, 1, '', '')", user => 'ann');
my ($unit, $token) = split /\|/,
    $class->psql("SELECT unit, token FROM gan_claim($hand)", user => 'ann');
wake();
ok $browser->wait_js(
    'return document.getElementById("happening").textContent === "Iteration 0: 0 of 8 units '
    . 'done, waiting for Ann; 7 are free"',
    20
    ),
    'somebody computes';
is text('advice'), undef, 'and there is nothing to do';
$browser->js(
    'const s = document.getElementById("me"); s.value = "Ann"; s.dispatchEvent(new '
    . 'Event("change"))'
);
is $browser->js(
    'return [...document.querySelectorAll("#tiles .me")].map((t) => t.className + ": " + '
    . 't.querySelector(".who").textContent).join()'
), 'tile claimed me: Ann (you)', 'whose tile is the visitor\'s';
$browser->js(
    'const s = document.getElementById("me"); s.value = ""; s.dispatchEvent(new Event("change"))');
is $browser->js(
    'return document.querySelectorAll(".me").length + '
    . 'String(localStorage.getItem("gannsfriends.me"))'
), '0null', 'until nobody is chosen';
$class->psql("SELECT gan_release($unit, '$token')", user => 'ann');
$class->psql("DELETE FROM gan_worker WHERE login = 'ann'");

# ---- all is done, and no coordinator: what B-3 left a class with
$class->psql(
    "UPDATE gan_work_unit
        SET state = 'done', worker = (SELECT min(worker) FROM gan_worker), attempts = 1,
            token = gen_random_uuid(), weights_nonce = 1, claimed_at = now() - interval '3 minutes',
    submitted_at = now() - interval '2 minutes', batch = 8, loss_d = 1, loss_g = 1,
        accuracy_real = 0.5, accuracy_fake = 0.5
    WHERE run = $run"
);
says(
    'no coordinator',
    'Iteration 0: 8 of 8 units done, but they have waited (2 min|1\d\d s) for the step',
    qr/^The coordinator does not seem to run\. The instructor must start it/
);

# ---- what the run itself has to tell is text
$class->psql(q{CREATE OR REPLACE FUNCTION gan_notice(run int) RETURNS text LANGUAGE sql STABLE
            STRICT SET search_path = pg_catalog, pg_temp AS $$ SELECT
            'Paused: <b onclick=x>three steps</b> failed.' $$});
ok $browser->wait_js(
    'return document.getElementById("notice").textContent === "Paused: <b onclick=x>three '
    . 'steps</b> failed."',
    20
    ),
    'a notice is shown as it is';
ok seen('notice'), 'and seen';
$class->psql("SELECT gan_pause($run)");
says(
    'paused',
    'Paused at iteration 0 of 1000',
    qr/^Paused at \d\d:\d\d\. Leave your worker running: it waits until the instructor resumes the run\.$/
);
$class->psql(q{CREATE OR REPLACE FUNCTION gan_notice(run int) RETURNS text LANGUAGE sql STABLE
            STRICT SET search_path = pg_catalog, pg_temp AS $$ SELECT NULL::text $$});
ok $browser->wait_js('return document.getElementById("notice").hidden', 20),
    'and gone when it is over';

# ---- stopped in the middle of an iteration
$class->psql(
    "UPDATE gan_work_unit
        SET state = 'pending', worker = NULL, token = NULL, claimed_at = NULL, submitted_at = NULL,
            batch = NULL, loss_d = NULL, loss_g = NULL, accuracy_real = NULL, accuracy_fake = NULL
    WHERE run = $run AND first_position > 0; SELECT gan_stop($run)"
);
says(
    'stopped',
    'Stopped after 0 of 1000 iterations',
    qr/^Stopped at \d\d:\d\d\. Nothing is being computed any more\. The pictures and curves stay here\.$/
);
no_worker_words('stopped');
is text('tiles-note'), 'Nothing is being computed: the run was stopped.',
    'in the place of the units';
ok !seen($_), "no $_" for qw(progress-line legend join);
like text('pooled'), qr/^12 workers took part: 0 images together\.$/, 'who took part';
like text('loss-empty'), qr/^The run ended before there was a curve\.$/, 'and no curve is promised';
is $class->psql("SELECT stopped_at > now() - interval '1 minute' FROM gan_run WHERE run = $run"),
    't', 'the server knows when';
my $stopped = $class->psql("SELECT stopped_at FROM gan_run WHERE run = $run");
$class->psql("SELECT gan_stop($run)");
is $class->psql("SELECT stopped_at FROM gan_run WHERE run = $run"), $stopped,
    'stopping it once more changes nothing';
$class->psql("UPDATE gan_run SET stopped_at = '2020-05-03 12:00' WHERE run = $run");
ok $browser->wait_js(
    'return /^Stopped on 3 May at \d\d:\d\d\./.test(document.getElementById("advice").textContent)',
    20
    ),
    'of another day it says which';

# ---- on a phone: the table is whole
sub cut {
    return $browser->js(
        'const w = document.documentElement.clientWidth; return '
        . '[...document.querySelectorAll("#class-table, #class-table td")].filter((e) => { const '
        . 'b = e.getBoundingClientRect(); return b.width === 0 || b.right > w + 0.5 || b.left < '
        . '-0.5 || e.scrollWidth > e.clientWidth + 1; }).map((e) => e.textContent)'
    );
}
for my $width (320, 360, 390, 600, 768, 1024, 1280) {
    $browser->screen($width, 844, $width < 700 ? (mobile => 1) : ());
    $browser->wait_js('return document.getElementById("class").children.length === 12', 10);
    is_deeply cut(), [], "$width pixels wide: no cell of the class's table is cut";
    is $browser->js('return document.querySelector("#class tr").querySelectorAll("td").length'), 7,
        'nor left out';
    cmp_ok $browser->js('return document.documentElement.scrollWidth'), '<=', $width,
        'nothing is wider than the screen';
}
$browser->screen(390, 844, mobile => 1, scale => 2);
$browser->js('document.querySelector(".class").scrollIntoView()');
$browser->screenshot('build/test/phone-class.png');
if (my $found = $browser->axe) {
    is_deeply $found->{violations}, [], 'axe-core finds no violation on a phone';
}
$browser->screen(1280, 900);

# ---- this is me
is $browser->js('return document.getElementById("me").options.length'), 13,
    'everybody can be chosen, and nobody';
$browser->js(
    'const s = document.getElementById("me"); s.value = "Otter"; s.dispatchEvent(new '
    . 'Event("change"))'
);
is $browser->js(
    'return [...document.querySelectorAll("#class tr.me")].map((r) => '
    . 'r.children[1].textContent).join()'
), 'Otter (you)', 'the visitor is marked, in words, too';
like text('me-note'), qr/^You are number \d+: 0 images\.$/, 'and told where';
$browser->open("$address/?run=$run");
ok $browser->wait_js(
    'return document.querySelector("#class tr.me")?.children[1].textContent === "Otter (you)"', 20),
    'which this browser keeps';
$class->psql("SELECT gan_set_nickname('student1', 'Heron')");
ok $browser->wait_js(
    'return document.querySelector("#class tr.me")?.children[1].textContent === "Heron (you)"', 20),
    'under another nickname, too';
is $browser->js('return localStorage.getItem("gannsfriends.me")'), 'Heron', 'the new one is kept';

# ---- a run to its end, with a real worker
my $ann = $class->create_run('short', target_iterations => 3, units_per_iteration => 2);
$class->psql(
    "SELECT gan_set_policy($ann, sheet_every => 1, quality_every => 2, quality_images =>
            16); SELECT gan_start($ann)"
);
$class->coordinate(120);
$browser->open("$address/");
is $class->psql("SELECT state FROM gan_run WHERE run = $ann"), 'running', 'a second run is running';
ok $browser->wait_js('return /short/.test(document.title)', 20),
    'the page takes it by itself, though it may have begun with the one that is over';
$browser->js('localStorage.setItem("gannsfriends.me", "Ann")');
$browser->open("$address/");
my $worker = $class->worker('ann', '--run', 'short', '--threads', '1');
is $class->wait_for($worker, 90), 0, 'its worker ends by itself';
says(
    'finished',
    'Finished: all 3 iterations are done',
    qr/^Finished at \d\d:\d\d\. There is nothing left to compute\. Play the film/
);
no_worker_words('finished');
like text('me-note'), qr/^You are number 1: 120 images, 100 % of all\.$/, 'and the credit told';
ok $browser->wait_js(
    'return document.getElementById("loss-empty").hidden && '
    . 'getComputedStyle(document.getElementById("loss")).visibility === "visible"',
    20
    ),
    'with points there is a curve, and no words';

# ---- what figures mean
my $helps = $browser->js(
    'return [...document.querySelectorAll("button.help")].filter((b) => '
    . 'b.checkVisibility()).map((b) => b.getAttribute("aria-label"))'
);
for my $of (
    'the loss of D',
    'the loss of G',
    'the distance',
    'an epoch',
    'an iteration',
    'images per second',
    'a unit',
    'the losses',
    'this curve',
    'this table'
    )
{
    is scalar(grep { $_ eq "What is $of?" } @{$helps}) > 0, 1, "there is help on $of";
}
is $browser->js(
    'return [...document.querySelectorAll("button.help")].filter((b) => '
    . 'b.checkVisibility()).map((b) => b.getBoundingClientRect()).filter((b) => b.width < 24 || '
    . 'b.height < 24).length'
), 0, 'large enough to be hit';
$browser->js('document.querySelector("#figures [data-key=loss_d] button").focus()');
$browser->keys("\x{E007}");
like $browser->js(
    'return document.activeElement.getAttribute("aria-expanded") + " " + '
    . 'document.getElementById(document.activeElement.getAttribute("aria-controls")).innerText'
    ),
    qr/^true How wrong the discriminator D is .* 1\.39 means that it guesses/, 'Enter opens it';
if (my $found = $browser->axe) {
    is_deeply $found->{violations}, [], 'axe-core finds no violation with help open';
}
$browser->screenshot('build/test/help.png', whole => 1);
$browser->keys("\x{E00C}");
is $browser->js(
    'return document.getElementById(document.activeElement.getAttribute("aria-controls")).checkVisibility()'
), 0, 'Escape closes it';

# ---- a run that is dropped while somebody looks
$browser->open("$address/?run=$run");
$browser->wait_js('return document.getElementById("class").children.length === 12', 20);
$class->psql("SELECT gan_drop_run($run)");
says(
    'dropped',
    "There is no run $run",
    qr/^It was removed, or the address is wrong\. Choose another run from the list\.$/
);
is $browser->js(
    'return document.getElementById("class").children.length + '
    . 'document.getElementById("tiles").children.length'
), 0, 'nothing of it is left on the page';

# ---- the dashboard goes away, and comes back with a token
$browser->open("$address/");
$browser->wait_js('return /^Finished/.test(document.getElementById("happening").textContent)', 20);
$class->signal($pid, 'TERM');
$class->wait_for($pid, 20);
ok $browser->wait_js(
    'return /^The connection to the dashboard is lost\. This page tries again by itself\. This '
    . 'page shows the state at '
    . '\d\d:\d\d\.$/.test(document.getElementById("trouble").textContent)',
    20
    ),
    'the dashboard is away: the page says so, what it does, and how old it is'
    or diag text('trouble');
my ($port) = $address =~ /:(\d+)$/;
$pid = $class->start_background(
    { name => 'dashboard', env => { GAN_DASHBOARD_TOKEN => 'open-sesame' } },
    'src/dashboard/gan_dashboard', '--connect', $database, '--listen', "127.0.0.1:$port");
ok $browser->wait_js(
    'return /^The dashboard has another access token now\. Ask your instructor for the new '
    . 'address\./.test(document.getElementById("trouble").textContent)',
    40
    ),
    'it comes back and wants a token: the page says that'
    or diag text('trouble');
is_deeply [
    grep {
        !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|401|sheet.*404/
    } $browser->complaints
    ],
    [], 'the browser has no complaint';
$browser->quit;

done_testing;
