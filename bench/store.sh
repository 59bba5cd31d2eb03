#!/bin/bash
# The server with a full-size model: uploads, downloads, the step, and how soon the next iteration begins. The units
# come from a student that computes nothing.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

iterations=6 reactions=12
[ -z "$quick" ] || iterations=2 reactions=3

bench_server durable
uri=$(sql "SELECT gan_enroll('feeder', '127.0.0.1')")
samples() { sed -n "s/^$1 //p" <<<"$2"; }

# report NAME SAMPLES UNIT FACTOR DETAILS
report() {
	local median least most
	read -r median least most < <(summary "$4" <<<"$2")
	figure "$1" "$median" "$3" "$5, $server_says, min/median/max $least/$median/$most of $(wc -l <<<"$2")"
}

# transfer FIGURE KIND: both ways of moving the shards
transfer() {
	local median least most
	read -r median least most < <(samples "$2_one_by_one" "$fed" | summary 1)
	report "$1" "$(samples "$2" "$fed")" s 1 "6342272 parameters, TCP, one connection, path pipelined; shard by shard $least/$median/$most"
}

if wants aggregate_seconds_8_units upload_seconds_per_unit weights_download_seconds; then
	create_run step 'local_steps => 0, units_per_iteration => 8, images_per_unit => 64, lease_seconds => 600' >/dev/null
	fed=$("$programs/hand_in" step "$uri" step 8 "$iterations")
	sql "SELECT gan_stop()" >/dev/null
	report aggregate_seconds_8_units "$(samples step "$fed")" s 1 '8 units, 6342272 parameters, one backend'
	transfer upload_seconds_per_unit upload
	transfer weights_download_seconds download
fi

# step_of RUN: one iteration of 8 units; the seconds of its step.
step_of() { "$programs/hand_in" step "$uri" "$1" 8 1 | sed -n 's/^step //p'; }

# The same step with and without the moving average of the generator's weights, in turns; the first two of each run
# fill empty slots.
if wants average_step_ratio; then
	create_run with 'local_steps => 0, units_per_iteration => 8, images_per_unit => 64, lease_seconds => 600, average_decay => 0.999' >/dev/null
	create_run without 'local_steps => 0, units_per_iteration => 8, images_per_unit => 64, lease_seconds => 600, average_decay => 0' >/dev/null
	with='' without='' ratios=''
	for ((pair = 0; pair < iterations + 2; pair++)); do
		a=$(step_of with) b=$(step_of without)
		[ "$pair" -ge 2 ] || continue
		with+=$a$'\n' without+=$b$'\n' ratios+=$(calculate "$a / $b")$'\n'
	done
	sql "SELECT gan_stop(run) FROM gan_run" >/dev/null
	read -r median_with _ < <(sed '/^$/d' <<<"$with" | summary 1)
	read -r median_without _ < <(sed '/^$/d' <<<"$without" | summary 1)
	report average_step_ratio "$(sed '/^$/d' <<<"$ratios")" times 1 "8 units, 6342272 parameters, steps in turns, $median_with s beside $median_without s"
fi

if wants submit_to_next_iteration_ms; then
	in_background psql -Xq -c 'CALL gan_coordinate(80)'
	tiny='channels => 1, image_size => 32, latent => 1, generator_features => 1, discriminator_features => 1'
	create_run tiny "local_steps => 0, units_per_iteration => 2, images_per_unit => 64, $tiny" >/dev/null
	small=$("$programs/hand_in" react "$uri" tiny 2 "$reactions")
	sql 'SELECT gan_stop()' >/dev/null
	create_run react 'local_steps => 0, units_per_iteration => 2, images_per_unit => 64' >/dev/null
	large=$("$programs/hand_in" react "$uri" react 2 "$reactions")
	sql 'SELECT gan_stop()' >/dev/null
	read -r median least most < <(samples react "$small" | summary 1000)
	report submit_to_next_iteration_ms "$(samples react "$large")" ms 1000 \
		"2 units, 6342272 parameters, the step in it; with a network of next to no parameters $least/$median/$most ms"
fi
