#!/bin/bash
# gan_aggregate of 8 units of 8 accounts, by each rule in turns, and by the median in SQL of
# docs/rules.md.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=4 iterations=3 rules='mean clipped trimmed median multikrum'
[ -z "$quick" ] || rounds=1 iterations=2

# in_sql: the function of docs/rules.md
in_sql() {
	awk '/^CREATE FUNCTION my_median/ { on = 1 } on; on && /^\$\$;/ { exit }' docs/rules.md
}

bench_server durable
sql "$(in_sql)" >/dev/null
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
create_run sql "local_steps => 0, units_per_iteration => 8, images_per_unit => 64, lease_seconds => 3600, aggregator => 'sql:my_median', rule_seconds => 60" >/dev/null
slow=1
[ -n "$quick" ] || slow=3
fed=$("$programs/hand_in" step "${uris[0]}" sql 8 $slow "${uris[@]:1}")
samples[sql_median]=$(sed -n 's/^step //p' <<<"$fed")
[ "$(sql "SELECT count(*) FROM gan_history h JOIN gan_run r USING (run) WHERE r.name = 'sql' AND h.rule_failure IS NULL")" = $slow ] || exit 1
for rule in $rules sql_median; do
	read -r median least most < <(summary 1 <<<"${samples[$rule]%$'\n'}")
	figure "aggregate_seconds_$rule" "$median" s "8 units of 8 accounts, 6342272 parameters, one backend, $server_says, min/median/max $least/$median/$most of $(wc -w <<<"${samples[$rule]}")"
done
