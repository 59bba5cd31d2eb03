# The house's graph: which source files use which, by what they include and by the symbols that
# their objects have (nm), so that no guess is made.
#
#   my $house = house();    # of the built tree
#   $house->{uses}{'src/extension/step/step.c'}{'src/extension/store/pieces.c'} = 1
#
# What a header declares is not what uses it: only includes lead to headers, only symbols from
# source to source. What is built: make.
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
    # Extension, worker and dashboard are programs of their own: their symbols are looked for among
    # their own objects.
    for my $program (
        [ 'src', qr{^src/(?:(?:extension|formats|quality)/|dcgan/(?!gpu/))} ],
        [ 'build/worker', qr{^src/(?!extension|dashboard)} ],
        [ 'build/dashboard', qr{^src/(dashboard|common)/} ]
        )
    {
        my ($build, $sources) = @{$program};
        my (%defined, %wanted);
        my %source =
            map { s{^src/}{$build/}r =~ s/c$/o/r => $_ } grep { $_ =~ $sources } @{ $house{files} };
        -f $_ or die "$_ is missing: make\n" for keys %source;
        for (split /\n/, `nm -A @{[sort keys %source]}`) {
            my ($object, $kind, $symbol) = /^([^:]+):.*(\S) (\S+)$/ or next;
            my $file = $source{$object};
            $defined{$symbol} = $file if $kind =~ /[TDBRVWC]/;
            $wanted{$file}{$symbol} = 1 if $kind eq 'U';
        }
        for my $file (keys %wanted) {
            note_use(\%house, $file, $defined{$_})
                for grep { $defined{$_} } keys %{ $wanted{$file} };
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
        for my $to (grep {m{^\Q$folder\E/[^/]+$}} keys %{ $includes->{$file} // {} }) {
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

sub lines {
    my $lines = 0;
    $lines += () = read_file($_) =~ /\n/g for @_;
    return $lines;
}

# The functions that files define, as clang-format writes them: { name => { file, lines, calls => {
# name => 1 } } }, of calls those among themselves.
sub functions {
    my %functions;
    for my $file (@_) {
        my $text = read_file($file) =~ s{/\*.*?\*/}{ "\n" x ($& =~ tr/\n//) }gser =~
            s/"(?:\\.|[^"\\])*"/""/gr;
        while ($text =~ /^(?:static )?[A-Za-z][\w *]*?\b(\w+)\([^;{}]*\) \{\n(.*?)^\}/gms) {
            $functions{$1} = { file => $file, lines => 2 + ($2 =~ tr/\n//), body => $2 };
        }
    }
    for my $f (values %functions) {
        $f->{calls} = { map { $_ => 1 }
                grep { $functions{$_} && $functions{$_} != $f } $f->{body} =~ /\b(\w+)\b/g };
        delete $f->{body};
    }
    return \%functions;
}

# The longest way down from a function: the names on it.
sub deepest {
    my ($functions, $name) = @_;
    my @longest;
    for my $next (sort keys %{ $functions->{$name}{calls} }) {
        my @way = deepest($functions, $next);
        @longest = @way if @way > @longest;
    }
    return ($name, @longest);
}
1;
