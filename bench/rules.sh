#!/bin/bash
# gan_aggregate of 8 units of 8 accounts, by each rule, one after the other and in turns.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=4 iterations=3 rules='mean clipped trimmed median multikrum'
[ -z "$quick" ] || rounds=1 iterations=2

bench_server durable
uris=()
for student in 1 2 3 4 5 6 7 8; do
	uris+=("$(sql "SELECT gan_enroll('feeder$student', '127.0.0.1')")")
done
declare -A samples
for round in $(seq $rounds); do
	for rule in $rules; do
		create_run "$rule $round" "local_steps => 0, units_per_iteration => 8, images_per_unit => 64, lease_seconds => 600, aggregator => '$rule'" >/dev/null
		fed=$("$programs/hand_in" step "${uris[0]}" "$rule $round" 8 "$iterations" "${uris[@]:1}")
		samples[$rule]+=$(sed -n 's/^step //p' <<<"$fed")$'\n'
		sql "SELECT gan_drop_run(run) FROM gan_run WHERE name = '$rule $round'" >/dev/null
	done
done
for rule in $rules; do
	read -r median least most < <(summary 1 <<<"${samples[$rule]%$'\n'}")
	figure "aggregate_seconds_$rule" "$median" s "8 units of 8 accounts, 6342272 parameters, one backend, $server_says, min/median/max $least/$median/$most of $((rounds * iterations))"
done
