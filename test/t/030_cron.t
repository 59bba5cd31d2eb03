# pg_cron drives a run with nobody else calling the coordinator.
use strict;
use warnings;
use Test::More;
use GannClass;

plan skip_all => 'postgresql-15-cron is not installed' unless -e '/usr/share/postgresql/15/extension/pg_cron.control';
my $class = GannClass->new(conf => [ "shared_preload_libraries = 'pg_cron'", "cron.database_name = 'train'", 'cron.use_background_workers = on' ]);
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;

$class->psql('CREATE EXTENSION pg_cron');
my $run = $class->create_run('cron', target_iterations => 40);
$class->psql("SELECT gan_start($run)");
$class->psql(q{SELECT cron.schedule('gannsfriends', '* * * * *', 'CALL gan_coordinate(58)')});
my $worker = $class->worker('ann');
is $class->wait_for($worker, 150), 0, 'the worker ends when the run does';
is $class->psql("SELECT state, iteration FROM gan_run WHERE run = $run"), 'finished|40', 'pg_cron alone drove the run to its end';
is $class->psql(q{SELECT count(*) > 0, bool_and(status IN ('running', 'succeeded')) FROM cron.job_run_details}), 't|t', 'its job ran, and did not fail';
done_testing;
