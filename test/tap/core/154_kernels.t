# The GPU's kernels in a simulator, which looks for races and for reads and writes out of bounds.
use strict;
use warnings;
use Test::More;

plan skip_all => 'oclgrind is not installed' if system('command -v oclgrind >/dev/null') != 0;
is system('make -s -f test/unit/Makefile gpu >&2'), 0, 'the tests are built';
my $said = qx(bash test/gpu/oclgrind.sh);
is $?, 0, 'the simulator runs the kernels';
is scalar(() = $said =~ /^ok \d/mg), 6, 'and finds nothing' or diag $said;
done_testing;
