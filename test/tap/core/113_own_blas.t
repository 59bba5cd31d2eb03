# make BLAS=own builds everything without OpenBLAS; the server's module is small then. Built in a
# copy, with the objects that are there: only the one that depends on the choice is made again.
use strict;
use warnings;
use Test::More;
use GannTest;
use File::Temp qw(tempdir);

my $root = GannTest::root_folder();
my $copy = tempdir('gann_own_blas.XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $config =
    -x '/usr/lib/postgresql/15/bin/pg_config'
    ? '/usr/lib/postgresql/15/bin/pg_config'
    : 'pg_config';
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL BLAS)};

is system('cp', '-a', map({"$root/$_"} qw(src sql Makefile gannsfriends.control README.md)), $copy),
    0, 'the tree is copied';
my $log = `make -C '$copy' -s -j2 BLAS=own PG_CONFIG='$config' gannsfriends.so 2>&1`;
is $?, 0, 'the module is built' or diag $log;
my $size = -s "$copy/gannsfriends.so";
cmp_ok $size, '<', 2_000_000, "and has less than 2 MB ($size bytes)";
my $symbols = `nm '$copy/gannsfriends.so'`;
like $symbols, qr/\bgemm_own\b/, 'it has our products of matrices';
unlike $symbols, qr/cblas|openblas/i, 'and nothing of a BLAS';
unlike `ldd '$copy/gannsfriends.so'`, qr/blas/i, 'nor does it load one';

my $again = `make -C '$copy' -n BLAS=own PG_CONFIG='$config' gannsfriends.so 2>&1`;
unlike $again, qr/gemm\.c/, 'built again, it stays';
my $other = `make -C '$copy' -n BLAS=openblas PG_CONFIG='$config' gannsfriends.so 2>&1`;
like $other, qr/GANN_OPENBLAS.*gemm\.c/, 'with another choice, what depends on it is made again';
my $wrong = `make -C '$copy' -n BLAS=mkl PG_CONFIG='$config' gannsfriends.so 2>&1`;
like $wrong, qr/BLAS is openblas or own, not "mkl"/, 'a choice that is none is refused';
my $plan = `make -C '$copy' -n -B worker BLAS=own 2>&1`;
like $plan, qr/-o gan_worker/, 'the worker is built';
unlike $plan, qr/openblas/i, 'without OpenBLAS, too';
done_testing;
