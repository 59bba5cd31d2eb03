# What a student may send and must not get away with: each line of test/fixture/bad_input.tsv gives
# what it says, the SQLSTATEs are those that docs/protocol.md lists, nothing of it is kept, and the
# runs go on.
use strict;
use warnings;
use Test::More;
use GannBlob;
use GannClass;

my $class = GannClass->new;
my %tiny = (
    latent => 2,
    generator_features => 1,
    discriminator_features => 1,
    images_per_unit => 10,
    batch => 4,
    units_per_iteration => 2,
    lease_seconds => 3600,
    target_iterations => 2
);
my $digest = q{decode(repeat('ab', 32), 'hex')};
$class->student($_) for qw(eve ann);
my %password = map { $_ => ($class->student($_) =~ m{:(\w+)@})[0] } qw(eve ann);

sub as {
    my ($who, $sql, %opt) = @_;
    return $class->psql($sql, user => $who, password => $password{$who}, %opt);
}

# The cases, by state.
my (%cases, @order, %seen);
open my $in, '<', 'test/fixture/bad_input.tsv' or die "bad_input.tsv: $!";
while (my $line = <$in>) {
    next if $line =~ /^#/;
    chomp $line;
    my ($name, $state, $expected, $sql) = split /\t/, $line;
    die "$name is there twice\n" if $seen{$name}++;
    push @order, $state if !$cases{$state};
    push @{ $cases{$state} }, [ $name, $expected, $sql ];
}
close $in;
cmp_ok scalar(keys %seen), '>=', 300, scalar(keys %seen) . ' cases';

# The states: each has a run of its own, in which Eve holds, or held, a unit.
my ($parameters, $statistics) = split /\|/, $class->psql(
    'SELECT parameters, statistics
        FROM gan_network_size(1, 32, 2, 1, 1)'
);

# The version of the weights, where a submission has to name it.
my $versions = $class->psql(q{SELECT count(*) FROM pg_proc
        WHERE proname = 'gan_submit'
        AND 'weights_nonce' = ANY (proargnames)});

sub nonce {
    my ($run) = @_;
    return $versions
        ? $class->psql(
        "SELECT weights_nonce FROM gan_run
        WHERE run = $run"
        )
        . '::bigint, '
        : '';
}

sub claim {
    my ($who, $worker) = @_;
    return split /\|/, as(
        $who, "SELECT unit, token
        FROM gan_claim($worker)"
    );
}
sub literal { return q{'\x} . unpack('H*', $_[0]) . q{'} }

sub upload_all {
    my ($who, $unit, $token) = @_;
    return as($who,
              "SELECT gan_upload($unit, '$token', 0, "
            . literal(GannBlob::blob('float32', $parameters))
            . "), gan_upload($unit, '$token', 1, "
            . literal(GannBlob::blob('float32', $statistics))
            . ')');
}

sub submit {
    my ($who, $run, $unit, $token) = @_;
    return as(
        $who, "SELECT answer
        FROM gan_submit($unit, '$token', " . nonce($run) . '4, 1, 1, 0.5, 0.5)'
    );
}

sub set_up {
    my ($state) = @_;
    my %options = (
        float16 => [ upload_element => q{'float16'} ],
        int8 => [ upload_element => q{'int8'} ],
        expired => [ lease_seconds => 1 ]
    );
    my $who = $state eq 'foreign' ? 'ann' : 'eve';
    my $run = $class->create_run($state, %tiny, @{ $options{$state} // [] });
    $class->psql("SELECT gan_start($run)");
    my %s = (
        run => $run,
        worker => as(
            $who, "SELECT gan_join($run, 'w', 100, $digest, 1, 1, '',
                '')"
        )
    );
    @s{qw(unit token)} = claim($who, $s{worker});
    @s{qw(old token)} = ($s{token}, (claim($who, $s{worker}))[1]) if $state eq 'held';
    upload_all($who, $s{unit}, $s{token}) if $state =~ /^(done|over|complete)$/;
    submit($who, @s{qw(run unit token)}) if $state eq 'done';
    if ($state eq 'none') { as($who, "SELECT gan_release($s{unit}, '$s{token}')") }
    if ($state eq 'stopped') { $class->psql("SELECT gan_stop($run)") }
    if ($state eq 'over') { $class->psql("UPDATE gan_run SET iteration = 1 WHERE run = $run") }
    if ($state eq 'expired') {
        $class->psql(
            "UPDATE gan_work_unit
            SET lease_until = now() - interval '1 min'
            WHERE unit = $s{unit}"
        );
    }
    return \%s;
}
my %state = map { $_ => set_up($_) } @order;
my %nonce = map { $state{$_}{run} => nonce($state{$_}{run}) } @order;

# Puts a case's statement together.
sub fill_in {
    my ($sql, $s) = @_;
    my $quoted = sub { $_[0] =~ /-/ ? "'$_[0]'" : $_[0] };
    $sql =~
        s/\{blob (\w+) (\w+)([^}]*)\}/literal(GannBlob::blob($1, $2 eq 'statistics' ? $statistics : $parameters, split(' ', $3), "other=$parameters"))/ge;
    $sql =~ s/\{digest\}/$digest/g;
    $sql =~ s/\{nonce\}/$nonce{ $s->{run} }/g;
    $sql =~ s/\{times (\d+) ([^}]+)\}/$2 x $1/ge;
    $sql =~ s/\{(\w+):(\w+)\}/$quoted->($state{$2}{$1})/ge;
    $sql =~ s/\{(\w+)\}/$quoted->($s->{$1} \/\/ die "no $1 in: $sql\n")/ge;
    return $sql;
}

# All cases of a state in one session of Eve's; what each of them printed, or its first SQLSTATE.
sub run_cases {
    my ($state) = @_;
    my $script = join '',
        map { "\\echo \@$_->[0]\n\\warn \@$_->[0]\n" . fill_in($_->[2], $state{$state}) . ";\n" }
        @{ $cases{$state} };
    my ($out, $err, $status) =
        as('eve', $script, on_error => 'return', keep_going => 1, verbosity => 'sqlstate');
    my (%answer, %code);
    for my $part (split /^\@/m, $out) { $answer{$1} = $2 if $part =~ /^(\S+)\n(.*?)\n?\z/s }
    for my $part (split /^\@/m, $err) { $code{$1} = $2 if $part =~ /^(\S+)\n.*?ERROR:\s+(\w{5})/s }
    return { map { $_->[0] => $code{ $_->[0] } // '=' . ($answer{ $_->[0] } // 'nothing came') }
            @{ $cases{$state} } };
}
my $kept = q{SELECT count(*), coalesce(sum(hashtext(md5(data))), 0) FROM gan_gradient};
my $before = $class->psql($kept);
my %codes;
for my $state (@order) {
    my $got = run_cases($state);
    for my $case (@{ $cases{$state} }) {
        is $got->{ $case->[0] }, $case->[1], "$state: $case->[0]";
        $codes{ $case->[1] }++ if $case->[1] !~ /^=/;
    }
}
is $class->psql($kept), $before, 'no byte of it was kept';
is $class->psql('SELECT count(*) FROM gan_worker'), scalar(@order),
    'no worker was registered by it';
my ($documented) = map {
    my %h = map { $_ => 1 } /`([0-9A-Z]{5})`/g;
    \%h
} do { local (@ARGV, $/) = 'docs/protocol.md'; <> };
is join(' ', grep { !$documented->{$_} } sort keys %codes), '',
    'docs/protocol.md lists every SQLSTATE: ' . join ' ', sort keys %codes;

# The unit that all was thrown at is still Eve's, and its run continues.
my $s = $state{held};
is upload_all('eve', $s->{unit}, $s->{token}), 'accepted|accepted',
    'the unit can still be uploaded';
is submit('eve', @$s{qw(run unit token)}), 'accepted', 'and submitted';
my ($unit, $token) = claim('eve', $s->{worker});
upload_all('eve', $unit, $token);
is submit('eve', $s->{run}, $unit, $token), 'accepted', 'so can the next one';
like $class->psql("SELECT gan_tick($s->{run})"), qr/^step/, 'and the step is taken';
is $class->psql(
    "SELECT iteration, (SELECT sum(images) FROM gan_history h WHERE h.run = r.run)
        FROM gan_run r
        WHERE run = $s->{run}"
    ),
    '1|20', 'with every image of it';
$class->psql("SELECT gan_drop_run($state{over}{run})");    # whose iteration was set by hand
unlike $class->server_log, qr/PANIC|was terminated by signal|XX000/,
    'no process of the server died, and nothing was an internal error';
done_testing;
