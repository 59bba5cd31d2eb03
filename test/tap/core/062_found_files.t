# What is found and can't be used is named, with what it is and what to do; no other images take its
# place without being asked for.
use strict;
use warnings;
use Test::More;
use File::Path qw(make_path remove_tree);
use GannClass;

my $class = GannClass->new;
my $program = GannClass::worker_program();
my $alone = GannClass::local_program();
my $fashion = $class->data or plan skip_all => 'dataset-fashion-mnist is not installed';
my $home = $class->folder . '/home';
my $archives = $class->folder . '/archives';
mkdir $archives or die $!;
system('/usr/bin/python3', 'test/fixture/make_archives.py', 'test/fixture/images', $archives) == 0
    or die 'make_archives.py failed';
my @tiny =
    qw(--image-size 32 --channels 1 --latent 4 --features 2 --batch 4 --local-steps 1 --iterations 1 --threads 1);

# Puts files into a new home folder and looks for images there; returns status and output.
sub look {
    my (%files) = @_;
    remove_tree($home);
    make_path("$home/Downloads");
    for my $name (sort keys %files) {
        system('cp', '-rP', "$archives/$files{$name}", "$home/$name") == 0 or die "$name: $?";
    }
    return $class->run({ cwd => $home, env => { HOME => $home } }, $alone, @tiny);
}

my ($status, $output) = look();
is $status, 0, 'where nothing else is found Fashion-MNIST is taken' or diag $output;
like $output, qr{^found \Q$fashion\E$}m, 'and said so';

my %cases = (
    'page.zip' =>
        qr/it is a web page \(HTML\), 2\.1 kB, not a zip archive\. Download the file itself again/,
    'rar.zip' => qr/it is a RAR archive, .*, not a zip archive\. Unpack it/,
    'lfs.zip' => qr/a pointer of Git LFS, not the file itself.*git lfs pull/,
    'empty.zip' => qr/it is an empty file\. Download it again\./,
    'half.zip' => qr/only the beginning of a zip archive.*Download it again\./,
    'encrypted.zip' => qr/it is encrypted/,
    'link.zip' => qr/it is a link to "nowhere\/faces\.zip", which isn't there/,
    'texts.zip' => qr/holds no images/,
);
for my $file (sort keys %cases) {
    ($status, $output) = look('img_align_celeba.zip' => $file);
    isnt $status, 0, "$file: nothing else is trained on";
    like $output, $cases{$file}, "$file: it is called what it is";
    like $output,
        qr/Also found \Q$fashion\E \(Fashion-MNIST\)\. These are other images, so they are not used\.\nTo use them, add --data \Q$fashion\E/,
        "$file: what else there is is said";
}
($status, $output) = look('img_align_celeba.zip.part' => 'half.zip');
isnt $status, 0, 'a download under way';
like $output,
    qr/img_align_celeba\.zip": there is only the beginning of it, in a file ending in \.part/,
    'is noticed';
($status, $output) =
    look('img_align_celeba.zip' => 'page.zip', 'Downloads/img_align_celeba (1).zip' => 'macos.zip');
is $status, 0, 'the same images at another place are taken' or diag $output;
like $output, qr/a web page.*found .*Downloads\/img_align_celeba \(1\)\.zip/s,
    'with a word on the first file';
($status, $output) = look('img_align_celeba' => 'nothing');
isnt $status, 0, 'an empty folder';
like $output, qr/the folder holds no images/, 'is said to be one';
($status, $output) = look('train-images-idx3-ubyte.gz' => 'labels.idx.gz');
like $output, qr/an IDX file of labels, not of images.*ound \Q$fashion\E/s,
    'the wrong one of MNIST\'s files';

SKIP: {
    skip 'root may read everything', 1 if $> == 0;
    look('img_align_celeba.zip' => 'clean');
    chmod 0, "$home/img_align_celeba.zip";
    ($status, $output) = $class->run({ cwd => $home, env => { HOME => $home } }, $alone, @tiny);
    like $output, qr/you may not read it \(permission denied\)\. Make it readable/,
        'what may not be read';
    chmod 0700, "$home/img_align_celeba.zip";
}

# In a class whose images are known the others are looked at, and what is wrong is said all the same
remove_tree($home);
make_path("$home/Downloads");
system('cp', "$archives/page.zip", "$home/img_align_celeba.zip");
my $run = $class->create_run(
    'fashion',
    target_iterations => 1,
    units_per_iteration => 1,
    dataset_images => 60000,
    dataset_digest => q{'\x0dfde18c63c6787ab029d04d59b6eafae962d32a10d34822dcfb526ca4383d88'}
);
$class->psql("SELECT gan_start($run)");
my $coordinator = $class->coordinate;
($status, $output) = $class->run(
    { cwd => $home, env => { HOME => $home } },
    $program, $class->student('ann'),
    '--once', '--threads', 1
);
is $status, 0, 'the class\'s own images are taken' or diag $output;
like $output, qr/a web page \(HTML\).*^found \Q$fashion\E$/ms,
    'with a word on the file that can\'t be used';
$class->wait_for($coordinator, 30);
done_testing;
