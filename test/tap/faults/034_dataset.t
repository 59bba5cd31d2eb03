# The dataset of a run: workers announce what they have, the instructor says which it is; until then
# there is no work.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new(dataset => 'by hand');
my %tiny = (
    latent => 2,
    generator_features => 1,
    discriminator_features => 1,
    images_per_unit => 10,
    units_per_iteration => 2,
    target_iterations => 3
);
$class->student($_) for qw(ann bo eve);
sub as { my ($who, $sql, %opt) = @_; return $class->psql($sql, user => $who, %opt) }

sub joined {
    my ($run, $who, $images, $digest) = @_;
    return as(
        $who, "SELECT gan_join($run, 'w',
            $images, sha256('$digest'), 1, 1, '', '')"
    );
}

my $run = $class->create_run('faces', %tiny);
like $class->psql("SELECT gan_start($run)"),
    qr/no work until you confirm the dataset: SELECT gan_set_dataset\($run\)/,
    'gan_start says what is missing';
like + ($class->psql_fails("SELECT gan_set_dataset($run)"))[1],
    qr/no worker has announced a dataset/, 'there is nothing to confirm yet';
my $eve = joined($run, 'eve', 1, 'one image');
my $ann = joined($run, 'ann', 100, 'faces');
ok $ann && $eve, 'a first worker with one image keeps nobody out';
is as('ann', "SELECT reason, message, unit IS NULL FROM gan_claim($ann)"),
    qq{no_dataset|run "faces" has no work yet: the instructor has not confirmed the class's dataset|t},
    'there is no work yet, and the worker says why';
like $class->psql("SELECT note FROM gan_progress WHERE run = $run"),
    qr/until the instructor has confirmed the dataset/, 'gan_progress says so';
is $class->psql("SELECT gan_dashboard($run) ->> 'happening', gan_dashboard($run) ->> 'notice'"),
    'Iteration 0: no unit is given out yet|The instructor must confirm which images the class '
    . 'uses.',
    'and the dashboard';
my ($state, $message, $all) = $class->psql_fails("SELECT gan_set_dataset($run)");
is "$state $message", qq{21000 workers of run $run ("faces") have announced 2 different datasets},
    'where they differ the instructor must say which';
like $all, qr/100 images, digest [0-9a-f]{64} \(ann\)/, 'and reads who has announced what';
like $class->psql(q{SELECT finding || remedy FROM gan_doctor() WHERE item ~ 'dataset'}),
    qr/2 different ones were announced.*gan_set_dataset/, 'gan_doctor says so, too';
like $class->psql("SELECT gan_set_dataset($run, 100, sha256('faces'))"),
    qr/has 100 images and digest/, 'the instructor says it';
is as('ann', "SELECT reason FROM gan_claim($ann)"), 'work', 'then there is work';
is + ($class->psql_fails("SELECT gan_claim($eve)", user => 'eve'))[0], 'UG001',
    'and an account with other images is told';
is + (
    $class->psql_fails(
        "SELECT gan_join($run, 'w', 1, sha256('one image'), 1, 1, '', '')",
        user => 'eve'
    )
)[0], 'UG001', 'at the next start as well';
like $class->psql("SELECT gan_set_dataset($run, 90, sha256('fewer'))"), qr/has 90 images/,
    'before the first step it can be set again';
is $class->psql("SELECT count(*) FROM gan_work_unit WHERE run = $run AND state <> 'pending'"), '0',
    'and what was claimed for the other one is free';
$class->psql("UPDATE gan_run SET iteration = 1 WHERE run = $run");
is + ($class->psql_fails("SELECT gan_set_dataset($run, 91, sha256('more'))"))[0], '55000',
    'after it the number of images stays';
like $class->psql("SELECT gan_set_dataset($run, 90, sha256('packed again'))"), qr/has 90 images/,
    'the archive may be another';
is + ($class->psql_fails("SELECT gan_set_dataset($run, 90)"))[0], '22023',
    'number and digest go together';
$class->psql("SELECT gan_drop_run($run)");

$run = $class->create_run('agreed', %tiny);
$class->psql("SELECT gan_start($run)");
joined($run, $_, 100, 'faces') for qw(ann bo);
like $class->psql('SELECT gan_set_dataset()'), qr/100 images/,
    'where all agree one call confirms it';
$class->psql("SELECT gan_drop_run($run)");
$run = $class->create_run('trusted', %tiny);
$class->psql("SELECT gan_trust_login('bo', $run)");
joined($run, 'eve', 1, 'one image');
joined($run, 'bo', 100, 'faces');
is $class->psql("SELECT dataset_images FROM gan_run WHERE run = $run"), '100',
    'a login that the instructor trusts sets it by joining';
is + ($class->psql_fails("SELECT gan_set_dataset($run, 1, sha256('x'))", user => 'eve'))[0],
    '42501', 'a student may not';
$class->psql("SELECT gan_drop_run($run)");

SKIP: {
    skip 'dataset-fashion-mnist is not installed', 3 unless $class->data;
    $run = $class->create_run('clothes', target_iterations => 3);
    $class->psql("SELECT gan_start($run)");
    my $worker = $class->worker('ann');
    my $coordinator = $class->coordinate(60);
    ok $class->wait_for_log($worker, qr/the instructor has not confirmed the class's dataset/, 30),
        'a real worker waits and says why';
    like $class->psql('SELECT gan_set_dataset()'), qr/60000 images/,
        'the instructor confirms what it has';
    is $class->wait_for($worker, 60), 0, 'and it trains to the end';
}
done_testing;
