# A headless Chromium for a test, driven by WebDriver (W3C) through Debian's chromium-driver.
#
#   my $browser = GannBrowser->new($server);             # stopped with the server's processes; undef where there is none
#   $browser->open('http://127.0.0.1:8765/');
#   is($browser->js('return document.title'), 'x');
#   ok($browser->wait_js('return n > 3', 10));
#   $browser->screenshot('build/test/page.png');
package GannBrowser;

use strict;
use warnings;

use Carp qw(croak);
use Encode ();
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->allow_nonref;

sub _program {
    my ($name) = @_;
    return (grep {-x} map {"$_/$name"} split /:/, $ENV{PATH})[0];
}

# Why there can be no browser; undef where there can.
sub missing {
    return (grep { !_program($_) } qw(chromium chromedriver))[0];
}

# $server: a GannTest, which stops the driver (and with it the browser) whatever way the test ends.
sub new {
    my ($class, $server, %opt) = @_;
    my $self = bless { server => $server, http => HTTP::Tiny->new(timeout => 90) }, $class;
    my $home = tempdir('gann-browser.XXXXXX', DIR => '/tmp', CLEANUP => 1);
    my $port = GannTest::_free_port();
    $self->{driver} = $server->start_background(
        { name => 'chromedriver', env => { HOME => $home, TMPDIR => $home } },
        _program('chromedriver'),
        "--port=$port", '--log-level=WARNING'
    );
    $self->{base} = "http://127.0.0.1:$port";
    $self->_until(sub { ($self->_call('GET', '/status', undef, 1) // {})->{ready} }, 60)
        or croak 'chromedriver does not start';
    my @arguments = (
        '--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
        '--force-device-scale-factor=1',
        "--user-data-dir=$home/profile",
        $> == 0 ? '--no-sandbox' : ()
    );
    my $session = $self->_call(
        'POST',
        '/session',
        {
            capabilities => {
                alwaysMatch => {
                    browserName => 'chrome',
                    'goog:chromeOptions' => { binary => _program('chromium'), args => \@arguments },
                    'goog:loggingPrefs' => { browser => 'ALL' }
                }
            }
        }
    );
    $self->{session} = "/session/$session->{sessionId}";
    return $self;
}

# One command: the value of its answer. undef (with $lenient) or death where it fails.
sub _call {
    my ($self, $method, $path, $body, $lenient) = @_;
    my $answer = $self->{http}->request(
        $method,
        $self->{base} . $path,
        {
            $method eq 'POST'
            ? (
                content => $json->encode($body // {}),
                headers => { 'Content-Type' => 'application/json' }
                )
            : ()
        }
    );
    my $value = eval { $json->decode($answer->{content})->{value} };
    return $value if $answer->{success};
    return if $lenient;
    croak "$method $path: "
        . (
        ref $value ? "$value->{error}: $value->{message}" : "$answer->{status} $answer->{content}");
}

sub _session {
    my ($self, $method, $path, $body) = @_;
    return $self->_call($method, $self->{session} . $path, $body);
}

sub _until {
    my ($self, $test, $seconds) = @_;
    my $until = time + $seconds;
    while (1) {
        my $value = $test->();
        return $value if $value;
        return 0 if time > $until;
        sleep 0.1;
    }
}

sub open { my ($self, $address) = @_; return $self->_session('POST', '/url', { url => $address }) }

# Runs the body of a function in the page; its arguments are arguments[0], …
sub js {
    my ($self, $script, @arguments) = @_;
    return $self->_session('POST', '/execute/sync', { script => $script, args => \@arguments });
}

# The same for a function that hands its result to arguments[arguments.length - 1].
sub js_async {
    my ($self, $script, @arguments) = @_;
    return $self->_session('POST', '/execute/async', { script => $script, args => \@arguments });
}

# Runs a script again until it returns something true; false after $seconds.
sub wait_js {
    my ($self, $script, $seconds, @arguments) = @_;
    my $value = $self->_until(sub { $self->js($script, @arguments) }, $seconds // 30);
    Test::More::diag("waited in vain for: $script") if !$value;
    return $value;
}

# Types keys, as a keyboard does, into whatever has the focus. Named keys are WebDriver's private
# code points ("\x{E004}" is Tab).
sub keys {
    my ($self, @keys) = @_;
    my @actions =
        map { ({ type => 'keyDown', value => $_ }, { type => 'keyUp', value => $_ }) } @keys;
    return $self->_session('POST', '/actions',
        { actions => [ { type => 'key', id => 'keyboard', actions => \@actions } ] });
}

# Clicks at the middle of the first element that a selector finds.
sub click {
    my ($self, $selector) = @_;
    my $element =
        $self->_session('POST', '/element', { using => 'css selector', value => $selector });
    return $self->_session('POST', '/element/' . (values %{$element})[0] . '/click', {});
}

# Chromium's own protocol: $browser->cdp('Emulation.setEmulatedMedia', {…})
sub cdp {
    my ($self, $command, $parameters) = @_;
    return $self->_session('POST', '/goog/cdp/execute',
        { cmd => $command, params => $parameters // {} });
}

# Sets the screen's size in pixels; scheme: 'light' or 'dark'; mobile: lays out as a phone does.
sub screen {
    my ($self, $width, $height, %opt) = @_;
    $self->cdp(
        'Emulation.setDeviceMetricsOverride',
        {
            width => $width,
            height => $height,
            deviceScaleFactor => $opt{scale} // 1,
            mobile => $opt{mobile} ? JSON::PP::true : JSON::PP::false
        }
    );
    $self->cdp('Emulation.setEmulatedMedia',
        { features => [ { name => 'prefers-color-scheme', value => $opt{scheme} // 'light' } ] });
    return;
}

# Writes what the screen shows into a PNG file.
sub screenshot {
    my ($self, $file, %opt) = @_;
    my $png = decode_base64(
        $self->cdp(
            'Page.captureScreenshot',
            {
                format => 'png',
                captureBeyondViewport => $opt{whole} ? JSON::PP::true : JSON::PP::false
            }
        )->{data}
    );
    CORE::open my $out, '>:raw', $file or croak "$file: $!";
    print {$out} $png;
    close $out or croak "$file: $!";
    return length $png;
}

# What the page wrote to the console, and what the browser refused, since the last call.
sub complaints {
    my ($self) = @_;
    return
        map { $_->{message} }
        grep { $_->{level} eq 'SEVERE' || $_->{level} eq 'WARNING' }
        @{ $self->_session('POST', '/se/log', { type => 'browser' }) };
}

# axe-core, by npm into build/npm, where a first run has network; undef where it can't be had.
sub _axe_core {
    my ($server) = @_;
    my $folder = GannTest::root_folder() . '/build/npm';
    my $file = "$folder/node_modules/axe-core/axe.min.js";
    if (!-r $file && _program('npm')) {
        make_path($folder);
        $server->run(
            'timeout', 60, 'npm', 'install',
            '--prefix', $folder, '--no-save', '--ignore-scripts',
            '--no-audit', '--no-fund', 'axe-core@4.10'
        );
    }
    CORE::open my $in, '<:encoding(UTF-8)', $file or return;
    local $/;
    return <$in>;
}

# What the page as it stands violates of WCAG 2.1 A and AA and of good practice, and how many rules
# it passes: {violations => […], passes => n}; undef where axe-core can't be had.
sub axe {
    my ($self) = @_;
    $self->{axe} //= _axe_core($self->{server}) // '';
    return if $self->{axe} eq '';
    return $self->js_async($self->{axe}
            . '; const done = arguments[arguments.length - 1];'
            . 'axe.run().then((r) => done({violations: r.violations.map((v) => v.id + ": " + '
                . 'v.nodes.map((n) => n.target + " " + n.failureSummary).join("; ")), passes: '
                . 'r.passes.length}), (e) => done({violations: [String(e)], passes: 0}))'
    );
}

sub quit {
    my ($self) = @_;
    $self->_call('DELETE', $self->{session}, undef, 1) if $self->{session};
    delete $self->{session};
    $self->{server}->signal($self->{driver}, 'TERM');
    $self->{server}->wait_for($self->{driver}, 10);
    return;
}

1;
