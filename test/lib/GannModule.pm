# The extension's library built once more, for a test: with fault points, or with a part of the
# source changed.
#
#   my $faults = GannModule::build('faults', flags => '-DGANN_FAULTS');
#   my $mutant = GannModule::build('no_lock', changes => [['run.c', 'FOR NO KEY UPDATE SKIP LOCKED', '']]);
#   my $class = GannClass->new(module => $mutant);
package GannModule;
use strict;
use warnings;
use Carp qw(croak);
use Fcntl qw(LOCK_EX);
use File::Path qw(make_path remove_tree);
use GannTest;

# build($name, %options): the library's path. A text to be changed must be in its file exactly once.
#   flags   => for the compiler            changes => [[name of a file in src/extension, text, other text], …]
sub build {
    my ($name, %opt) = @_;
    my $root = GannTest::root_folder();
    my $folder = "build/module/$name";
    make_path("$root/build/module");
    # two tests may want the same one
    open my $turn, '>', "$root/$folder.lock" or croak "$folder.lock: $!";
    flock $turn, LOCK_EX or croak "$folder.lock: $!";
    # an object of other changes is not one of these
    remove_tree($opt{changes} ? "$root/$folder" : "$root/$folder/src");
    make_path("$root/$folder/src");
    my %text;
    for my $change (@{ $opt{changes} // [] }) {
        my ($file, $from, $to) = @{$change};
        my ($source) = glob "$root/src/extension/*/$file";
        $text{$file} //= _read($source // croak "src/extension has no $file");
        # where lines are broken does not count
        my $pattern = join '\s+', map {quotemeta} split /\s+/, $from;
        my $times = () = $text{$file} =~ /$pattern/g;
        $times == 1 or croak "$file has this text $times times, not once: $from";
        $text{$file} =~ s/$pattern/$to/;
    }
    _write("$root/$folder/src/$_", $text{$_}) for keys %text;
    my $config =
        -x '/usr/lib/postgresql/15/bin/pg_config'
        ? '/usr/lib/postgresql/15/bin/pg_config'
        : 'pg_config';
    my @make = (
        'make', '-C', $root, '-s', "PG_CONFIG=$config", "MODULE=$folder",
        $opt{flags} ? "MODULE_FLAGS=$opt{flags}" : (), 'module'
    );
    my $output = do {
        local %ENV = %ENV;
        delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
        my $command = join ' ', map {"'$_'"} @make;
        `$command 2>&1`;
    };
    $? == 0 or croak "make module: $output";
    return "$root/$folder/gannsfriends.so";
}

sub _read {
    my $file = shift;
    open my $in, '<', $file or croak "$file: $!";
    local $/ = undef;
    return scalar <$in>;
}

sub _write {
    my ($file, $text) = @_;
    open my $out, '>', $file or croak "$file: $!";
    print {$out} $text;
    close $out or croak "$file: $!";
    return;
}

1;
