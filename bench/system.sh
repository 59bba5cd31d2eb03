#!/bin/bash
# The whole system: two workers of one thread, the server and the coordinator on the same cores, compared with two
# workers that only compute. And another session of the server, as a bystander.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=70 compute_seconds=8
[ -z "$quick" ] || seconds=25 compute_seconds=2
if ! find_images; then
	for name in "$@"; do left_out "$name" 'neither faces nor Fashion-MNIST (dataset-fashion-mnist) are there'; done
	exit 0
fi

# Two at once; prints the mean images per second of each.
pure_compute() {
	local pids=()
	for i in 1 2; do
		"$programs/kernels" --threads 1 --batch 64 --seconds "$compute_seconds" >"$logs/pure.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	sed -n 's/.* mean \([0-9.]*\) .*/\1/p' "$logs"/pure.[12]
}

bench_server durable
find_images
run=$(create_run whole 'local_steps => 0, units_per_iteration => 2, images_per_unit => 320')
before=$(pure_compute)
for name in ann bo; do
	uri=$(sql "SELECT gan_enroll('$name', '127.0.0.1')")
	in_background worker "$uri" "$name"
done
in_background psql -Xq -c "CALL gan_coordinate($((seconds + 5)))"

# The first iteration reads the images' list and warms up; it does not count.
begin=$SECONDS
until [ "$(sql "SELECT count(*) FROM gan_history WHERE run = $run")" -gt 0 ]; do
	[ $((SECONDS - begin)) -lt 60 ] || {
		tail -n 5 "$logs"/{ann,bo}.log >&2
		exit 1
	}
	sleep 0.5
done
bystander=$("$programs/bystander" $((seconds - SECONDS + begin > 10 ? seconds - SECONDS + begin : 10)))
sql "SELECT gan_pause($run)" >/dev/null
stop_background
# The coordinator's session outlives its psql, and would disturb the pure compute.
sql "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'CALL gan_coordinate%'" >/dev/null
after=$(pure_compute)

read -r iterations useful span < <(sql "SELECT count(*), sum(images), extract(epoch FROM max(ended_at) - min(started_at))
	FROM gan_history WHERE run = $run AND iteration > 0" | tr '|' ' ')
[ "$iterations" -gt 0 ] || {
	echo "system.sh: no iteration was complete after $seconds s" >&2
	exit 1
}
speed=$(calculate "$useful / $span")
pure=$(printf '%s\n' "$before" "$after" | awk '{ sum += $1 } END { printf "%.4g", 2 * sum / NR }')
# Other programs on these cores falsify the figures. If there were any, the lines say so.
quiet=$(paste -d' ' <(echo "$before" | awk '{ s += $1 } END { print s }') <(echo "$after" | awk '{ s += $1 } END { print s }') |
	awk '{ change = 100 * ($2 / $1 - 1); if (change > 15 || change < -15) printf "DISTURBED, pure compute changed by %.0f %% meanwhile, ", change }')
figure system_useful_images_per_second_2_workers "$speed" images/s "${quiet}2 workers of 1 thread, batch 64, 320 images a unit, 2 units an iteration, $images_are, $iterations iterations in $span s, $server_says"
figure system_efficiency "$(calculate "$speed / $pure")" of_pure_compute "$quiet$speed images/s of $pure images/s, which two workers compute when there is nothing else: before $(tr '\n' ' ' <<<"$before"), after $(tr '\n' ' ' <<<"$after")"

# The parts of an iteration, by the server's clock: from the last step to the claim, from there to the submission,
# from a worker's submission to the last one, from that to the end of the step.
read -r wall claim unit others step < <(sql "
	WITH i AS (SELECT run, iteration, started_at, ended_at, (SELECT max(submitted_at) FROM gan_work_unit u WHERE (u.run, u.iteration) = (h.run, h.iteration)) AS last
		FROM gan_history h WHERE run = $run AND iteration > 0)
	SELECT avg(extract(epoch FROM ended_at - started_at))::numeric(8, 3), avg(extract(epoch FROM claimed_at - started_at))::numeric(8, 3),
		avg(extract(epoch FROM submitted_at - claimed_at))::numeric(8, 3), avg(extract(epoch FROM last - submitted_at))::numeric(8, 3),
		avg(extract(epoch FROM ended_at - last))::numeric(8, 3)
	FROM i JOIN gan_work_unit u USING (run, iteration)" | tr '|' ' ')
compute=$(calculate "320 / ($pure / 2)")
figure system_iteration_seconds "$wall" s "${quiet}mean; from the step to the claim $claim, from the claim to the submission $unit, of which pure compute would take $compute; waiting for the other worker $others; from the last submission to the end of the step $step"
read -r _ p50 _ p99 _ most _ count <<<"$bystander"
figure select1_ms_p99_bystander "$p99" ms "${quiet}50 a second beside the training, p50 $p50, max $most, $count of them"
