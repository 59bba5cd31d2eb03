#!/bin/bash
# The peak resident memory of a worker, at full size, without a cache of prepared images.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if ! find_images; then
	left_out worker_peak_rss_mb 'neither faces nor Fashion-MNIST (dataset-fashion-mnist) are there'
	exit 0
fi
bench_server durable
create_run memory 'local_steps => 0, units_per_iteration => 1, images_per_unit => 128, target_iterations => 4' >/dev/null
uri=$(sql "SELECT gan_enroll('ann', '127.0.0.1')")
in_background psql -Xq -c 'CALL gan_coordinate(50)'
in_background worker "$uri" ann-memory --cache 0
peak=0
# The kernel records the peak; we read it until the process has ended.
while now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$!/status" 2>/dev/null) && [ -n "$now" ]; do
	peak=$now
	sleep 0.05
done
finished=$(sql "SELECT count(*) FROM gan_history")
[ "$finished" -eq 4 ] || {
	tail -n 5 "$logs/ann-memory.log" >&2
	exit 1
}
figure worker_peak_rss_mb "$(calculate "$peak / 1024")" MB "threads 1, batch 64, 128 images a unit, $images_are, cache of images 0 MB, $finished iterations"
