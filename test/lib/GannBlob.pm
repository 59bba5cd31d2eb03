# Blobs of docs/format.md, section 8, written from that text, and all that can be wrong with them.
#
#   GannBlob::blob('float32', $count, 'put=7fc00000@last', 'crc=flip')
package GannBlob;
use strict;
use warnings;

my @table =
    map { my $c = $_; $c = $c & 1 ? $c >> 1 ^ 0x82F63B78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;

sub crc32c {
    my $crc = 0xffffffff;
    $crc = $crc >> 8 ^ $table[ ($crc ^ $_) & 255 ] for unpack 'C*', $_[0];
    return $crc ^ 0xffffffff;
}

my %number = (float32 => 1, float16 => 2, int8 => 3);
my %bytes = (float32 => 4, float16 => 2, int8 => 1);
my %plain = (float32 => '3f000000', float16 => '3800', int8 => '40');    # 0.5, 0.5, and 64 times 2^-7

# A named position among $count: first, last, last-1, middle, lane31, block256.
sub position {
    my ($name, $count) = @_;
    my %at = (first => 0, second => 1, middle => $count >> 1, last => $count - 1);
    my $position =
          $name =~ /^last-(\d+)$/ ? $count - 1 - $1
        : $name =~ /^(?:lane|block)(\d+)$/ ? $1
        : $at{$name};
    defined $position && $position >= 0 && $position < $count
        or die "no position $name among $count\n";
    return $position;
}

# Hex of a number, little-endian.
sub word { return scalar reverse pack 'H*', $_[0] }

# The data of a blob: what is put where, options by name.
sub data {
    my ($element, $count, %with) = @_;
    my $data = word($with{fill} // $plain{$element}) x $count;
    substr $data, position($2, $count) * $bytes{$element}, $bytes{$element}, word($1)
        if ($with{put} // '') =~ /^(\w+)@(.+)$/;
    return $data if $element ne 'int8';
    my $blocks = int(($count + 255) / 256);
    my $scales = word($with{fillscale} // '3c000000') x $blocks;
    substr $scales, position($2, $blocks) * 4, 4, word($1)
        if ($with{scale} // '') =~ /^(\w+)@(.+)$/;
    return $scales . $data;
}

# The number in the header: the right one, or what count= says of it.
sub announced {
    my ($count, $wrong, $other) = @_;
    return $count if !defined $wrong;
    return
          $wrong eq 'gradient' ? $other
        : $wrong =~ /^\*(\d+)$/ ? $count * $1
        : $wrong =~ /^([+-]\d+)$/ ? $count + $1
        : $wrong;
}

# Changes the length of a finished blob: cut=24, cut=half, bytes=-1, bytes=+4, bytes=+double.
sub resize {
    my ($blob, %with) = @_;
    return substr $blob, 0, $with{cut} eq 'half' ? length($blob) / 2 : $with{cut}
        if defined $with{cut};
    return $blob if !defined $with{bytes};
    return $blob . substr $blob, 24 if $with{bytes} eq '+double';
    return $with{bytes} < 0 ? substr $blob, 0, $with{bytes} : $blob . "\0" x $with{bytes};
}

sub blob {
    my ($element, $count, @wrong) = @_;
    my %with = map { /^(\w+)=(.*)$/ ? ($1, $2) : die "not understood: $_\n" } @wrong;
    my $data = data($element, $count, %with);
    my $crc = crc32c($data);
    $crc = { 0 => 0, flip => $crc ^ 1, nothing => crc32c('') }->{ $with{crc} }
        if defined $with{crc};
    if (defined $with{flip}) {
        my $at = position($with{flip}, length $data);
        substr $data, $at, 1, chr(ord(substr $data, $at, 1) ^ 1);
    }
    my $header = pack('H8', $with{magic} // '47414e46')
        . pack('vvQ<V',
        $with{version} // 1,
        $with{element} // $number{$element},
        announced($count, $with{count}, $with{other}), $crc)
        . pack('H8', $with{reserved} // '00000000');
    return resize($header . $data, %with);
}

1;
