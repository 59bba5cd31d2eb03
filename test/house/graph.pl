# The house's graph: which source files use which, by what they include and by the symbols that their objects have
# (nm), so that no guess is made.
#
#   my $house = house();    # of the built tree
#   $house->{uses}{'src/extension/step/step.c'}{'src/extension/store/pieces.c'} = 1
#
# What a header declares is not what uses it: only includes lead to headers, only symbols from source to source. What is built: make.
use strict;
use warnings;

# Returns { uses => files by file, includes => the same of includes alone, files => the .c files }.
sub house {
    my %house = (files => [ split /\n/, `git ls-files 'src/*.c'` ], uses => {}, includes => {});
    my @headers = split /\n/, `git ls-files 'src/*.h'`;
    my %known = map { $_ => 1 } @headers, @{ $house{files} };
    for my $file (@headers, @{ $house{files} }) {
        my ($folder, $name) = $file =~ m{^(.*)/([^/]*)$};
        for my $include (read_file($file) =~ /^#\s*include "([^"]+)"/mg) {
            my $path = join '/', @{ flatten(split m{/}, "$folder/$include") };
            next unless $known{$path};
            $house{includes}{$file}{$path} = 1;
            note_use(\%house, $file, $path);
        }
    }
    # Extension, worker and dashboard are programs of their own: their symbols are looked for among their own objects.
    for my $program ([ 'src', qr{^src/(extension|dcgan|formats|quality)/} ], [ 'build/worker', qr{^src/(?!extension|dashboard)} ], [ 'build/dashboard', qr{^src/(dashboard|common)/} ]) {
        my ($build, $sources) = @{$program};
        my (%defined, %wanted);
        for my $file (grep { $_ =~ $sources } @{ $house{files} }) {
            my $object = $file =~ s{^src/}{$build/}r =~ s/c$/o/r;
            -f $object or die "$object is missing: make\n";
            for (split /\n/, `nm $object`) {
                my ($kind, $symbol) = /(\S) (\S+)$/ or next;
                $defined{$symbol} = $file if $kind =~ /[TDBRVWC]/;
                $wanted{$file}{$symbol} = 1 if $kind eq 'U';
            }
        }
        for my $file (keys %wanted) {
            note_use(\%house, $file, $defined{$_}) for grep { $defined{$_} } keys %{ $wanted{$file} };
        }
    }
    return \%house;
}

sub note_use {
    my ($house, $from, $to) = @_;
    $house->{uses}{$from}{$to} = 1 if $from ne $to;
    return;
}

sub flatten {
    my @path;
    $_ eq '..' ? pop @path : push @path, $_ for grep { $_ ne '.' } @_;
    return \@path;
}

sub read_file {
    open my $in, '<', $_[0] or die "$_[0]: $!\n";
    local $/ = undef;
    return scalar <$in>;
}

# The groups of files that use each other in a circle (Tarjan 1972), each in alphabetical order.
sub circles {
    my ($uses) = @_;
    my ($count, @stack, %index, %low, %on, @found) = (0);
    my $visit;
    $visit = sub {
        my ($v) = @_;
        $index{$v} = $low{$v} = $count++;
        push @stack, $v;
        $on{$v} = 1;
        for my $w (sort keys %{ $uses->{$v} // {} }) {
            if (!defined $index{$w}) {
                $visit->($w);
                $low{$v} = $low{$w} if $low{$w} < $low{$v};
            } elsif ($on{$w} && $index{$w} < $low{$v}) {
                $low{$v} = $index{$w};
            }
        }
        if ($low{$v} == $index{$v}) {
            my @group;
            while (defined(my $w = pop @stack)) {
                $on{$w} = 0;
                push @group, $w;
                last if $w eq $v;
            }
            push @found, join ' ', sort @group if @group > 1;
        }
    };
    for my $v (sort keys %{$uses}) { $visit->($v) if !defined $index{$v} }
    return @found;
}

# How many files the longest chain of includes within one folder has, and which it is.
sub longest_chain {
    my ($includes) = @_;
    my (%length, %next);
    my $walk;
    $walk = sub {
        my ($file) = @_;
        return $length{$file} if $length{$file};
        $length{$file} = 1;
        my ($folder) = $file =~ m{^(.*)/};
        for my $to (grep { m{^\Q$folder\E/[^/]+$} } keys %{ $includes->{$file} // {} }) {
            my $with = 1 + $walk->($to);
            ($length{$file}, $next{$file}) = ($with, $to) if $with > $length{$file};
        }
        return $length{$file};
    };
    my ($longest) = sort { $walk->($b) <=> $walk->($a) } sort keys %{$includes};
    my @chain = $longest;
    push @chain, $next{ $chain[-1] } while $next{ $chain[-1] };
    return @chain;
}
1;
