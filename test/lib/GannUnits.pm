# Iterations without workers: SQL submits the same uploads for every unit, so that a step can be
# tried again and again and must give the same bits.
#
# a run and its twin; what is uploaded lies in table kept
#   my $units = GannUnits->new($class, generator_features => 32);
#   $units->hand_in;                    # all units of the current iteration
#   $class->psql("SELECT gan_aggregate($i, $units->{run})");
#   $units->digest($i) eq $units->expected($i);
package GannUnits;
use strict;
use warnings;

# Two shards; two units, whose uploads differ.
my %network = (
    channels => 1,
    image_size => 32,
    latent => 16,
    generator_features => 32,
    discriminator_features => 32,
    local_steps => 0,
    images_per_unit => 10,
    units_per_iteration => 2,
    batch => 4,
    lease_seconds => 3600,
    target_iterations => 100000
);

sub new {
    my ($class, $server, %options) = @_;
    my $self = bless { server => $server, expected => [] }, $class;
    my %all = (%network, %options);
    my $arguments = join ', ', map {"$_ => $all{$_}"} sort keys %all;
    my ($one, $two) =
        map { $server->psql("SELECT gan_create_run('seed $_', seed => $_, $arguments)") } 1, 2;
    $self->{run} = $server->psql("SELECT gan_create_run('steps', seed => 7, $arguments)");
    $self->{twin} = $server->psql("SELECT gan_create_run('twin', seed => 7, $arguments)");
    $server->psql(<<~SQL);
        CREATE TABLE kept AS SELECT run = $two AS second, shard, data FROM gan_weights WHERE run IN ($one, $two)
            UNION ALL SELECT r.run = $two, r.shards, b.running FROM gan_batch_norm b JOIN gan_run r USING (run) WHERE run IN ($one, $two);
        SELECT gan_drop_run($one), gan_drop_run($two);
        SELECT gan_start($self->{run}), gan_start($self->{twin});
        CREATE TABLE hand AS SELECT r.run, gan_join(r.run, h, 100, sha256('x'), 1, 1, '', '') AS worker FROM gan_run r, unnest(ARRAY['left', 'right']) h;
        CREATE FUNCTION hand_in(the_run int) RETURNS int LANGUAGE plpgsql AS \$\$
        DECLARE
            w int;
            c record;
            s record;
            n int := 0;
        BEGIN
            PERFORM gan_reopen_vanished(the_run, true);
            FOR w IN SELECT worker FROM hand WHERE run = the_run LOOP
                SELECT * INTO c FROM gan_claim(w);
                CONTINUE WHEN c.unit IS NULL;
                PERFORM gan_upload(c.unit, c.token, k.shard, k.data) FROM kept k WHERE k.second = ((c.first_position / c.images) % 2 = 1);
                SELECT * INTO s FROM gan_submit(c.unit, c.token, c.weights_nonce, 4, 1, 1, 0.5, 0.5);
                IF s.answer <> 'accepted' THEN RAISE EXCEPTION '%', s; END IF;
                n := n + 1;
            END LOOP;
            RETURN n;
        END \$\$;
        SQL
    return $self;
}

# Hands in what is missing of the current iteration's units.
sub hand_in {
    my $self = shift;
    return $self->{server}->psql("SELECT hand_in($self->{run})");
}

sub iteration {
    my $self = shift;
    return $self->{server}->psql("SELECT iteration FROM gan_run WHERE run = $self->{run}");
}

# The digest of the weights that a step has made.
sub digest {
    my ($self, $iteration, $run) = @_;
    $run //= $self->{run};
    return $self->{server}->psql(
        "SELECT encode(weights_digest, 'hex') FROM gan_history
            WHERE run = $run
            AND iteration = $iteration"
    );
}

# The expected state: the twin, whose steps nobody disturbs, takes steps up to this iteration.
sub expected {
    my ($self, $iteration) = @_;
    my $at = @{ $self->{expected} };
    if ($iteration >= $at) {
        my $to = $iteration + 20;
        $self->{server}->psql(
            join '',
            map {
                "SELECT hand_in($self->{twin}); SELECT gan_aggregate($_,
                    $self->{twin});\n"
            } $at .. $to
        );
        push @{ $self->{expected} }, split /\n/, $self->{server}->psql(
            "SELECT encode(weights_digest, 'hex')
                FROM gan_history
                WHERE run = $self->{twin}
                AND iteration >= $at ORDER BY iteration"
        );
    }
    return $self->{expected}[$iteration];
}

1;
