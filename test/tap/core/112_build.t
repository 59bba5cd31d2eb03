# A student builds the worker without PostgreSQL's server: no PGXS, no pg_config, and only the
# packages of the set "worker".
use strict;
use warnings;
use Test::More;
use GannTest;

chdir GannTest::root_folder() or die $!;
my $plan = `make --no-print-directory -n -B worker PG_CONFIG=/nonexistent 2>&1`;
is $?, 0, 'make worker needs no pg_config' or diag $plan;
unlike $plan, qr/nonexistent|pgxs|not found/i, 'and does not ask for it';
like $plan, qr/-o gan_worker/, 'but makes the worker';
my $deps = do { local (@ARGV, $/) = 'scripts/deps.sh'; <> };
my ($worker) = $deps =~ /^worker=\((.*?)^\)/ms;
unlike $worker, qr/postgresql|microhttpd|chart/, 'the set of packages has no server in it';
my ($packages) = do { local (@ARGV, $/) = 'src/worker/Makefile'; <> }
    =~ /^PACKAGES = (.*)$/m;
my %package = (
    libpq => 'libpq-dev',
    libzip => 'libzip-dev',
    libpng => 'libpng-dev',
    libjpeg => 'libjpeg62-turbo-dev',
    zlib => 'zlib1g-dev',
    libcrypto => 'libssl-dev'
);
like $worker, qr/(?<!\S)\Q$package{$_}\E(?!\S)/, "but $_" for split ' ', $packages;
for my $document ('README.md', 'docs/student.md') {
    my $text = do { local (@ARGV, $/) = $document; <> };
    like $text, qr/^scripts\/deps\.sh worker && make worker\b/m, "$document says so";
}
done_testing;
