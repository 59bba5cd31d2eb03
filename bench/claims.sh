#!/bin/bash
# Claims by 64 clients at once: how many per second, how soon they are answered, and the effect of an old snapshot.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

clients=64 workers=60 rate=1000
rounds=("$rate" full bare old "$rate" full bare old "$rate" full bare old)
if [ -n "$quick" ]; then
	workers=15
	rounds=("$rate" full bare old)
fi

bench_server durable
create_run crowd 'local_steps => 0, units_per_iteration => 4096, images_per_unit => 1, lease_seconds => 3600, channels => 1,
	image_size => 32, latent => 1, generator_features => 1, discriminator_features => 1,
	dataset_images => 60000, dataset_digest => decode(repeat($$00$$, 32), $$hex$$)' >"$logs/crowd.run"
run=$(<"$logs/crowd.run")
# Accounts with accepted work, so that their limit of units is looked up but never reached.
sql 'ALTER TABLE gan_worker ALTER units SET DEFAULT 100000, ALTER images SET DEFAULT 100000' >/dev/null
sql "SELECT gan_enroll('student' || i, '127.0.0.1') FROM generate_series(1, $clients) AS i" >"$logs/crowd.uris"
lines=$("$programs/claims" "$run" "$workers" "${rounds[@]}" <"$logs/crowd.uris")
rm "$logs/crowd.uris"

# column ROUND NUMBER: that column of the round's lines
column() { awk -v round="$1" -v n="$2" '$1 == round { print $n }' <<<"$lines"; }
three() { column "$1" "$2" | summary 1; }

read -r rate_median rate_least rate_most < <(three full 2)
read -r p50 _ < <(three full 5)
read -r p99 _ < <(three full 7)
figure claims_per_second "$rate_median" claims/s "$clients clients, each with the next claim at once, p50 $p50 ms, p99 $p99 ms, $server_says, min/median/max $rate_least/$rate_median/$rate_most"
read -r bare_median bare_least bare_most < <(three bare 2)
figure claims_vs_bare_update "$(calculate "$rate_median / $bare_median")" '' "the same clients with one UPDATE … FOR UPDATE SKIP LOCKED and nothing else: $bare_median claims/s, min/median/max $bare_least/$bare_median/$bare_most"
read -r old_median old_least old_most < <(three old 2)
read -r p99 _ < <(three old 7)
figure claims_per_second_old_snapshot "$old_median" claims/s "$clients clients, $(calculate "100 * (1 - $old_median / $rate_median)") % less than without, p99 $p99 ms, $server_says, min/median/max $old_least/$old_median/$old_most"
for part in 'p50 5' 'p99 7'; do
	read -r median least most < <(three "$rate" "${part#* }")
	figure "claim_ms_${part% *}_64_clients" "$median" ms "$clients clients, $rate claims/s at random times, $server_says, min/median/max $least/$median/$most"
done
