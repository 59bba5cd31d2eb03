# Checkpoints as other programs write them: wrapped networks, other names, half and double
# precision.
use strict;
use warnings;
use Test::More;
use GannClass;

my $class = GannClass->new;
my $folder = $class->folder;
my $run = $class->create_run('mine');
my $file = pack 'H*', $class->psql("SELECT encode(gan_export($run), 'hex')");

sub spew {
    open my $out, '>:raw', $_[0] or die "$_[0]: $!";
    print $out $_[1];
    close $out or die "$_[0]: $!";
}
spew("$folder/mine.safetensors", $file);
spew("$folder/other.py", <<'PYTHON');
import json, struct, sys
import numpy as np
source, target, how = sys.argv[1:4]
raw = open(source, "rb").read()
end = 8 + struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:end])
header.pop("__metadata__")
kinds = {"F16": "<f2", "F64": "<f8", "F32": "<f4"}
new, data = {}, b""
for name, t in header.items():
    array = np.frombuffer(raw[end:][slice(*t["data_offsets"])], {"F32": "<f4", "I64": "<i8"}[t["dtype"]])
    dtype = t["dtype"]
    if dtype == "F32" and how in kinds:
        dtype, array = how, array.astype(kinds[how])
    if dtype == "F32" and how == "BF16":
        dtype, array = how, (array.view("<u4") >> 16).astype("<u2")
    if dtype == "F32" and how == "I32":
        dtype = how
    name = {"parallel": "module." + name, "each": name.replace(".main", ".module.main"), "compiled": name.replace(".main", "._orig_mod.main"),
            "tutorial": name.replace("generator.", "netG.").replace("discriminator.", "netD.")}.get(how, name)
    if how == "one":
        if not name.startswith("generator."):
            continue
        name = name[len("generator."):]
    new[name] = {"dtype": dtype, "shape": t["shape"], "data_offsets": [len(data), len(data) + array.nbytes]}
    data += array.tobytes()
text = json.dumps(new).encode()
open(target, "wb").write(struct.pack("<Q", len(text)) + text + data)
PYTHON

# Writes the file as another program would, and imports it.
sub import_as {
    my ($how, %opt) = @_;
    system('/usr/bin/python3', "$folder/other.py", "$folder/mine.safetensors",
        "$folder/$how.safetensors", $how) == 0
        or die $how;
    my $sql = "SELECT gan_import('$how', pg_read_binary_file('$folder/$how.safetensors'))";
    return $opt{fails} ? $class->psql_fails($sql) : $class->psql($sql);
}

# The numbers of a run's first shard, behind the blob's header of 24 bytes.
sub weights {
    return unpack 'f<*', substr pack(
        'H*',
        $class->psql(
            "SELECT encode(data, 'hex')
        FROM gan_weights
        WHERE run = $_[0]
        AND iteration = 0
        AND shard = 0"
        )
        ),
        24;
}

my @mine = weights($run);
for my $how (qw(parallel each compiled tutorial F64)) {
    is_deeply [ weights(import_as($how)) ], \@mine, "$how: the same weights, bit for bit";
}
for my $case ([ F16 => 2**-11 ], [ BF16 => 2**-7 ]) {
    my ($how, $limit) = @{$case};
    my @got = weights(import_as($how));
    is scalar @got, scalar @mine, "$how: it is imported";
    my $worst = 0;
    for my $i (0 .. $#mine) {
        my $off = abs($got[$i] - $mine[$i]) - $limit * abs($mine[$i]);
        $worst = $off if $off > $worst;
    }
    cmp_ok $worst, '<=', 2**-25, "$how: the numbers are those of the file";
}
my ($state, $message) = import_as('one', fails => 1);
like $message, qr/holds one network.*both networks into one file/,
    'a file of one network is called that';
($state, $message) = import_as('I32', fails => 1);
like $message,
    qr/has the type I32, but must be F32, F16, BF16 or F64 \(in PyTorch: tensor\.float\(\)\)/,
    'another type, and how to convert it';
spew("$folder/torch.pt", "PK\3\4" . 'x' x 100);
($state, $message) = $class->psql_fails(
    "SELECT gan_import('pt',
            pg_read_binary_file('$folder/torch.pt'))"
);
like $message, qr/it is a file of torch\.save.*save_file/,
    'a file of torch.save, and how to convert it';
done_testing;
