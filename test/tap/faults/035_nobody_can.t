# Results that nobody can submit: whatever the cause, the run pauses itself, and the instructor reads
# which limit, which part and what to do.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
plan skip_all => 'dataset-fashion-mnist is not installed' unless $class->data;
my %tiny = (
    latent => 8,
    generator_features => 2,
    discriminator_features => 2,
    batch => 8,
    units_per_iteration => 2,
    lease_seconds => 30,
    target_iterations => 400
);
my $folder = $class->folder;

# The run as it stands when it paused itself, trained by two real workers.
sub train_until_paused {
    my ($name, $run) = @_;
    $class->psql("SELECT gan_start($run)");
    my @workers = map { $class->worker($_, '--run', $name, '--threads', 1, '--once') } qw(ann bo);
    my $coordinator = $class->coordinate;
    ok $class->poll_until("SELECT state = 'paused' FROM gan_run WHERE run = $run", 't', 90),
        "$name: it pauses itself"
        or diag map { $class->log_of($_) } @workers;
    my $why = $class->psql("SELECT note FROM gan_progress WHERE run = $run");
    note "$name: $why";
    like $class->psql("SELECT string_agg(finding, E'\\n') FROM gan_doctor_runs()"),
        qr/paused itself/, "$name: gan_doctor says so";
    $class->psql("SELECT gan_stop($run)");
    is $class->wait_for($_, 60), 0, "$name: a worker ends with its run" for @workers;
    $class->signal($coordinator, "TERM");
    $class->wait_for($coordinator, 30);
    return $why;
}

# ---- limits that no result can be within
my $run = $class->create_run(
    'narrow', %tiny,
    gradient_limit => 1e-6,
    local_steps => 0,
    images_per_unit => 16
);
like train_until_paused('narrow', $run), qr/results of iteration 0 .*were refused.*limit/s,
    'narrow: and names the limit';

# ---- weights that no float32 can be computed with
my $healthy = $class->create_run('healthy', %tiny, local_steps => 0, images_per_unit => 16);
open my $out, '>:raw', "$folder/healthy.safetensors" or die $!;
print $out pack 'H*', $class->psql("SELECT encode(gan_export($healthy), 'hex')");
close $out or die $!;
system('/usr/bin/python3', '-c', <<'PYTHON', $folder) == 0 or die 'python3';
import json, struct, sys
import numpy as np
raw = open(sys.argv[1] + "/healthy.safetensors", "rb").read()
end = 8 + struct.unpack("<Q", raw[:8])[0]
data = bytearray(raw[end:])
for name, t in json.loads(raw[8:end]).items():
    if name.startswith("discriminator.") and t["dtype"] == "F32" and "running" not in name:
        a, b = t["data_offsets"]
        data[a:b] = (np.frombuffer(data[a:b], "<f4") * np.float32(1e20)).tobytes()
open(sys.argv[1] + "/huge.safetensors", "wb").write(raw[:end] + data)
PYTHON
$run = $class->psql("SELECT gan_import('huge', pg_read_binary_file('$folder/huge.safetensors'))");
like train_until_paused('huge', $run), qr/results of iteration 0 .*were refused/s,
    'huge: and names what is wrong';

# ---- a learning rate that no network survives
for my $steps (0, 4) {
    $run = $class->create_run(
        "wild-$steps", %tiny,
        local_steps => $steps,
        images_per_unit => $steps ? 'NULL' : 16,
        learning_rate => 1,
        beta1 => 0.9,
        update_limit => "'Infinity'",
        aggregator => "'mean'"
    );
    like train_until_paused("wild-$steps", $run), qr/smaller learning rate/,
        "wild-$steps: and says what to do";
}
is $class->broken_invariants, '', 'the invariants hold';
done_testing;
