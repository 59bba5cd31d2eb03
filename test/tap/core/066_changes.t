# Weights sent as changes: every worker holds the server's copy bit for bit, even if it joins late,
# misses iterations or starts again.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(conf => [ "log_statement = 'all'", 'log_parameter_max_length = 0' ]);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

# How often workers called a function since the last time.
my %seen;

sub calls {
    my $function = shift;
    my $all = () = $class->server_log =~ /execute <unnamed>: SELECT $function\(\$1/g;
    my $new = $all - ($seen{$function} // 0);
    $seen{$function} = $all;
    return $new;
}
sub floats { return [ unpack 'f<*', substr pack('H*', $class->psql($_[0])), 24 ] }

# The numbers of a change, from docs/format.md.
sub change_of {
    my ($element, $bytes) = @_;
    my ($type, $count, $scale) = (unpack 'x6 v Q< x4 s<', $bytes)[ 0, 1, 2 ];
    my $data = substr $bytes, 24, length($bytes) - 28;
    if ($element eq 'float16') {
        return map {
            my ($sign, $exponent, $fraction) = ($_ & 0x8000 ? -1 : 1, $_ >> 10 & 31, $_ & 1023);
            $sign *
                ($exponent ? (1024 + $fraction) * 2**($exponent - 25) : $fraction * 2**-24) *
                2**$scale
        } unpack 'v*', $data;
    }
    my $blocks = int(($count + 255) / 256);
    my @scales = unpack "f<$blocks", $data;
    my @bytes = unpack "x@{[4 * $blocks]} c*", $data;
    return map { $bytes[$_] * $scales[ $_ / 256 ] } 0 .. $#bytes;
}

sub done {
    return $class->poll_until(
        "SELECT state FROM gan_work_unit
        WHERE run = $_[0]
        AND iteration = $_[1]", 'done', 60
    );
}

for my $element ('int8', 'float16') {
    my $run = $class->create_run(
        $element,
        units_per_iteration => 1,
        target_iterations => 12,
        learning_rate => 0.001,
        download_element => "'$element'",
        upload_element => "'int8'"
    );
    $class->psql("SELECT gan_start($run)");
    my $ann = $class->worker('ann', '--run', $element);
    my $copy = floats(
        "SELECT encode(copy, 'hex') FROM gan_broadcast
            WHERE run = $run
            AND iteration = 0"
    );
    is $class->psql(
        "SELECT copy = w.data, change IS NULL FROM gan_broadcast b
            JOIN gan_weights w USING (run, iteration, shard)
            WHERE run = $run"
        ),
        't|t', "$element: the first weights are held as they are";
    my ($same, $near) = (1, 1);
    for my $i (0 .. 3) {
        done($run, $i) or last;
        like $class->psql("SELECT gan_tick($run)"), qr/^step/, "$element: step $i";
        my @change = change_of($element, pack 'H*',
            $class->psql("SELECT encode(gan_fetch_change($run, $i + 1, 0), 'hex')"));
        my $next = floats("SELECT encode(gan_fetch_weights($run, $i + 1, 0), 'hex')");
        my $true = floats(
            "SELECT encode(data, 'hex') FROM gan_weights
                WHERE run = $run
                AND iteration = $i + 1"
        );
        my @sum = unpack 'f<*', pack 'f<*', map { $copy->[$_] + $change[$_] } 0 .. $#change;
        my $largest = 0;
        for (0 .. $#sum) {
            my $wanted = abs($true->[$_] - $copy->[$_]);
            $largest = $wanted if $wanted > $largest;
        }
        $same &&= pack('f<*', @sum) eq pack('f<*', @$next);
        $near &&= !grep { !(abs($next->[$_] - $true->[$_]) <= $largest / 250 + 1e-8) } 0 .. $#sum;
        $copy = $next;
    }
    ok $same, "$element: each copy and its change give the next copy, bit for bit";
    ok $near, "$element: which is no further from the weights than one step's rounding";
    is $class->psql(
        "SELECT count(*) FROM gan_weights w
            JOIN gan_broadcast b USING (run, iteration, shard)
            WHERE run = $run
            AND w.data <> b.copy"
        ),
        '2', "$element: but not the same";
    done($run, 4);
    calls($_) for 'gan_fetch_weights', 'gan_fetch_change';

    # The worker compares the checksums of its weights: if one had differed, it would have fetched
    # everything again.
    $class->psql("SELECT gan_tick($run)");
    done($run, 5);
    is calls('gan_fetch_change'), 1, "$element: the worker follows by the change";
    is calls('gan_fetch_weights'), 0, "$element: and holds the server's copy";

    # Ann sleeps through an iteration, which Bo, who joins now, does; then she follows two changes.
    $class->signal($ann, 'STOP');
    $class->psql("SELECT gan_tick($run)");
    my $bo = $class->worker('bo', '--run', $element);
    done($run, 6);
    is calls('gan_fetch_weights'), 1, "$element: who joins late fetches the copy whole";
    is calls('gan_fetch_change'), 0, "$element: and no change";
    $class->signal($bo, 'STOP');
    $class->psql("SELECT gan_tick($run)");
    $class->signal($ann, 'CONT');
    done($run, 7);
    is calls('gan_fetch_change'), 2, "$element: who missed an iteration follows two changes";
    is calls('gan_fetch_weights'), 0, "$element: to the same copy";

    # Bo sleeps through more of them.
    for my $i (7, 8) { $class->psql("SELECT gan_tick($run)"); done($run, $i + 1) }
    calls($_) for 'gan_fetch_weights', 'gan_fetch_change';
    $class->signal($ann, 'TERM');
    $class->wait_for($ann, 20);
    $class->psql("SELECT gan_tick($run)");
    $class->signal($bo, 'CONT');
    done($run, 10);
    is calls('gan_fetch_weights'), 1, "$element: who missed more fetches the copy whole";

    # A change that leads elsewhere than it says is noticed.
    $class->signal($bo, 'STOP');
    $class->psql("SELECT gan_tick($run)");
    $class->psql(
        "UPDATE gan_state_piece
            SET data = set_byte(data, length(data) - 1, get_byte(data, length(data) - 1) # 1)
        WHERE run = $run
        AND part = 4
        AND iteration = 11
        AND piece = (SELECT max(piece) FROM gan_state_piece WHERE run = $run AND part = 4
            AND iteration = 11)"
    );
    calls($_) for 'gan_fetch_weights', 'gan_fetch_change';
    $class->signal($bo, 'CONT');
    done($run, 11);
    is calls('gan_fetch_change'), 1, "$element: a change whose checksum is wrong";
    is calls('gan_fetch_weights'), 1, "$element: makes the worker fetch the copy whole";
    $class->psql("SELECT gan_tick($run)");
    is $class->wait_for($bo, 20), 0, "$element: the worker ends with the run";
    is $class->psql("SELECT count(*), sum(images) FROM gan_history WHERE run = $run"), '12|240',
        "$element: of all its iterations";
}
done_testing;
