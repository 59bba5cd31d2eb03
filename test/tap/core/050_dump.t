# pg_dump keeps the class; DROP EXTENSION leaves only the roles.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my $run = $class->create_run(
    'kept',
    target_iterations => 100,
    upload_element => "'int8'",
    download_element => "'int8'"
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate(60);
my $worker = $class->worker('ann');
ok $class->poll_until("SELECT iteration >= 3 FROM gan_run WHERE run = $run", 't', 60),
    'a class is at work';
$class->psql("SELECT gan_pause($run)");
is $class->wait_for($worker, 0), undef, 'a pause ends no worker';
my $state = q{SELECT md5(string_agg(data::text, '' ORDER BY iteration, shard)),
            (SELECT md5(string_agg(first::text || second::text, '' ORDER BY iteration, shard))
        FROM gan_moments),
    (SELECT md5(string_agg(h::text, '' ORDER BY iteration))
    FROM gan_history h), (SELECT md5(string_agg(w::text, '' ORDER BY worker)) FROM gan_worker w),
    (SELECT md5(string_agg(copy::text || coalesce(change::text, ''), '' ORDER BY iteration, shard))
        FROM gan_broadcast)
    FROM gan_weights};
$class->signal($worker, 'TERM');
is $class->wait_for($worker, 10), 0, 'the worker leaves';
my $before = $class->psql($state);

my @connection = ('-h', $class->host, '-p', $class->port, '-U', 'postgres');
my ($status, $output) = $class->run($class->{bindir} . '/pg_dump',
    @connection, '-Fc', '-f', $class->folder . '/train.dump', 'train');
is $status, 0, 'pg_dump' or diag $output;
$class->psql('CREATE DATABASE again', db => 'postgres');
($status, $output) = $class->run($class->{bindir} . '/pg_restore',
    @connection, '-d', 'again', $class->folder . '/train.dump');
is $status, 0, 'pg_restore' or diag $output;
is $class->psql($state, db => 'again'), $before,
    'weights, moments, history, credit and what workers hold are the same';
my $again = $class->{database};
$class->{database} = 'again';
$class->psql("SELECT gan_start($run)");
$coordinator = $class->coordinate(60);
(my $uri = $class->student('ann')) =~ s/train$/again/;
$class->{students}{ann} = $uri;
is $class->wait_for($class->worker('ann'), 60), 0, 'the restored class trains to its end';
is $class->psql("SELECT state, iteration FROM gan_run"), 'finished|100', 'of all its iterations';

$class->psql('DROP EXTENSION gannsfriends');
is $class->psql(
    q{SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'gan\_%'), (SELECT count(*) FROM pg_proc WHERE proname LIKE 'gan\_%')}
), '0|0', 'DROP EXTENSION leaves no table and no function';
is $class->psql(
    q{SELECT array_agg(rolname::text ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'gan\_%'}),
    '{gan_nobody,gan_owner,gan_student,gan_viewer}',
    'only the four roles, which other databases may use';
$class->psql('CREATE EXTENSION gannsfriends');
pass 'it can be created again';
done_testing;
