#!/bin/bash
# Two workers of one thread, each behind its own home link, compared with the same two on the loopback:
#
#   bench/link.sh [OPTION…] [NAME…]     (none named: all figures)
#
#   --local-steps H   minibatches of 32 images in a unit (default 64)
#   --upload TYPE     element type of results (default int8)
#   --download TYPE   element type of changes of the weights (default int8)
#   --rate-up R       of a link from its worker (default 10mbit; written as tc wants it)
#   --rate-down R     of a link to its worker (default 50mbit)
#   --iterations N    over the link, after the first one, which does not count (default 3)
#
# A link is a veth pair whose two ends are shaped by tbf. Server, coordinator and the links' near ends are in this
# script's network namespace, each worker and its end in a namespace of their own. When the processes end, the
# namespaces and links disappear. Needs root, and a kernel with veth and tbf.
set -euo pipefail

if [ "$(id -u)" -eq 0 ] && [ -z "${GANN_LINK_INSIDE:-}" ] && unshare --net true 2>/dev/null; then
	GANN_LINK_INSIDE=1 exec unshare --net -- bash "${BASH_SOURCE[0]}" "$@"
fi

steps=64 upload=int8 download=int8 rate_up=10mbit rate_down=50mbit iterations=3 names=()
while [ $# -gt 0 ]; do
	case $1 in
	--local-steps) steps=$2 && shift ;;
	--upload) upload=$2 && shift ;;
	--download) download=$2 && shift ;;
	--rate-up) rate_up=$2 && shift ;;
	--rate-down) rate_down=$2 && shift ;;
	--iterations) iterations=$2 && shift ;;
	-*)
		sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
		exit 2
		;;
	*) names+=("$1") ;;
	esac
	shift
done
[ ${#names[@]} -gt 0 ] || mapfile -t names < <("$(dirname "${BASH_SOURCE[0]}")/run.sh" --list | grep '^link_')
set -- "${names[@]}"
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -z "$quick" ] || steps=2 iterations=2

# The addresses are from the range for measurements (RFC 2544).
near() { echo "198.18.$1.1"; }
far() { echo "198.18.$1.2"; }

# Packets that wait longer than 200 ms are dropped, as in a modem.
tbf() { echo "root tbf rate $1 burst 32kb latency 200ms"; }

# Makes link N; its far end is still in this namespace.
make_link() {
	# shellcheck disable=SC2046 # words
	ip link add "near$1" type veth peer name "far$1" && ip addr add "$(near "$1")/30" dev "near$1" && ip link set "near$1" up &&
		tc qdisc add dev "near$1" $(tbf "$rate_down")
}

# Moves the far end of link N into the network namespace of a process.
hand_over() {
	local inside=(nsenter --target "$2" --net)
	until [ "$(readlink "/proc/$2/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
	ip link set "far$1" netns "$2"
	# shellcheck disable=SC2046 # words
	"${inside[@]}" tc qdisc add dev "far$1" $(tbf "$rate_up")
	"${inside[@]}" ip addr add "$(far "$1")/30" dev "far$1"
	"${inside[@]}" ip link set "far$1" up
}

# The real program in a network namespace of its own; it starts when its end of a link is up.
# shellcheck disable=SC2016 # for the other shell
worker_behind_link() {
	exec unshare --net -- bash -c 'until [ -n "$(ip -o -4 address show up scope global)" ]; do sleep 0.05; done
		exec env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGOPTIONS "$@"' bash \
		src/worker/gan_worker --connect "$1" --data "$images" --name "$2" --threads 1 --once "${@:3}" >"$logs/$2.log" 2>&1
}

why=
if [ -z "${GANN_LINK_INSIDE:-}" ]; then
	why='needs root, and the right to make network namespaces'
elif ! find_images; then
	why='neither faces nor Fashion-MNIST (dataset-fashion-mnist) are there'
elif ! { ip link set lo up && make_link 1 && make_link 2; } >"$logs/link.log" 2>&1; then
	why="no shaped link can be made: $(tail -n 1 "$logs/link.log")"
fi
if [ -n "$why" ]; then
	for name in "${names[@]}"; do left_out "$name" "$why"; done
	exit 0
fi

# Lets students in over the links, with TLS, as from home.
open_server() {
	local data hba
	data=$(sql 'SHOW data_directory') hba=$(sql 'SHOW hba_file')
	openssl req -new -x509 -nodes -newkey rsa:2048 -days 2 -subj /CN=bench -keyout "$data/server.key" -out "$data/server.crt" 2>"$logs/link.log"
	chown --reference="$hba" "$data"/server.{key,crt}
	chmod 600 "$data/server.key"
	echo 'hostssl all all 198.18.0.0/16 scram-sha-256' >>"$hba"
	sql 'ALTER SYSTEM SET ssl = on'
	sql 'SELECT pg_reload_conf()' >/dev/null
}

# begin_run NAME ITERATIONS: starts a run with the wanted options, and a coordinator for it; sets run.
begin_run() {
	run=$(create_run "$1" "units_per_iteration => 2, local_steps => $steps, batch => 32, target_iterations => $2,
		upload_element => '$upload', download_element => '$download'")
	in_background psql -Xq -c "CALL gan_coordinate(run => $run)"
}

# Waits until a number of iterations of the run are over.
await_iterations() {
	local begin=$SECONDS
	until [ "$(sql "SELECT count(*) FROM gan_history WHERE run = $run")" -ge "$1" ]; do
		[ $((SECONDS - begin)) -lt 1200 ] || {
			tail -n 5 "$logs"/{ann,bo}.*.log >&2
			exit 1
		}
		sleep 0.2
	done
}

# Prints the megabytes that both links have carried: up, down. tbf counts packets' headers.
carried() {
	local i sent=()
	for i in 1 2; do
		sent+=("$(nsenter --target "${pids[i]}" --net tc -s qdisc show dev "far$i" | awk '$1 == "Sent" { print $2 }')")
		sent+=("$(tc -s qdisc show dev "near$i" | awk '$1 == "Sent" { print $2 }')")
	done
	echo "$(calculate "(${sent[0]} + ${sent[2]}) / 1e6") $(calculate "(${sent[1]} + ${sent[3]}) / 1e6")"
}

# Prints the images that the two workers computed per second, and a column of their times for a unit (5: images, 7: computing,
# 9: submitting).
computed() { awk '/computed at/ { sub(/.*computed at /, ""); sum += $1 } END { print sum }' "$logs"/{ann,bo}."$1".log; }

spent() { sed -n 's/^a unit took, in seconds: //p' "$logs"/{ann,bo}."$1".log | awk -v column="$2" '{ sum += $column } END { print sum / NR }'; }

GANN_SERVER_TCP="127.0.0.1,$(near 1),$(near 2)"
export GANN_SERVER_TCP
bench_server durable
open_server

# The speed of the same workers without a slow link, while they compute.
begin_run loopback 2
for name in ann bo; do
	uri=$(sql "SELECT gan_enroll('$name', '127.0.0.1')")
	in_background worker "$uri" "$name.loopback" --run loopback
done
await_iterations 2
wait "${background[@]}"
background=()
pure=$(computed loopback)

begin_run home $((iterations + 1))
pids=()
for i in 1 2; do
	name=$([ "$i" = 1 ] && echo ann || echo bo)
	uri=$(sql "SELECT gan_enroll('$name', '$(near "$i")')" 2>/dev/null)
	in_background worker_behind_link "$uri" "$name.home" --run home
	pids[i]=$!
	hand_over "$i" "${pids[i]}"
done
await_iterations 1
read -r up_before down_before < <(carried)
await_iterations "$iterations"
read -r up down < <(carried)
tls=$(sql "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'gan_worker'")
await_iterations $((iterations + 1))
wait "${background[@]}"
background=()
now=$(computed home)

read -r useful span unit claim others step < <(sql "
	WITH h AS (SELECT *, (SELECT max(submitted_at) FROM gan_work_unit u WHERE (u.run, u.iteration) = (g.run, g.iteration)) AS last
		FROM gan_history g WHERE run = $run AND iteration > 0)
	SELECT (SELECT sum(images) FROM h), (SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM h),
		avg(extract(epoch FROM submitted_at - claimed_at))::numeric(8, 3), avg(extract(epoch FROM claimed_at - started_at))::numeric(8, 3),
		avg(extract(epoch FROM last - submitted_at))::numeric(8, 3), avg(extract(epoch FROM ended_at - last))::numeric(8, 3)
	FROM h JOIN gan_work_unit USING (run, iteration)" | tr '|' ' ')
speed=$(calculate "$useful / $span")
compute=$(spent home 7) handing_in=$(spent home 9)
exchange=$(calculate "$unit - $compute")
per_unit=$((2 * (iterations - 1)))
# Other programs on these cores falsify the figures. If there were any, the lines say so.
quiet=$(awk "BEGIN { c = 100 * ($now / $pure - 1); if (c > 15 || c < -15) printf \"DISTURBED, compute changed by %.0f %% meanwhile, \", c }")
what="${quiet}H $steps of 32 images, $upload up, $download down, $rate_up up, $rate_down down, TLS on $tls of 2, $images_are, $iterations iterations of 2 units in $span s, $server_says"
figure link_useful_images_per_second_2_workers "$speed" images/s "$what"
figure link_efficiency "$(calculate "$speed / $pure")" of_compute_speed "$speed images/s of $pure images/s, which the same workers compute on the loopback; of the $now images/s that they computed here $(calculate "$speed / $now"); $what"
figure link_iteration_seconds "$(calculate "$span / $iterations")" s "from the step to the claim $claim, computing $compute, the rest of the unit $exchange, waiting for the other worker $others, from the last submission to the end of the step $step; $what"
figure link_seconds_transfer "$exchange" s "from the claim to the submission without computing; of it submitting $handing_in, mean of all units; $what"
figure link_megabytes_up_per_unit "$(calculate "($up - $up_before) / $per_unit")" MB "as tbf counts packets, from the end of the first iteration to that of the last but one; $what"
figure link_megabytes_down_per_unit "$(calculate "($down - $down_before) / $per_unit")" MB "the same; $what"
