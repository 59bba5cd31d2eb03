# shellcheck shell=bash disable=SC2034 # its variables are for the scripts that source it
# The common part of the scripts of bench/. Sourced with the wanted figures as the script's arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/server.sh
. scripts/server.sh

wanted=" $* "
programs=build/bench
quick=${BENCH_QUICK:-}
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OMP_NUM_THREADS # the machine's own choice is what counts

wants() {
	local name
	for name in "$@"; do
		[[ $wanted != *" $name "* ]] || return 0
	done
	return 1
}

# The machine and the version, for every line.
where=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
where="CPU ${where:-$(uname -m)} x $(nproc), commit $(git describe --always --dirty 2>/dev/null || echo unknown)"
where+=${quick:+, quick}

# figure NAME VALUE UNIT DETAILS: prints the line if the figure is wanted.
figure() {
	! wants "$1" || printf 'bench: %s %s %s  (%s, %s)\n' "$1" "$2" "$3" "$4" "$where"
}

# left_out NAME REASON
left_out() {
	! wants "$1" || printf 'bench: %s left out  (%s, %s)\n' "$1" "$2" "$where"
}

# Four digits, but never fewer than there are before the point.
number='function number(x) { return sprintf(x < 1000 && x > -1000 ? "%.4g" : "%.0f", x) }'

# Reads numbers, one a line; prints "median min max", each multiplied by $1.
summary() {
	sort -g | awk -v factor="$1" "$number"'
		{ x[NR] = $1 * factor }
		END {
			if (NR == 0) exit 1
			median = NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2
			print number(median), number(x[1]), number(x[NR])
		}'
}

calculate() { awk "$number BEGIN { print number($1) }"; }

# bench_server durable|fast [SETTING…]: a new server with the settings of docs/instructor.md and defaults for the rest;
# "fast" is without fsync. Exports the administrator's PG… variables; the database is "train".
bench_server() {
	local folder memory fast=
	[ "$1" = durable ] || fast=1
	shift
	memory=$(awk '/^MemTotal:/ { print int($2 / 4096) "MB" }' /proc/meminfo)
	server_trap
	server_call_at_exit stop_background
	folder=$(server_tempdir)
	server_remove_at_exit "$folder"
	GANN_SERVER_FAST=$fast server_start "$folder" "shared_buffers = '$memory'" "max_wal_size = '4GB'" \
		'max_connections = 150' 'log_parameter_max_length = 0' "$@"
	server_says="fsync $([ -n "$fast" ] && echo off || echo on), shared_buffers $memory"
	createdb train
	export PGDATABASE=train PGOPTIONS='-c client_min_messages=warning'
	sql 'CREATE EXTENSION gannsfriends'
	# The instructor confirms the first worker's dataset at once.
	sql "CREATE FUNCTION confirm() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE public.gan_run SET dataset_images = NEW.dataset_images,
		dataset_digest = NEW.dataset_digest WHERE run = NEW.run AND dataset_digest IS NULL; RETURN NEW; END';
		CREATE TRIGGER confirm AFTER INSERT ON gan_worker FOR EACH ROW EXECUTE FUNCTION confirm()"
}

sql() { psql -XqAt -v ON_ERROR_STOP=1 -c "$1"; }

# create_run NAME PARAMETERS: makes and starts a run; prints its number.
create_run() {
	local run
	run=$(sql "SELECT gan_create_run('$1', seed => 7, audit_minimum => 0, $2)")
	sql "SELECT gan_start($run)" >/dev/null
	echo "$run"
}

background=()

# in_background COMMAND…: until the end of the script, or of the command; $! is its pid.
in_background() {
	"$@" &
	background+=($!)
}

stop_background() {
	local pid
	for pid in "${background[@]}"; do kill "$pid" && kill -CONT "$pid"; done 2>/dev/null || true # one may have been stopped
	for pid in "${background[@]}"; do wait "$pid" 2>/dev/null || true; done
	background=()
}

# Sets images and images_are: faces if there are any, otherwise clothes. Fails if there are neither.
find_images() {
	images=/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
	images_are=Fashion-MNIST
	if [ -r ../shared/data/img_align_celeba.zip ]; then
		images=../shared/data/img_align_celeba.zip
		images_are=CelebA
	fi
	[ -r "$images" ]
}

# worker URI NAME [OPTION…]: the real program, without the administrator's variables; replaces a background
# shell.
worker() {
	exec env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGOPTIONS src/worker/gan_worker --connect "$1" \
		--data "$images" --name "$2" --threads 1 --once "${@:3}" >"$logs/$2.log" 2>&1
}

logs=$programs/logs
mkdir -p "$logs"
