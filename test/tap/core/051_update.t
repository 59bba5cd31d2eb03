# ALTER EXTENSION UPDATE: a class of 0.1.0 becomes one of this version, and continues as if nothing
# had been.
#
# test/fixture/gannsfriends--0.1.0.sql is the install script of 0.1.0, class-0.1.0.sql what its
# pg_dump said of a class that its workers had trained (make_class.pl says what is in it): run 1 is
# over; run 2 takes local steps, and of its iteration one unit is done, one is claimed, one is
# pending; run 3 averages gradients, and all units of its iteration 6 are done; run 4 was never
# started.
use strict;
use warnings;
use File::Copy ();
use Test::More;
use GannCatalog;
use GannClass;

# digest of the weights that 0.1.0 made of run 3's iteration 6
my $step_of_0_1_0 = '\x377274762c162d90b11464a9e96c3648b34ea1d9b08a2b3bd5f2e0f62fa1f2e3';
my ($over, $changes, $gradients, $idle) = (1, 2, 3, 4);

plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $fixture = GannTest::root_folder() . '/test/fixture';
chomp(
    my $target = do {
        my $config =
            -x '/usr/lib/postgresql/15/bin/pg_config'
            ? '/usr/lib/postgresql/15/bin/pg_config'
            : 'pg_config';
        `$config --sharedir`;
    }
);
$target .= '/extension/gannsfriends--0.1.0.sql';
my $ours = !-e $target;
if ($ours) {
    my $copied =
        File::Copy::copy("$fixture/gannsfriends--0.1.0.sql", $target)
        || system('sudo', '-n', 'install', '-m', '644', "$fixture/gannsfriends--0.1.0.sql", $target)
        == 0;
    plan skip_all => "$target can't be written" unless $copied;
}
END { $ours && -e $target && (unlink $target or system 'sudo', '-n', 'rm', $target) }

my $class = GannClass->new(extension => 0);

sub update {
    my ($database) = @_;
    return $class->psql('ALTER EXTENSION gannsfriends UPDATE', db => $database);
}

sub is_same {
    my ($got, $expected, $name) = @_;
    return is GannCatalog::difference($got, $expected), '', $name;
}

$class->psql("CREATE DATABASE $_", db => 'postgres') for qw(fresh empty again);
$class->psql('CREATE EXTENSION gannsfriends', db => 'fresh');
my @fresh = GannCatalog::extension($class, 'fresh');
cmp_ok scalar(@fresh), '>', 500, 'the catalogs say much of the extension';

# ---- without runs, and with something in the way

$class->psql("CREATE EXTENSION gannsfriends VERSION '0.1.0'", db => 'empty');
$class->psql('CREATE VIEW my_view AS SELECT * FROM gan_progress', db => 'empty');
my @old = GannCatalog::extension($class, 'empty');
my ($state, $message, $all) =
    $class->psql_fails('ALTER EXTENSION gannsfriends UPDATE', db => 'empty');
is $state, '2BP01', 'a view of the instructor\'s own is in the way';
like $all, qr/my_view/, 'and is named';
is_same [ GannCatalog::extension($class, 'empty') ], \@old, 'nothing has changed';
$class->psql('DROP VIEW my_view', db => 'empty');
update('empty');
is_same [ GannCatalog::extension($class, 'empty') ], \@fresh,
    'an updated extension without runs is what a new one is';

# ---- the class

$class->psql("CREATE EXTENSION gannsfriends VERSION '0.1.0'");
$class->psql(GannTest::_slurp("$fixture/class-0.1.0.sql"));
$class->psql('CREATE ROLE researcher; GRANT SELECT ON gan_history TO researcher');
# As gan_replace_hoarded did in 0.1.0 where somebody had a unit locked for too long: the pending one
# gets a substitute.
$class->psql(
    "INSERT INTO gan_work_unit (run, iteration, first_position, images, replaces) SELECT
            run, iteration, first_position, images, unit
        FROM gan_work_unit
        WHERE run = $changes
        AND state = 'pending'"
);
my $stored = q{SELECT (SELECT md5(string_agg(p::text, '' ORDER BY run, slot, part, shard, piece))
        FROM gan_state_piece p), (SELECT md5(string_agg(p::text, '' ORDER BY run, slot, unit, shard,
            piece))
        FROM gan_gradient_piece p),
    (SELECT md5(string_agg(data::text, '' ORDER BY run, iteration, shard))
    FROM gan_weights), (SELECT md5(string_agg(first::text || coalesce(second::text, ''), ''
        ORDER BY run, iteration, shard))
    FROM gan_moments),
    (SELECT md5(string_agg(copy::text || coalesce(change::text, ''), '' ORDER BY run, iteration,
        shard))
    FROM gan_broadcast), (SELECT md5(string_agg(running::text, '' ORDER BY run, iteration))
    FROM gan_batch_norm)};
my $history = q{SELECT run, iteration, epoch, units, images, positions, loss_d, loss_g,
            weights_digest, started_at, ended_at
        FROM gan_history ORDER BY run, iteration};
my $credit = q{SELECT run, login, name, units, images, joined_at FROM gan_worker ORDER BY worker};
my %before = map { $_ => $class->psql($_) } $stored, $history, $credit;
unlike $before{$stored}, qr/\|\|/, 'there are weights, moments, gradients, and what workers hold';
is + ($class->psql_fails("SELECT gan_generate(4, 0, $gradients)"))[0], '42703',
    'until the update the functions of 0.1.0 fail with this library, in order';
update('train');
is $class->psql("SELECT extversion FROM pg_extension WHERE extname = 'gannsfriends'"),
    $class->psql(
    "SELECT default_version
        FROM pg_available_extensions
        WHERE name = 'gannsfriends'"
    ),
    'the class is updated';
is $class->psql($stored), $before{$stored},
    'all that is stored of weights, moments, gradients and what workers hold is the same';
is $class->psql($history), $before{$history}, 'and the history with its digests';
is $class->psql($credit), $before{$credit}, 'and the credit';
is $class->psql("SELECT has_table_privilege('researcher', 'gan_history', 'SELECT')"), 't',
    'and rights on tables that the instructor gave';
is_same [ grep { !s/,researcher=r\/gan_owner// || 1 } GannCatalog::extension($class, 'train') ],
    \@fresh, 'but for that the extension is what a new one is';
is $class->psql('SELECT run, state, gan_inspect(run) IS NULL FROM gan_run ORDER BY run'),
    "$over|finished|t\n$changes|running|t\n$gradients|running|t\n$idle|created|t",
    'the states are whole';
is $class->broken_invariants, '', 'the invariants hold';
is $class->psql(
    'SELECT DISTINCT aggregator, update_limit, average_decay, unit_sizing,
            checkpoint_every
        FROM gan_run'
    ),
    'mean|Infinity|0|equal|0', 'the runs have the options that 0.1.0 trained by';
is $class->psql(
    "SELECT u.state, count(*) FROM gan_work_unit u JOIN gan_run r USING (run, iteration)
        WHERE run = $changes GROUP BY 1 ORDER BY 1"
    ),
    "done|1\npending|2",
    'the claimed unit of a worker of 0.1.0 is open again, once; its submitted unit counts';

my $new = $class->create_run('new');
is $class->psql("SELECT aggregator, update_limit, average_decay FROM gan_run WHERE run = $new"),
    'clipped|1|0.999', 'a new run has the options of this version';
my @partitions = GannCatalog::partitions($class, 'train', $new);
is_same [ GannCatalog::partitions($class, 'train', $_) ], \@partitions,
    "the partitions of run $_ are what those of a new run are"
    for $over .. $idle;

# ---- dump and restore, half way through an iteration

my @connection = ('-h', $class->host, '-p', $class->port, '-U', 'postgres');
my ($status, $output) = $class->run($class->{bindir} . '/pg_dump',
    @connection, '-Fc', '-f', $class->folder . '/train.dump', 'train');
is $status, 0, 'pg_dump' or diag $output;
($status, $output) = $class->run($class->{bindir} . '/pg_restore',
    @connection, '-e', '-d', 'again', $class->folder . '/train.dump');
is $status, 0, 'pg_restore' or diag $output;
my $rows = join ' UNION ALL ', map {
    "SELECT '$_', count(*), md5(string_agg(to_jsonb(t)::text, ' '
            ORDER BY to_jsonb(t)::text))
        FROM $_ t"
} split /\n/, $class->psql(
    "SELECT x::regclass FROM pg_extension, unnest(extconfig) AS x
            JOIN pg_class c ON c.oid = x
            WHERE extname = 'gannsfriends'
            AND c.relkind IN ('r', 'p') ORDER BY 1"
);
is $class->psql($rows, db => 'again'), $class->psql($rows),
    'every row of every table is in the restored database';
is $class->psql("SELECT has_table_privilege('researcher', 'gan_history', 'SELECT')", db => 'again'),
    't', 'and the rights that the instructor gave';
is_same [ grep { !s/,researcher=r\/gan_owner// || 1 } GannCatalog::extension($class, 'again') ],
    \@fresh, 'whose extension is what a new one is';
is_same [ GannCatalog::partitions($class, 'again', $_) ], \@partitions,
    "and the partitions of run $_"
    for $over .. $new;

# ---- on it goes, in both

$class->psql("SELECT gan_drop_run($new)", db => $_) for qw(train again);
for my $database (qw(train again)) {
    $class->{database} = $database;
    $class->psql("SELECT gan_tick($gradients)");
    is $class->psql(
        "SELECT weights_digest FROM gan_history
            WHERE run = $gradients
            AND iteration = 6"
        ),
        $step_of_0_1_0, "$database: the step makes of 0.1.0's gradients what 0.1.0 made of them";
    is $class->psql("SELECT answer FROM gan_verify(6, $gradients)"), 'verified',
        'it can be verified';
    $class->psql("SELECT gan_make_checkpoint($gradients)");
    my $coordinator = $class->coordinate(300);
    $class->psql("SELECT gan_start($idle)");
    # Nobody has joined it yet: its dataset is the one that the class has.
    $class->psql(
        "SELECT gan_set_dataset($idle, dataset_images, dataset_digest) FROM gan_run
            WHERE run = $gradients"
    );
    for my $run ($changes, $gradients, $idle) {
        my $name = $class->psql("SELECT name FROM gan_run WHERE run = $run");
        my $uri = $class->student('ann') =~ s{/\w+$}{/$database}r;
        my $worker = $class->start_background(
            { name => "worker-$name" },
            GannClass::worker_program(),
            '--connect', $uri, '--data', $class->data, '--run', $name, '--name', 'laptop', '--once'
        );
        is $class->wait_for($worker, 120), 0,
            "$database: a worker of this version trains the run of $name to its end"
            or diag $class->log_of($worker);
        is $class->psql(
            "SELECT state, iteration, (SELECT count(*) FROM gan_history h
                    WHERE h.run = r.run)
                FROM gan_run r
                WHERE run = $run"
            ),
            $run == $idle ? 'finished|2|2' : 'finished|8|8', 'of all its iterations';
    }
    $class->signal($coordinator, 'INT');
    ok defined $class->wait_for($coordinator, 30), 'the coordinator ends';
    is $class->psql(
        'SELECT array_agg(name::text ORDER BY worker) FROM gan_worker
            WHERE login = \'ann\''
        ),
        '{laptop,laptop,laptop,laptop}',
        'her programs are those she had, and one in the run that begins';
    like $class->psql("SELECT encode(gan_generate(4, 0, $gradients), 'hex')"), qr/^89504e47/,
        'pictures are drawn';
    is $class->broken_invariants, '', 'the invariants hold';
}

# An updated history has its columns in another order than a new one; gan_rollback copies rows of
# it, gan_fork too.
$class->{database} = 'train';
my $steps = "SELECT jsonb_agg(to_jsonb(h) - '{branch,abandoned_at,run,taken_in}'::text[]
            ORDER BY iteration)
        FROM %s h
        WHERE run = %s
        AND iteration %s";
my ($early, $late) = map { $class->psql(sprintf $steps, 'gan_history', $gradients, $_) } '< 7',
    '>= 7';
my $fork = $class->psql("SELECT gan_fork($gradients, 7)");
is $class->psql(sprintf $steps, 'gan_history', $fork, '< 7'), $early,
    'a fork has the history of an updated run';
$class->psql("SELECT gan_rollback($gradients, 7)");
is $class->psql(sprintf $steps, 'gan_abandoned', $gradients, '>= 7'), $late,
    'what a rollback takes back of an updated run is written down as it was';
is $class->psql(
    "SELECT min(branch), max(branch), bool_and(abandoned_at > ended_at), count(*)
        FROM gan_abandoned"
    ),
    '1|1|t|1', 'once, with its branch and time';
is $class->broken_invariants, '', 'the invariants hold';
$class->psql('DROP EXTENSION gannsfriends', db => $_) for qw(train again);
is $class->psql(
    q{SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'gan\_%'), (SELECT count(*) FROM pg_proc WHERE proname LIKE 'gan\_%')},
    db => 'train'
    ),
    '0|0', 'DROP EXTENSION leaves nothing of an updated class';
done_testing;
