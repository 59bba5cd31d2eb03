# Devices: a class of a CPU and a device, each of which checks the other's units; a device that
# fails in the middle of a unit; what the class is told of GPUs. PoCL stands for a GPU: OpenCL on
# the processor. Where it is missing the plain loops do.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use GannClass;

plan skip_all => 'dataset-fashion-mnist is not installed' unless GannTest::fashion_file();
my $class = GannClass->new;
my $local = GannClass::local_program();

# ---- the command line
my ($status, $said) = $class->run(GannClass::worker_program(), '--device', 'list');
is $status, 0, '--device list needs no connection';
like $said, qr/--device cpu +CPU/, 'and names the CPU';
my $opencl = $said =~ /--device (opencl:\d+)/ ? $1 : undef;
my $device = $opencl // 'naive';
diag 'left out: OpenCL, for there is no device (pocl-opencl-icd)' if !$opencl;
($status, $said) = $class->run($local, '--device', 'GPU');
is $status, 2, 'a name that is none is a mistake';
like $said, qr/--device is not the name of a device\nFor example: --device gpu/, 'which is said';
my $folder = tempdir(CLEANUP => 1);
my @small = ('--channels', 1, '--image-size', 32, '--features', 4, '--latent', 8, '--threads', 1);
my @train = (
    '--data', $class->data, @small, '--batch', 4, '--local-steps',
    3, '--iterations', 2, '--seed', 5
);

sub train_alone {
    my ($name, @options) = @_;
    my %env = ref $options[0] ? %{ shift @options } : ();
    my @program = ($local, @train, '--out', "$folder/$name", @options);
    return $class->run({ timeout => 240, env => \%env }, @program);
}
($status, $said) = train_alone('none', '--device', 'gpu:77');
is $status, 2, 'a device that is not there ends the program';
like $said, qr/no device "gpu:77"\.\n--device list shows/, 'which is said';

# ---- alone: the same losses on each
sub losses { return join ' ', $_[0] =~ /iteration \d+\/2 +D (\S+) +G (\S+)/g }
my ($cpu_status, $on_cpu) = train_alone('cpu', '--device', 'cpu');
is $cpu_status, 0, 'gan_local trains on the CPU';
my ($device_status, $on_device) = train_alone('device', '--device', $device);
is $device_status, 0, "and on $device" or diag $on_device;
like $on_device, qr/^computing on .*: \d+ images\/s$/m, 'which it says, with its speed';
my @cpu = split / /, losses($on_cpu);
my @other = split / /, losses($on_device);
is scalar @cpu, 4, 'two iterations';
cmp_ok abs($cpu[$_] - $other[$_]), '<=', 0.021, "loss $_ is the same" for 0 .. $#cpu;

# ---- alone, on a device that fails, and on one with little memory
SKIP: {
    skip 'there is no device that can be told to fail (pocl-opencl-icd)', 5 if !$opencl;
    my @device = ('--device', $device);
    ($status, $said) = train_alone('failing', { GANN_DEVICE_FAULT => 'adam:5' }, @device);
    is $status, 0, 'gan_local survives its device';
    like $said, qr/ has failed: adam: .*\.\nThis program continues with the CPU\..*iteration 2\/2/s,
        'says so, and computes the iteration again';
    is losses($said), losses($on_cpu), 'on the CPU, with its bits';
    ($status, $said) = train_alone('forgetful', { GANN_DEVICE_MEMORY => 1 }, @device);
    is $status, 0, 'a device without memory is no obstacle';
    like $said, qr/ can't be used: \d+ bytes are needed, 1 are there\.\nThe CPU computes instead\./,
        'and is named';
}

# ---- a class, with spot checks
my @network = (generator_features => 4, discriminator_features => 4, latent => 8);
my @units = (units_per_iteration => 4, images_per_unit => 8, batch => 4, lease_seconds => 60);

# Trains until a question about the run is answered by yes; returns the run and what a device's
# worker has said.
sub train {
    my ($name, $env, $enough, %options) = @_;
    my $run = $class->create_run($name, @network, @units, target_iterations => 100000, %options);
    $class->psql("SELECT gan_start($run)");
    my $coordinator = $class->coordinate_again;
    my @workers = map {
        $class->worker(
            { name => "$name-$_", env => $_ eq 'bo' ? $env : {} },
            $_, '--run', $name, '--device', /^(?:bo|di)$/ ? $device : 'cpu'
        )
    } qw(ann bo cy di);
    ok $class->poll_until("SELECT $enough" =~ s/RUN/$run/gr, 't', 150),
        "$name: CPUs and $device train it"
        or diag $class->log_of($workers[1]);
    $class->psql("SELECT gan_stop($run)");
    $class->wait_for($_, 60) for @workers;
    $class->signal($coordinator, 'TERM');
    $class->wait_for($coordinator, 30);
    return ($run, $class->log_of($workers[1]));
}
my $all = '(SELECT count(*) = 4 FROM gan_worker WHERE run = RUN AND units > 2)';
my ($run) = train('gradients', {},
    "$all AND (SELECT count(*) > 4 FROM gan_audit WHERE run = RUN AND verdict = 'agreed')",
    audit_minimum => 0.3);
is $class->psql(
    "SELECT count(*) FROM gan_trust WHERE run = $run AND (suspended OR disagreed + unclear > 0)"),
    0, 'their units, which check each other, agree';
diag 'largest error and smallest cosine of honest pairs: ',
    $class->psql("SELECT max(error), min(cosine) FROM gan_audit WHERE run = $run");

# ---- a device that fails
SKIP: {
    skip 'there is no device that can be told to fail (pocl-opencl-icd)', 3 if !$opencl;
    my ($again, $log) = train('failing', { GANN_DEVICE_FAULT => 'adam:5' }, $all, local_steps => 2);
    like $log, qr/ has failed: adam: .*\.\nThis program continues with the CPU\./,
        'the worker says what failed, and continues with the CPU';
    is $class->psql("SELECT sum(refusals) FROM gan_worker WHERE run = $again"), 0,
        'nothing of it was submitted';
}

# ---- a class whose minibatches are too large for a device: they may be halved
SKIP: {
    skip 'there is no device whose memory can be limited (pocl-opencl-icd)', 3 if !$opencl;
    my $large = $class->create_run('large', @network, batch => 16, images_per_unit => 16);
    my $check = sub {
        return $class->run({ timeout => 120, env => { GANN_DEVICE_MEMORY => $_[0] } },
            GannClass::worker_program(), '--connect', $class->student('ann'), '--data',
            $class->data, '--run', 'large', '--threads', 1, '--device', $device, '--check');
    };
    my (undef, $refused) = $check->(1);
    my ($eight) = $refused =~ /can't be used: (\d+) bytes are needed, 1 are there/;
    ok $eight, 'minibatches of eight images need some memory' or diag $refused;
    my (undef, $halved) = $check->($eight);
    like $halved, qr/minibatches of 8 images in place of 16: the device has too little memory/,
        'with just that, they are halved';
    like $halved, qr/speed +ok +\S+ images\/s on (?!the CPU).* minibatches of 8$/m,
        'and the device computes';
    $class->psql("SELECT gan_stop($large)");
}

# ---- pictures
my $sheet = "$folder/sheet.png";
($status, $said) = $class->run(
    GannClass::worker_program(),
    'sample', "$folder/cpu/checkpoint.safetensors",
    '--out', $sheet, '--count', 4, '--device', $device
);
is $status, 0, 'a sheet is drawn on the device' or diag $said;
ok -s $sheet, 'and written';

# ---- what the class is told
$class->psql(
    "INSERT INTO gan_worker (run, login, name, cores, memory_mb, cpu, version, gpu,
    gpu_memory_mb) VALUES ($run, 'ann', 'tower', 8, 16000, '', '', 'NVIDIA T4', 15109)"
);
is $class->psql("SELECT gpus, gpu_memory_mb FROM gan_cluster WHERE run = $run"),
    '1|15109', 'gan_cluster counts GPUs';
is $class->psql("SELECT gpu FROM gan_leaderboard WHERE run = $run AND gpu <> ''"), 'NVIDIA T4',
    'gan_leaderboard names them';
is $class->psql(
    "SELECT c -> 'gpus', c -> 'members' @> '[{\"gpus\": 1}]'
    FROM (SELECT gan_dashboard($run) -> 'class' AS c) AS d"
    ),
    '1|t', 'and so does the dashboard';
done_testing;
