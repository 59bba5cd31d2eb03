# Writes docs/session.md: what each function and view answers, from a real class of two on this
# machine.
#
#   perl -Itest/lib test/tools/session.pl > docs/session.md       # as root or with a user that may start a server; about a minute
#
# After `make install` and with Debian's dataset-fashion-mnist.
use strict;
use warnings;
use Test::More;
use GannClass;

Test::More->builder->output(\*STDERR);
my $class = GannClass->new;

sub psql {
    my ($user, $sql) = @_;
    open my $out, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', "$class->{bindir}/psql", '-Xq', '-P',
        'pager=off', '-h', $class->host, '-p', $class->port, '-U', $user, '-d', $class->database,
        '-c', $sql
        or die "psql: $!";
    local $/;
    my $text = <$out>;
    close $out;
    return $text;
}

# Shows statements as psql does.
sub show {
    my ($title, $words, @statements) = @_;
    print "\n## $title\n\n$words\n\n```\n";
    for my $statement (@statements) {
        my ($user, $sql) = ref $statement ? @{$statement} : ('postgres', $statement);
        my $text = psql($user, $sql);
        $text =~ s/ *\+?$//mg;    # (psql marks the lines of a text by a plus sign)
        $text =~ s/\n+\z/\n/;
        print $user eq 'postgres' ? '=> ' : "$user=> ", $sql, ";\n$text";
    }
    print "```\n";
    return;
}

print
    "# What it answers\n\nEach function and view that people call, with what it answered in a real class: Fashion-MNIST, two workers on two busy cores. `test/tools/session.pl` has written this page.\n",
    "What they are for is in the [README](../README.md), [views.md](views.md) and "
    . "[instructor.md](instructor.md); a worker's own functions in [protocol.md](protocol.md).\n";

my $options =
    'local_steps => 0, units_per_iteration => 3, images_per_unit => 160, batch => 32, channels '
    . '=> 1, image_size => 32, latent => 32, generator_features => 16, discriminator_features => '
    . '16, target_iterations => 500, checkpoint_every => 20, seed => 1';
show(
    'A run', 'It is made, given a policy, and filled with students.',
    "SELECT gan_create_run('clothes', $options)", 'SELECT gan_set_policy(sheet_every => 10,
                quality_every => 10)', q{SELECT * FROM gan_aggregators()}, 'SELECT * FROM
                            gan_network_size(1, 32, 32, 16, 16)'
);
show(
    'Students', 'By a file, or one by one. `gan_enroll` again is a new password.', q{SELECT *
            FROM gan_enroll_csv(E'login,nickname\nalice,Otter\nbo,\ncy,Badger', '127.0.0.1')},
    q{SELECT gan_enroll('cy', '127.0.0.1')},
    q{SELECT gan_set_nickname('cy', 'Heron')}, q{SELECT login, nickname, may_log_in, sessions,
                workers, runs, images
            FROM gan_roster}
);
$class->student($_) for qw(alice bo cy);    # with passwords that this script knows
show(
    'Off',
    'If `gan_coordinate` runs, nobody needs to call `gan_tick`. Called by hand, it tells where the '
        . 'run is.',
    'SELECT gan_start()',
    'SELECT gan_tick()'
);
my $coordinator = $class->coordinate(300);
my @workers = map {
    my $worker = $class->worker($_, '--name', "$_-laptop");
    # so that worker 1 is Alice's
    $class->poll_until("SELECT count(*) FROM gan_worker WHERE login = '$_'", '1', 30);
    $worker;
} qw(alice bo);
$class->poll_until('SELECT iteration >= 45 FROM gan_run', 't', 200)
    or die 'the class does not get on';
show(
    'While the class computes', 'What everybody may see.', 'SELECT * FROM gan_progress',
    'SELECT iteration, round(epoch::numeric, 2) AS epoch, images, round(loss_d::numeric, 3) AS
                loss_d, round(loss_g::numeric, 3) AS loss_g, round(swd::numeric, 1) AS swd,
                round(images_per_second::numeric) AS images_per_second, participants
            FROM gan_learning_curve
            WHERE swd IS NOT NULL ORDER BY iteration',
    'SELECT place, nickname, images, units, round(share::numeric, 3) AS share, streak, active
            FROM gan_leaderboard', 'SELECT * FROM gan_cluster', 'SELECT unit, nickname, images,
                        outcome, claims, round(seconds::numeric, 2) AS seconds, notes
                    FROM gan_iteration_report(20)',
    'SELECT run, iteration, images, bytes FROM gan_sheet_list ORDER BY iteration', q{SELECT run,
                state, branch, summary
            FROM gan_dashboard_runs()}, q{SELECT gan_dashboard(1) ->> 'happening' AS happening,
                        gan_dashboard(1) -> 'units' ->> 'states' AS units},
    q{SELECT jsonb_array_length(gan_dashboard_curves(1) -> 'iteration') AS points}
);
show(
    'Said to all',
    'In the terminals of all who work.',
    q{SELECT gan_say('coffee in 5')},
    [ 'alice', q{SELECT gan_set_nickname('Fox')} ],
    [
        'alice',
        'SELECT rank, students, round(share::numeric, 3) AS share, round(seconds_left) AS seconds_left, messages
        FROM gan_standing(1)'
    ],
    [
        'alice', 'SELECT units > 0 AS some, images > 0 AS images
                FROM gan_credit(1)'
    ]
);
show(
    'Pictures and quality', 'Each picture is one PNG.', q{SELECT octet_length(gan_generate(16, 7))
            AS sheet, octet_length(gan_interpolate(1, 2)) AS strip, octet_length(gan_sheet_png()) AS
            newest}, 'SELECT iteration, images, swd FROM gan_swd ORDER BY 1', 'SELECT *
                        FROM gan_reference_check'
);
$class->psql('SELECT gan_pause()');
show(
    'Looked after', 'Paused, so that the figures of this section fit each other.',
    'SELECT gan_pause()', 'SELECT gan_inspect()', 'SELECT * FROM gan_verify()',
    'SELECT round(gan_quality()::numeric, 1) AS swd', 'SELECT * FROM gan_ledger()',
    'SELECT gan_image_number(1, 60000, 12345)', 'SELECT gan_make_checkpoint()',
    'SELECT run, iteration FROM gan_checkpoint ORDER BY iteration', 'SELECT count(*)
            FROM gan_set_aside', 'SELECT gan_guard()', 'SELECT item, state FROM gan_doctor()
                    LIMIT 4', 'SELECT gan_forget_reference()'
);
show(
    'As a file',
    'Bytes of a safetensors file, out and in again.',
    'SELECT octet_length(gan_export()) AS networks, octet_length(gan_export(moments => true)) AS '
    . 'with_moments',
    q{SELECT gan_import('clothes 2', gan_export(moments => true), '{"target_iterations": 600}')}
);
show(
    'Back, and another way',
    'To an iteration that is kept, and from it with another rule.',
    'SELECT gan_rollback(1, 20)',
    q{SELECT gan_fork(1, 20, '{"aggregator": "median"}')},
    'SELECT gan_drop_run(3)'
);
show(
    'Who did what',
    'A certificate ends in a digest of its lines.',
    'SELECT * FROM gan_gradebook',
    q{SELECT gan_certificate('alice', 1)}
);
show(
    'Trust',
    'Spot checks need three active accounts. Here there are two, so nothing was checked yet.',
    'SELECT gan_set_audit_minimum(0.05, 1)', q{SELECT gan_trust_login('alice', 1)},
    q{SELECT gan_forgive('alice', 1)},
    'SELECT login, units, checks, share_checked, trusted, suspended
        FROM gan_trust_report
        WHERE run = 1'
);
show(
    'The end',
    'One student is shut out, the runs are over.',
    q{CALL gan_expel('cy')},
    'SELECT gan_stop(1)',
    'SELECT gan_stop(2)'
);
show(
    'Tables and views',
    'Everything that holds or shows something. `gan_viewer` may read those that say so in '
    . '[views.md](views.md), a student no table at all.',
    q{SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS what FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind IN ('r', 'v', 'p') AND c.relname LIKE 'gan\_%' AND NOT c.relispartition ORDER BY 1}
);
$class->signal($_, 'TERM') for @workers, $coordinator;
$class->wait_for($_, 30) for @workers, $coordinator;
done_testing;
