# A worker is killed at each of its points: its unit is done by another after the lease, or by
# itself when it comes back, and is averaged once.
use strict;
use warnings;
use Test::More;
use IO::Compress::Gzip qw(gzip);
use GannClass;

my $class = GannClass->new;
my $root = GannTest::root_folder();
is system("make -s -C $root/src/worker points >$root/build/test/points.log 2>&1"), 0,
    'the worker with points is built';
my $program = "$root/build/worker/points/gan_worker";

# A data set that is read at once: 100 images of noise
srand 1;
my $images = pack('N4', 0x803, 100, 28, 28) . pack 'C*', map { int rand 256 } 1 .. 100 * 28 * 28;
gzip \$images => $class->folder . '/noise-idx3-ubyte.gz' or die;
$class->{data_file} = $class->folder . '/noise-idx3-ubyte.gz';

my @points =
    qw(before_claim claim_sent claimed weights_held images_ready computing upload_sent:1 upload_sent:2 uploads_sent submit_sent answered before_claim:2 upload_sent:3 submit_sent:2);
@points = (@points) x 30 if GannTest::long_run();

# All at once: each point has a run of its own, with a victim that dies in it.
my @cases;
while (my @some = splice @points, 0, 14) {
    my $coordinator = $class->coordinate(600);
    for my $point (@some) {
        my $n = @cases + 1;
        my $run = $class->create_run(
            "point $n",
            units_per_iteration => 2,
            target_iterations => 3,
            lease_seconds => 3,
            images_per_unit => 10
        );
        $class->psql("SELECT gan_start($run)");
        my $victim = $class->start_background(
            { name => "victim-$n", env => { GANN_TEST_DIE_AT => $point } },
            $program, '--connect', $class->student("v$n"),
            '--data', $class->data, '--run', "point $n", '--once'
        );
        push @cases, { n => $n, run => $run, point => $point, victim => $victim, new => 1 };
    }
    my @new = grep { delete $_->{new} } @cases;
    for my $case (@new) {
        is $class->wait_for($case->{victim}, 120), 137, "at $case->{point} a worker is killed";
        # One that comes back under its own name continues with what it holds; a stranger has to wait
        # for the lease.
        my $same = $case->{n} % 2;
        $case->{other} =
            $class->worker($same ? "v$case->{n}" : "o$case->{n}", '--run', "point $case->{n}");
    }
    for my $case (@new) {
        is $class->wait_for($case->{other}, 180), 0,
            "after $case->{point} the run is brought to its end";
        is $class->psql(
            "SELECT (SELECT count(*) FROM gan_history
                WHERE run = $case->{run}), (SELECT sum(images) FROM gan_history
                WHERE run = $case->{run}), (SELECT sum(images) FROM gan_worker
                WHERE run = $case->{run})"
            ),
            '3|60|60', 'and every unit was averaged and credited once';
    }
    $class->signal($coordinator, 'TERM');
}
cmp_ok scalar(keys %{ { map { $_->{point} => 1 } @cases } }), '>=', 7, 'points: ' . join ' ',
    map { $_->{point} } @cases[ 0 .. 13 ];
done_testing;
