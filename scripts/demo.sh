#!/bin/bash
# From a bare Debian 12 to a small trained network: installs missing packages, builds, starts a PostgreSQL server of its own, trains
# with two workers, shows the training in the browser and leaves demo/samples.png.
#
#   scripts/demo.sh [--data PATH] [--minutes N] [--keep]
#
#   --data PATH   a zip archive or a folder of faces instead of Fashion-MNIST: trains 64x64 in colour
#   --minutes N   how long to train (default 3)
#   --keep        leave the server and the workers running, and say how to stop them
#
# Run it as root or as a user with sudo. It may be run again, and leaves no process behind.
set -euo pipefail
export LC_ALL=C.UTF-8
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/server.sh
. scripts/server.sh

data=/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
minutes=3
keep=
network=", channels => 1, image_size => 32, latent => 64, generator_features => 32, discriminator_features => 32"
while [ $# -gt 0 ]; do
	case $1 in
	--data)
		data=$(realpath "${2:?--data needs a path}")
		network= # the defaults, as for a class
		shift
		;;
	--minutes)
		minutes=${2:?--minutes needs a number}
		shift
		;;
	--keep) keep=1 ;;
	*)
		sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
		exit 2
		;;
	esac
	shift
done
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || { echo "demo.sh: --minutes is '$minutes', but must be a number" >&2; exit 2; }
say() { printf '\n== %s\n' "$*"; }
sudo=(); [ "$(id -u)" -eq 0 ] || sudo=(sudo)

say 'Installing missing packages'
scripts/deps.sh demo
say 'Building'
make --no-print-directory -j2 all > /tmp/gann-build.$$ 2>&1 || { tail -n 30 /tmp/gann-build.$$; exit 1; }
"${sudo[@]}" make --no-print-directory install >> /tmp/gann-build.$$ 2>&1 || { tail -n 30 /tmp/gann-build.$$; exit 1; }
rm -f /tmp/gann-build.$$
mkdir -p demo

say 'Starting a PostgreSQL server for the demo'
workers=()
stop_workers() {
	local pid
	for pid in "${workers[@]}"; do kill "$pid" 2> /dev/null || true; done
	for pid in "${workers[@]}"; do wait "$pid" 2> /dev/null || true; done
}
folder=$(server_tempdir)
server_trap
server_remove_at_exit "$folder"
server_call_at_exit stop_workers
export GANN_SERVER_FAST=1 # the demo's data need not survive a power cut
server_start "$folder" "shared_buffers = '256MB'" "max_wal_size = '2GB'" "synchronous_commit = off"
echo "listening on $PGHOST, port $PGPORT"
createdb train
export PGDATABASE=train PGOPTIONS='-c client_min_messages=warning'
sql() { psql -XqAt -v ON_ERROR_STOP=1 -c "$1"; }

say 'The instructor: CREATE EXTENSION, a run, two students'
sql 'CREATE EXTENSION gannsfriends'
sql "SELECT gan_create_run('demo', seed => 1, target_iterations => 1000000$network)" > /dev/null
alice=$(sql "SELECT gan_enroll('alice', '127.0.0.1')")
bo=$(sql "SELECT gan_enroll('bo', '127.0.0.1')")
sql "SELECT gan_set_nickname('alice', 'Alice'), gan_set_nickname('bo', 'Bo')" > /dev/null
sql 'SELECT gan_start()'

say 'The dashboard'
sql 'CREATE ROLE screen LOGIN IN ROLE gan_viewer' # trusted on the server's own socket
dashboard() {
	local tries
	: > demo/dashboard.log # emptied, so that an address in it is this dashboard's
	env -u PGOPTIONS src/dashboard/gan_dashboard --connect "host=$PGHOST port=$PGPORT user=screen dbname=train" --listen "127.0.0.1:$1" > demo/dashboard.log 2>&1 9>&- &
	for ((tries = 0; tries < 100; tries++)); do
		if grep -q 'http://' demo/dashboard.log; then break; fi
		kill -0 $! 2> /dev/null || return 1
		sleep 0.1
	done
	workers+=($!)
}
dashboard 8765 || dashboard 0 || { cat demo/dashboard.log; exit 1; } # a free port if 8765 is taken
echo "open this address in a browser and watch: $(sed -n 's/^gan_dashboard: //p' demo/dashboard.log)"

say "The students: two workers of one thread, for $minutes minutes"
env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGOPTIONS src/worker/gan_worker --connect "$alice" --data "$data" --name alice-laptop --threads 1 > demo/alice.log 2>&1 9>&- &
workers+=($!)
env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGOPTIONS src/worker/gan_worker --connect "$bo" --data "$data" --name bo-laptop --threads 1 > demo/bo.log 2>&1 9>&- &
workers+=($!)

say 'The instructor confirms the dataset that both students have'
for ((i = 0; i < 600; i++)); do
	[ "$(sql 'SELECT count(*) FROM gan_worker')" -lt 2 ] || break
	sleep 0.1
done
sql 'SELECT gan_set_dataset()'

sheet() { sql "SELECT encode(gan_generate(64, 7), 'base64')" | base64 -d > "$1.tmp" && mv "$1.tmp" "$1"; }
progress="SELECT format('iteration %s, epoch %s, loss D %s, G %s, D right on real %s%%, on fake %s%%, %s images/s', h.iteration, round(h.epoch::numeric, 2), round(h.loss_d::numeric, 3),
 round(h.loss_g::numeric, 3), round(100 * h.accuracy_real::numeric), round(100 * h.accuracy_fake::numeric),
 (SELECT round(sum(images) / greatest(extract(epoch FROM max(ended_at) - min(started_at)), 0.001)) FROM gan_history WHERE iteration > h.iteration - 50))
 FROM gan_history h ORDER BY iteration DESC LIMIT 1"
rounds=$(awk -v m="$minutes" 'BEGIN { n = int(m * 6 + 0.5); print n < 1 ? 1 : n }')
for ((i = 1; i <= rounds; i++)); do
	sql 'CALL gan_coordinate(10)'
	for pid in "${workers[@]}"; do
		kill -0 "$pid" 2> /dev/null || { echo 'demo.sh: a worker ended early:' >&2; tail -n 5 demo/alice.log demo/bo.log >&2; exit 1; }
	done
	sql "$progress"
	sheet demo/samples.png
done

say 'The learning curve'
psql -Xq -c "SELECT min(iteration) AS from_iteration, max(iteration) AS to_iteration, round(max(epoch)::numeric, 2) AS epoch, sum(images) AS images,
 round(avg(loss_d)::numeric, 3) AS loss_d, round(avg(loss_g)::numeric, 3) AS loss_g, round(avg(accuracy_real)::numeric, 2) AS right_on_real,
 round(avg(accuracy_fake)::numeric, 2) AS right_on_fake
 FROM (SELECT *, ntile(10) OVER (ORDER BY iteration) AS part FROM gan_history) AS h GROUP BY part ORDER BY part" | tee demo/learning_curve.txt
say 'Who contributed how much'
psql -Xq -c 'SELECT login, name, units, images FROM gan_worker ORDER BY images DESC'
say 'Check: every image is used once per epoch'
psql -Xq -c 'SELECT * FROM gan_ledger()'
echo "the generated images: $PWD/demo/samples.png"

if [ -n "$keep" ]; then
	psql -Xq -c 'CALL gan_coordinate()' > demo/coordinator.log 2>&1 9>&- & # until the run is finished
	workers+=($!)
	say 'Still running'
	echo "  psql -h $PGHOST -p $PGPORT -U postgres train"
	echo "  stop with: kill ${workers[*]}; $([ "$(id -u)" -eq 0 ] && echo "runuser -u postgres -- ")$(server_bindir)/pg_ctl -D $_server_data stop"
	disown -a
	trap - EXIT HUP INT TERM
else
	sql 'SELECT gan_stop()'
	stop_workers
	say 'Stopped: nothing is left running.'
fi
