# Statements that nobody would think of: random ones, from a grammar of what burns time or memory,
# takes locks or tells secrets.
#
#   my $random = GannStatements->new(seed => 7);
#   my $sql = $random->statement;          # text
#   my $bytes = $random->messages;         # the same in one of the ways in which a client can send it
package GannStatements;
use strict;
use warnings;

use GannWire;

# A generator of its own, so that a seed means the same everywhere.
sub new {
    my ($class, %options) = @_;
    return bless { state => $options{seed} // 1, portals => 0 }, $class;
}

sub below {
    my ($self, $limit) = @_;
    $self->{state} = ($self->{state} * 1103515245 + 12345) & 0x7fffffff;
    return ($self->{state} >> 8) % $limit;
}

sub one { my ($self, @of) = @_; return $of[ $self->below(scalar @of) ] }

sub constant {
    my $self = shift;
    return $self->one(
        '1',
        'NULL',
        q{'x'},
        '1e308::float8',
        q{'NaN'::float8},
        '9.9::numeric(1000)',
        q{'alice'::regrole},
        q{'alice=r/postgres'::aclitem},
        q{'pg_class'::regclass},
        q{'a'::char(10485760)},
        q{'{1,2,3}'::int[]},
        q{'[1,100000000)'::int4range},
        q{'{"a": [1, 2]}'::jsonb},
        q{'$ ? (@ like_regex "(a*)*b")'::jsonpath},
        q{'P100000Y'::interval},
        q{B'1'::bit(83886080)},
        q{'} . 'x' x $self->one(1, 100, 30000) . q{'},
        q{'<a/>'::xml},
        q{'a & b'::tsquery},
        '$1',
        q{U&'\0041'},
        q{'\xdead'::bytea},
        'ARRAY[' . join(',', (1) x $self->one(1, 50)) . ']',
        'CURRENT_USER'
    );
}

sub call {
    my ($self, $depth) = @_;
    my $function = $self->one(
        qw(repeat lpad generate_series pg_sleep length sha256 encode to_regrole pg_advisory_lock set_config lo_creat query_to_xml pg_notify gan_claim gan_credit gan_hello gan_fetch_weights
            gan_run_config gan_standing gan_upload gan_submit gan_tick gan_aggregate gan_dashboard regexp_replace string_agg count array_fill pg_read_file nextval current_setting)
    );
    return
        "$function(" . join(', ', map { $self->expression($depth - 1) } 1 .. $self->below(4)) . ')';
}

sub expression {
    my ($self, $depth) = @_;
    my $kind = $depth <= 0 ? 0 : $self->below(10);
    return $self->constant if $kind < 3;
    return $self->call($depth) if $kind < 6;
    return
          '('
        . $self->expression($depth - 1) . ' '
        . $self->one(qw(+ - * / ^ || = < ~ @> AND OR)) . ' '
        . $self->expression($depth - 1) . ')'
        if $kind == 6;
    return '(' . $self->query($depth - 1) . ')' if $kind == 7;
    return
          'CASE WHEN '
        . $self->expression($depth - 1)
        . ' THEN '
        . $self->expression($depth - 1) . ' END'
        if $kind == 8;
    return
        $self->expression($depth - 1) . '::'
        . $self->one('text', 'numeric', 'char(10485760)', 'varchar(5)', 'int8', 'bytea',
        'regclass', 'text[]');
}

sub source {
    my ($self, $depth) = @_;
    my $kind = $depth <= 0 ? 0 : $self->below(8);
    return $self->one(
        qw(pg_roles pg_class pg_authid gan_work_unit gan_run gan_state_piece gan_state_piece_r1_0 gan_gradient_piece_r1_1 gan_progress pg_stat_activity)
    ) if $kind == 0;
    return
          '(VALUES '
        . join(', ', map { '(' . join(', ', (1) x 12) . ')' } 1 .. 1 + $self->below(3))
        . ') AS v (a, b, c, d, e, f, g, h, i, j, k, l)'
        if $kind < 3;
    return '(' . $self->query($depth - 1) . ') AS s' if $kind < 5;
    return $self->call($depth) . $self->one('', ' AS f', ' WITH ORDINALITY AS f') if $kind < 7;
    return $self->source($depth - 1) . ' CROSS JOIN LATERAL ' . $self->source($depth - 1);
}

sub query {
    my ($self, $depth) = @_;
    my $sql =
          'SELECT '
        . $self->one('', 'DISTINCT ', 'ALL ')
        . $self->one('*', '1',
        join(', ', map { $self->expression($depth - 1) } 1 .. 1 + $self->below(3)));
    $sql .= ' FROM ' . $self->source($depth) if $self->below(3);
    $sql .= ' WHERE ' . $self->expression($depth - 1) if !$self->below(3);
    $sql .=
        ' GROUP BY '
        . $self->one('CUBE (a, b, c, d, e, f, g, h, i, j, k, l)', 'ROLLUP (a, b)', '1', '()')
        if !$self->below(3);
    $sql .= ' ORDER BY 1' if !$self->below(4);
    $sql .= $self->one(' LIMIT 1', ' OFFSET 1000000000000',
        ' FOR UPDATE', ' FETCH FIRST 1 ROWS WITH TIES')
        if !$self->below(4);
    $sql .= ' ' . $self->one('UNION', 'INTERSECT ALL', 'EXCEPT') . ' ' . $self->query($depth - 1)
        if $depth > 0 && !$self->below(5);
    $sql = 'WITH ' . $self->one('', 'RECURSIVE ') . "w AS ($sql) SELECT * FROM w, w AS again"
        if $depth > 1 && !$self->below(6);
    return $sql;
}

sub statement {
    my $self = shift;
    return $self->query(3) if $self->below(3);
    my $query = $self->query(2);
    return $self->one(
        "EXPLAIN $query",
        "EXPLAIN ANALYZE $query",
        "PREPARE p$self->{state} AS $query",
        "DECLARE c CURSOR WITH HOLD FOR $query",
        "CREATE TEMP TABLE t AS $query",
        "COPY ($query) TO STDOUT",
        "CREATE VIEW v AS $query",
        'BEGIN',
        'SAVEPOINT a',
        'LOCK gan_run',
        'LISTEN gan_run_1',
        'LISTEN ' . 'x' x 60,
        'NOTIFY gan_run_1',
        'SHOW ALL',
        'RESET ALL',
        'DISCARD ALL',
        'COMMIT AND CHAIN',
        'SET jit = on',
        q{SET work_mem = '1GB'},
        'SET SESSION AUTHORIZATION postgres',
        'VACUUM',
        'CLUSTER',
        'CALL gan_coordinate(1)',
        'DO $$ BEGIN LOOP END LOOP; END $$',
        'CHECKPOINT',
        "INSERT INTO gan_run $query",
        'DELETE FROM gan_run',
        'UPDATE gan_run SET state = state',
        "SELECT 1; $query; $query",
        ''
    );
}

# One statement as a simple query, or prepared and bound under names, now and then without a Sync,
# with a large parameter, or by calls whose answers nobody reads.
sub messages {
    my $self = shift;
    my $sql = $self->statement;
    return GannWire::query($sql) if $self->below(2);
    my $name = $self->one('', 's' . $self->below(1000));
    my $bytes = GannWire::parse($sql, $name);
    my $value = 'x' x $self->one(0, 8, 1 << 20);
    $bytes .= GannWire::message('B',
              'p'
            . $self->{portals}++
            . "\0$name\0"
            . pack('nnnN', 1, 0, 1, length $value)
            . $value
            . pack('n', 0))
        if $self->below(2);
    return $bytes . ($self->below(20) ? GannWire::sync() : '');
}

1;
