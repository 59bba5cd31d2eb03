#!/bin/bash
# The size of the database after 200 full-size iterations of 4 units, with the default autovacuum.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

iterations=200 seconds=150
[ -z "$quick" ] || iterations=10 seconds=30

bench_server fast # the size does not depend on fsync, and 20 GB are to be uploaded
create_run growth 'local_steps => 0, units_per_iteration => 4, images_per_unit => 64, lease_seconds => 600' >/dev/null
uri=$(sql "SELECT gan_enroll('feeder', '127.0.0.1')")
sizes=$("$programs/hand_in" grow "$uri" growth 4 "$iterations" "$seconds")
read -r _ finished last < <(tail -n 1 <<<"$sizes")
most=$(awk '{ print $3 }' <<<"$sizes" | summary 1 | cut -d' ' -f3)
at() { awk -v n="$1" 'NR == n { print $3 }' <<<"$sizes"; }
half=$(at $(((finished + 1) / 2)))
figure db_mb_after_200_iterations "$last" MB "in iteration $finished of 4 units, 6342272 parameters; in the first $(at 1), in the middle $half, at most $most, $server_says"
