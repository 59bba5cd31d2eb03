# A student tries everything there is: every function, relation, schema and language. Outside the
# allow-list all is refused, with the server guarded and without.
use strict;
use warnings;
use Test::More;
use GannClass;
use GannTest qw(long_run);

my @allowed =
    qw(gan_claim gan_contribute_reference gan_credit gan_dashboard gan_dashboard_curves gan_dashboard_runs gan_fetch_change gan_fetch_weights gan_hello gan_iteration_report gan_join gan_reference_wanted gan_release gan_renew gan_run_config gan_set_nickname
    gan_sheet_png gan_standing gan_submit gan_upload);
# to everybody
my @visible = qw(gan_cluster gan_leaderboard gan_learning_curve gan_progress gan_sheet_list);
my $extension = q{SELECT objid FROM pg_depend
        WHERE classid = 'pg_proc'::regclass
        AND deptype = 'e'
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'gannsfriends')};

sub class_with {
    my (@conf) = @_;
    my $class = GannClass->new(conf => \@conf);
    my $run = $class->create_run(
        'crawled',
        latent => 2,
        generator_features => 1,
        discriminator_features => 1,
        dataset_images => 100,
        dataset_digest => q{decode(repeat('ab', 32), 'hex')}
    );
    $class->psql("SELECT gan_start($run)");
    ($class->{password}) = $class->student('eve') =~ m{:(\w+)@};
    $class->psql('CREATE ROLE stranger LOGIN');
    return $class;
}

# Statements, one line each, as Eve: for each '' or the SQLSTATE of its error.
sub try_all {
    my ($class, @statements) = @_;
    my $script = join '', map {"\\warn \@$_\n$statements[$_];\n"} 0 .. $#statements;
    my ($out, $err) = $class->psql(
        $script,
        user => 'eve',
        password => $class->{password},
        on_error => 'return',
        keep_going => 1,
        verbosity => 'sqlstate'
    );
    my @codes = ('') x @statements;
    for my $part (split /^\@/m, $err) { $codes[$1] = $2 if $part =~ /^(\d+)\n.*?ERROR:\s+(\w{5})/s }
    return @codes;
}

# Everything by which the extension's or the database's things might be reached, as statements:
# [what, statement].
sub attempts {
    my ($class) = @_;
    my $user_schemas =
        q{n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'};
    my @relations = split /\n/, $class->psql(
        "SELECT format('%I.%I|%s', n.nspname, c.relname,
                c.relkind)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND $user_schemas ORDER BY 1"
    );
    my @functions = split /\n/, $class->psql(
        "SELECT format('%s|%s|%s|%s', p.oid::regprocedure,
                p.prokind, p.proname, (SELECT string_agg(CASE WHEN t IN (20, 21, 23, 700, 701) THEN
                '''1''' WHEN t = 16 THEN 'true' WHEN t IN (25, 19) THEN '''eve''' WHEN t = 17 THEN
                '''bytes''' WHEN t = 1022 THEN '''{1}''' WHEN t IN (1007, 1016) THEN '''{1}''' WHEN
                t = 2950 THEN '''00000000-0000-0000-0000-000000000000''' ELSE 'NULL' END
        || '::' || format_type(t, NULL), ', ' ORDER BY i) FROM unnest(p.proargtypes) WITH ORDINALITY
            AS a (t, i)))
        FROM pg_proc p
        WHERE p.oid IN ($extension) ORDER BY 1"
    );
    my @schemas = split /\n/, $class->psql(q{SELECT quote_ident(nspname) FROM pg_namespace
            ORDER BY 1});
    my @languages = split /\n/, $class->psql(q{SELECT quote_ident(lanname) FROM pg_language
            ORDER BY 1});
    my @all;
    for (@relations) {
        my ($name, $kind) = split /\|/;
        my @of_all = (
            "SELECT * FROM $name",
            "SELECT count(*) FROM $name",
            "COPY $name TO STDOUT",
            "DROP TABLE $name",
            "ALTER TABLE $name OWNER TO eve",
            "GRANT ALL ON $name TO eve",
            "LOCK TABLE $name IN ACCESS SHARE MODE"
        );
        my @of_tables = (
            "INSERT INTO $name DEFAULT VALUES",
            "DELETE FROM $name",
            "TRUNCATE $name",
            "CREATE INDEX ON $name ((1))",
            "CREATE TRIGGER t BEFORE INSERT ON $name EXECUTE FUNCTION "
            . "suppress_redundant_updates_trigger()",
            "REINDEX TABLE $name",
            "CREATE RULE r AS ON INSERT TO $name DO NOTHING"
        );
        my $column = $class->psql(
            "SELECT quote_ident(attname) FROM pg_attribute
                WHERE attrelid = '$name'::regclass
                AND attnum > 0
                AND attidentity = '' ORDER BY attnum LIMIT 1"
        );
        push @of_tables, "UPDATE $name SET $column = $column", "SELECT $column
                FROM $name FOR UPDATE";
        my @of_sequences =
            ("SELECT nextval('$name')", "SELECT setval('$name', 1)", "SELECT currval('$name')");
        push @all, map { [ $name, $_ ] } @of_all, $kind eq 'S' ? @of_sequences : @of_tables;
    }
    # Real values: a strict function of NULL is NULL before anybody asks who may call it.
    for (@functions) {
        my ($signature, $kind, $name, $arguments) = split /\|/, $_, 4;
        push @all,
            [
            $name,
            ($kind eq 'p' ? 'CALL ' : 'SELECT ') . ($signature =~ s/\(.*//r) . "($arguments)"
            ],
            [ "the owner of $name", "ALTER ROUTINE $signature OWNER TO eve" ],
            [ "the body of $name", "DROP ROUTINE $signature" ];
    }
    push @all, map {
        [ "schema $_", "CREATE TABLE $_.mine (a int)" ],
            [ "schema $_", "CREATE FUNCTION $_.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'" ],
            [ "schema $_", "CREATE VIEW $_.mine AS SELECT 1" ],
            [ "schema $_", "DROP SCHEMA $_ CASCADE" ]
    } @schemas;
    push @all, map {
        [ "language $_", "DO LANGUAGE $_ ''" ], [
            "language $_", "CREATE FUNCTION
                public.mine() RETURNS int LANGUAGE $_ AS 'x'"
        ]
    } @languages;
    push @all, map { [ $_, $_ ] } 'CREATE SCHEMA mine', 'CREATE TEMP TABLE mine (a int)',
        'CREATE EXTENSION pgtap', 'DROP EXTENSION gannsfriends',
        'ALTER EXTENSION gannsfriends UPDATE', 'CREATE ROLE mine', 'ALTER ROLE eve SUPERUSER',
        'ALTER ROLE eve CONNECTION LIMIT 100', 'ALTER ROLE postgres PASSWORD $$x$$',
        'GRANT gan_owner
                  TO eve', 'SET ROLE gan_owner', 'SET SESSION AUTHORIZATION postgres',
        'REASSIGN OWNED BY gan_owner TO eve', 'CREATE DATABASE mine', 'DROP DATABASE train',
        'ALTER DATABASE train SET work_mem = 1',
        'ALTER SYSTEM SET work_mem = 1', 'CHECKPOINT', 'COPY (SELECT 1) TO PROGRAM $$true$$',
        'COPY (SELECT 1) TO $$/tmp/x$$', 'SELECT pg_read_file($$/etc/passwd$$)',
        'SELECT pg_ls_dir($$/$$)', 'SELECT pg_reload_conf()', 'SELECT rolpassword
              FROM pg_authid', 'SELECT * FROM pg_hba_file_rules',
        'SELECT * FROM pg_statistic', 'SELECT * FROM pg_largeobject',
        'SELECT lo_import($$/etc/passwd$$)', 'CREATE LANGUAGE plpython3u',
        'CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()',
        'CREATE PUBLICATION p FOR ALL TABLES',
        'CREATE SUBSCRIPTION s CONNECTION $$$$ PUBLICATION p',
        'CREATE SERVER s FOREIGN DATA WRAPPER w', 'CREATE TABLESPACE t LOCATION $$/tmp$$',
        'SELECT pg_create_physical_replication_slot($$s$$)', 'SELECT pg_switch_wal()',
        'SELECT pg_rotate_logfile()', 'SELECT pg_stat_reset()';
    return @all;
}

# What may come back besides 42501: the thing does not go with the statement, or is not there, or
# there is no transaction to prepare.
my $harmless =
    qr/^(?:42501|42809|42704|42883|42P01|42P17|428C9|42602|42P13|42P02|42601|42939|0A000|3F000|25P01|55000|55006)$/;

for my $guarded (0, 1) {
    my $how = $guarded ? 'guarded' : 'not guarded';
    my $class = class_with($guarded ? ("shared_preload_libraries = 'gannsfriends'") : ());
    $class->psql(
        'REVOKE CONNECT, TEMPORARY ON DATABASE train
            FROM PUBLIC; GRANT CONNECT ON DATABASE train TO gan_student; REVOKE USAGE ON LANGUAGE
                plpgsql, sql
            FROM PUBLIC; CALL gan_revoke_risky()'
    );
    my @all = attempts($class);
    my $contents = q{SELECT (SELECT md5(string_agg(r::text, ''))
            FROM gan_run r) || (SELECT md5(string_agg(u::text, '' ORDER BY unit))
            FROM gan_work_unit u) || (SELECT md5(string_agg(data, '' ORDER BY slot, part, shard,
                piece))
            FROM gan_state_piece)};
    my $before = $class->psql($contents);
    my @codes = try_all($class, map { $_->[1] } @all);
    my (%reached, @wrong);
    for my $i (0 .. $#all) {
        my ($what, $statement) = @{ $all[$i] };
        my $own = $statement =~ /^SELECT (?:\w+\.)?(gan_\w+)\(/ && grep { $_ eq $1 } @allowed;
        $own ||=
              !$guarded
            && $statement =~
            /^(?:SELECT|COPY|GRANT ALL) .*?\bpublic\.(gan_\w+)(?: TO (?:STDOUT|eve))?$/    # (who may grant nothing is only warned)
            && grep { $_ eq $1 } @visible;
        $reached{$1}++ if $own && $codes[$i] ne '42501' && $statement =~ /(gan_\w+)\(/;
        push @wrong, "$codes[$i] $statement" if !$own && $codes[$i] !~ $harmless;
        push @wrong, "$codes[$i] $statement"
            if !$own && $guarded && $codes[$i] !~ /^(?:42501|42601|42P01|42883|42704|42809|0A000)$/;
    }
    is join("\n", @wrong), '', "$how: " . @all . ' attempts are refused';
    my $refused = grep { $_ eq '42501' } @codes;
    cmp_ok $refused, '>', 0.7 * @all, "$refused of them for want of rights";
    is join(' ', sort keys %reached),
        join(' ', grep { $_ !~ /^gan_(?:claim|contribute_reference|standing)$/ } @allowed),
        'but the worker\'s functions are within reach (what is for another\'s worker is refused, '
        . 'too)';
    is $class->psql($contents), $before, 'nothing was changed';
    is $class->psql(q{SELECT count(*) FROM pg_class WHERE relname = 'mine'}) + $class->psql(q{SELECT
                count(*)
            FROM pg_proc
            WHERE proname = 'mine'}) + $class->psql('SELECT count(*) FROM pg_largeobject_metadata'),
        0, 'and nothing was made';

    # Beyond what everybody has: of all functions, relations, columns, schemas, languages and
    # databases of the server nothing but these, and what everybody may read.
    my $more = sub {
        my ($kind, $privileges, $from) = @_;
        return $class->psql(
            "SELECT string_agg(o::text, ' ' ORDER BY o::text)
                FROM (SELECT $from) AS x (o, id), unnest('{$privileges}'::text[]) AS p
                WHERE has_${kind}_privilege('eve', id, p)
                AND NOT has_${kind}_privilege('stranger', id, p)"
        );
    };
    is $more->('function', 'EXECUTE', 'proname, oid FROM pg_proc'), "@allowed",
        'a student may execute these functions more than a stranger';
    is $more->(
        'table',
        'SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER',
        q{relname, oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')}
        ),
        "@visible", 'may read what everybody may, and has no more rights on any relation';
    is $more->(
        'sequence', 'USAGE,SELECT,UPDATE', q{relname, oid FROM pg_class WHERE relkind = 'S'}
        ),
        '', 'or sequence';
    is $more->(
        'any_column',
        'SELECT,INSERT,UPDATE,REFERENCES',
        q{relname, oid FROM pg_class WHERE relkind IN ('r', 'p', 'v')}
        ),
        "@visible", 'or column';
    is $more->('language', 'USAGE', 'lanname, oid FROM pg_language'), '', 'or language';
    is $more->('type', 'USAGE', 'typname, oid FROM pg_type'), '', 'or type';
    is $more->('schema', 'CREATE,USAGE', 'nspname, oid FROM pg_namespace'), '', 'or schema';
    is $more->('database', 'CREATE,CONNECT,TEMPORARY', 'datname, oid FROM pg_database'), 'train',
        'and may connect to one database more';
    is $class->psql(q{SELECT string_agg(roleid::regrole::text, ' ') FROM pg_auth_members
            WHERE member = 'eve'::regrole}),
        'gan_student', 'and is a student and nothing else';
    unlike $class->server_log, qr/was terminated by signal|PANIC|XX000/,
        'no process of the server died, and nothing was an internal error';

    # Without the guard the coordinator ends who hoards.
    next if $guarded;
    my $hoarder = $class->start_background({ name => 'hoarder' },
        'sh', '-c',
        "(echo 'BEGIN; SELECT 1;'; sleep 100) | psql -Xq '" . $class->student('eve') . "'");
    ok $class->poll_until(
        q{SELECT count(*) FROM pg_stat_activity
            WHERE usename = 'eve'
            AND state = 'idle in transaction'}, '1', 20
        ),
        'a transaction stays open';
    is $class->psql('SELECT gan_end_hoarders(3600)'), '0', 'which may last a while';
    ok $class->poll_until('SELECT gan_end_hoarders(1)', '1', 20), 'and is ended';
    ok $class->poll_until(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'eve'}, '0', 20),
        'with its session';
    is $class->psql('SET ROLE gan_owner; SELECT gan_end_hoarders(0)'), '0',
        'who has not the rights ends nothing';
    next if !long_run() || system('command -v sqlsmith >/dev/null') != 0;
    my ($status, $output) = $class->run(
        { timeout => 900, env => { PGPASSWORD => $class->{password} } }, 'timeout',
        600, 'sqlsmith',
        '--max-queries=100000', '--seed=7',
        '--target=host=127.0.0.1 port=' . $class->port . ' dbname=train user=eve'
    );
    like $output, qr/quer/, 'SQLsmith sent what it could think of';
    is $class->psql($contents), $before, 'nothing was changed by it';
    unlike $class->server_log, qr/was terminated by signal|PANIC/, 'and no process died';
}
done_testing;
