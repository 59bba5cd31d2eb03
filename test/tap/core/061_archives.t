# One class, the same images however they were packed; damage in an archive stops nobody; a class
# that began with 0.1.0 continues.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
my $folder = $class->folder . '/archives';
mkdir $folder or die "$folder: $!";
system('/usr/bin/python3', 'test/fixture/make_archives.py', 'test/fixture/images', $folder) == 0
    or die 'make_archives.py failed';
my $program = GannClass::worker_program();
my $alone = GannClass::local_program();
my %fact;
open my $facts, '<', "$folder/facts.txt" or die $!;
while (<$facts>) {
    chomp;
    my ($kind, $file, @rest) = split /\t/;
    push @{ $fact{"$kind $file"} }, \@rest;
}
my ($images, $digest) = @{ $fact{'match sorted.zip'}[0] };    # those of the folder "clean"

# Trains three iterations with a worker for each of some datasets; returns their logs.
sub train {
    my ($name, $wanted, @data) = @_;
    my ($count, $hex) = @{$wanted};
    my $run = $class->create_run(
        $name,
        dataset_images => $count,
        dataset_digest => "'\\x$hex'",
        channels => 3,
        units_per_iteration => scalar @data,
        target_iterations => 3,
        lease_seconds => 20
    );
    my @pids = map {
        my $login = "$name-$_";
        $class->start_background(
            { name => $login },
            $program, '--connect', $class->student($login),
            '--data', "$folder/$data[$_]", '--run', $name, '--threads', 1, '--once'
        )
    } 0 .. $#data;
    ok $class->poll_until("SELECT count(*) FROM gan_worker WHERE run = $run", scalar @data, 30),
        "$name: everybody joins"
        or diag map { $class->log_of($_) } @pids;
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate;
    ok $class->poll_until("SELECT state FROM gan_run WHERE run = $run", 'finished', 60),
        "$name: the run goes to its end"
        or diag map { $class->log_of($_) } @pids;
    is join(' ', map { $class->wait_for($_, 30) // 'none' } @pids), join(' ', (0) x @pids),
        "$name: all workers end well";
    is $class->psql("SELECT count(*) FROM gan_failure WHERE run = $run"), '0',
        "$name: no unit failed anywhere";
    $class->wait_for($coordinator, 30);
    return map { $class->log_of($_) } @pids;
}

my @logs = train('habits', [ $images, $digest ], qw(clean macos.zip windows.zip parts));
unlike join('', @logs), qr/can't be used/, 'habits: no image is broken';
like $logs[1], qr/^6 images in zip archive macos\.zip$/m,
    'what macOS leaves in an archive does not count';
my ($damaged) = train('damaged', [ $images, $digest ], 'damaged-0.zip');
my @said = $damaged =~
    /image "a-colour\.jpg" can't be used: it is damaged in the archive \(.*?\)\. The next image takes its place\./g;
is scalar @said, 1, 'an image that is damaged in the archive is named once';
my ($old) = train('before', $fact{'match leftovers.zip'}[0], 'leftovers.zip');
like $old, qr/^8 images in zip archive leftovers\.zip$/m,
    'a class that 0.1.0 began counts what it counted';

# Without a server
my @local =
    qw(--image-size 32 --channels 3 --latent 4 --features 2 --seed 7 --batch 4 --local-steps 2 --iterations 3 --threads 1);
for my $method (0, 8, 9, 12) {
    my ($status, $output) =
        $class->run($alone, '--data', "$folder/damaged-$method.zip", @local, '--out',
        $class->folder . "/local-$method");
    is $status, 0, "local continues over a damaged image (method $method)" or diag $output;
    like $output, qr/^image "a-colour\.jpg" can't be used: it is damaged/m, 'and names it';
}
my @resumed = (
    @local, '--resume', $class->folder . '/local-0/checkpoint.safetensors',
    '--iterations', 4, '--out', $class->folder . '/local-0'
);
my ($status, $output) = $class->run($alone, '--data', "$folder/far.zip", @resumed);
isnt $status, 0, 'other images do not continue a training';
($status, $output) = $class->run($alone, '--data', "$folder/sorted.zip", @resumed);
is $status, 0, 'the same ones, sorted into folders, do' or diag $output;

# Other images: numbers first
my $bo = $class->student('bo');
$class->create_run('faces', dataset_images => 8000, dataset_digest => "'\\x" . '11' x 32 . "'");
$class->create_run('others', dataset_images => 6, dataset_digest => "'\\x" . '22' x 32 . "'");
my %difference = (
    faces => qr/You have 6 images, the class has 8,000\./,
    others =>
        qr/You have 6 images like the class, but not the same ones \(digest [0-9a-f]{16}\.\.\., the class's 2222222222222222\.\.\.\)/,
);
for my $name (sort keys %difference) {
    ($status, $output) =
        $class->run($program, '--connect', $bo, '--data', "$folder/clean", '--run', $name,
        '--threads', 1);
    isnt $status, 0, "$name: other images are refused";
    like $output, $difference{$name}, "$name: numbers first";
    unlike $output, qr/[0-9a-f]{17}/, "$name: digests are short";
}
($status, $output) =
    $class->run($program, '--connect', $bo, '--data', "$folder/clean", '--run', 'faces', '--check');
like $output, qr/^dataset    NOT OK You have 6 images, the class has 8,000\.?$/m,
    '--check says the same';
done_testing;
