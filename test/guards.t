# Breaks one guard of the server at a time, in its own database or library, and expects the test of
# that guard to turn red.
#
#   prove -Itest/lib test/guards.t                     GANN_GUARDS=PATTERN: only guards whose name contains it
#
# It is a failure here, too, if a text to be replaced does not occur exactly once, or if a test
# fails without a "not ok".
use strict;
use warnings;
use Test::More;
use GannModule;
use GannTest;

my $root = GannTest::root_folder();
my $only = $ENV{GANN_GUARDS} // '';
my @guards;

sub sql {
    push @guards, { name => "$_[0]: $_[2]", test => $_[1], mutant => $_[3] }
        if "$_[0]: $_[2]" =~ /\Q$only\E/;
}

sub c {
    push @guards, { name => "$_[0]: $_[2]", test => $_[1], changes => [ [ $_[0], $_[3], $_[4] ] ] }
        if "$_[0]: $_[2]" =~ /\Q$only\E/;
}

# A function with a part of its text replaced. Line breaks don't matter.
sub change {
    my ($function, $from, $to) = @_;
    my $pattern = join '\s+', map {quotemeta} split /\s+/, $from, -1;
    $to =~ s/\\/\\\\/g;
    return "DO \$mutant\$ DECLARE def text := pg_get_functiondef('$function'::regproc); BEGIN
        IF (SELECT count(*) FROM regexp_matches(def, \$f\$$pattern\$f\$, 'g')) <> 1 THEN RAISE EXCEPTION 'the text is not there once'; END IF;
        EXECUTE regexp_replace(def, \$f\$$pattern\$f\$, \$t\$$to\$t\$); END \$mutant\$";
}

sub in_function {
    my ($function, $test, $name, $from, $to) = @_;
    sql($function, $test, $name, change($function, $from, $to // ''));
}

# The conditions that an upload, a renewal, a release and a submission check. (A unit's state is
# checked together with the lease: CHECKs tie the two.)
c('holding.c', '021_fences', 'the unit', 'u.unit = $1 AND ', '');
c('holding.c', '021_fences', 'the token', 'u.token = $2 AND ', '');
c('holding.c', '021_fences', 'the account', ' AND w.login = session_user', '');
c(
    'holding.c', '021_fences',
    'state and lease',
    q{u.state = 'claimed' AND u.lease_until > statement_timestamp() "},
    'true "'
);
c('holding.c', '021_fences', 'the lease', 'AND u.lease_until > statement_timestamp() ', '');
c('holding.c', '021_fences', 'the iteration', 'AND u.iteration = r.iteration ', '');
c(
    'holding.c', '021_fences',
    'the nonce of the weights as they are',
    'AND u.weights_nonce = r.weights_nonce ', ''
);
c('holding.c', '021_fences', 'the state of the run', q{AND r.state IN ('running', 'paused') }, '');
c('holding.c', '021_fences', 'a unit that was replaced', 'AND NOT u.replaced', '');
c(
    'submit.c', '021_fences',
    'the nonce of the claim',
    's->holding.weights_nonce == PG_GETARG_INT64(2)', 'true'
);
c('submit.c', '021_fences', 'no transaction block', 'gan_refuse_block("gan_submit");', '');
c('submit.c', '024_step_guards', 'what is missing', 'if (up.missing > 0)',
    'if (up.missing > 1000)');
c('tick.c', '024_step_guards', 'the lock', 'FOR NO KEY UPDATE SKIP LOCKED', '');
c(
    'tick.c', '024_step_guards',
    'uploads that vanished',
    't->reopened += count(&reopen_vanished, t);', ''
);
sql(
    'gan_history', '024_step_guards',
    'its key', 'ALTER TABLE gan_history DROP CONSTRAINT gan_history_pkey'
);
in_function(
    'gan_close_iteration',
    '024_step_guards',
    'credit once',
    'w.units + done.units',
    'w.units + 2 * done.units'
);

# The same for uploads, and the other checks that protect the model
c(
    'result.c', '024_step_guards',
    'NaN in an upload',
    '!dcgan_finite(values, count, squares)',
    '!dcgan_finite(values, count, squares) && count == 0'
);
c('result.c', '024_step_guards', 'the norm of an upload', '!(sqrt(*squares) <= limit)',
    'limit < 0');
c(
    'run.c',
    '024_step_guards',
    'the lock of the step',
    'FOR NO KEY UPDATE SKIP LOCKED',
    'FOR NO KEY UPDATE'
);
c(
    'aggregate.c',
    '024_step_guards',
    'the iteration of the step',
    'run->iteration != iteration',
    'run->iteration < 0'
);
c('aggregate.c', '024_step_guards', 'the quorum', 's->done.count < needed)', 's->done.count < 1)');
c(
    'combine.c', '024_step_guards',
    'the checksum of an upload',
    'c->announced[i] == c->computed[i] ? BLOB_OK : BLOB_CRC', 'BLOB_OK'
);
c(
    'pieces.c', '024_step_guards',
    'the checksum of the state',
    'gan_blob_require(blob_check(blob, blob_size(count), count), "gan_state_piece", shard);', ''
);
c(
    'verify.c', '017_verify',
    'the comparison of a step that is verified',
    'there && memcmp(c->stored, blob, size) == 0', 'there'
);

# Libraries are built one after the other, tests run at two at a time.
my $number = 0;
for my $guard (grep { $_->{changes} } @guards) {
    $guard->{module} =
        eval { GannModule::build('guard-' . ++$number, changes => $guard->{changes}) }
        or $guard->{broken} = $@;
}
my %running;
my $finish = sub {
    my $pid = wait;
    my $guard = delete $running{$pid} or return;
    $guard->{status} = $?;
};
for my $k (0 .. $#guards) {
    my $guard = $guards[$k];
    next if $guard->{broken};
    $finish->() while keys %running >= 2;
    $guard->{log} = "$root/build/test/guard-$k.log";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        delete @ENV{qw(GANN_MODULE GANN_MUTANT GANN_LONG)};
        $ENV{GANN_MODULE} = $guard->{module} if $guard->{module};
        $ENV{GANN_MUTANT} = $guard->{mutant} if $guard->{mutant};
        chdir $root;
        open STDOUT, '>', $guard->{log};
        open STDERR, '>&', \*STDOUT;
        exec 'prove', '--verbose', '--merge', '--norc', '-Itest/lib',
            glob "test/tap/*/$guard->{test}.t";
    }
    $running{$pid} = $guard;
}
$finish->() while keys %running;
for my $guard (@guards) {
    my $log = '';
    if (open my $in, '<', $guard->{log} // '/dev/null') { local $/ = undef; $log = <$in> // '' }
    my ($first) = $log =~ /^not ok \d+ - (.*)/m;
    ok $guard->{status} && defined $first,
        "$guard->{name}: without it $guard->{test}.t turns red (@{[$first // '']})"
        or diag $guard->{broken} // substr $log, -1500;
}
done_testing;
