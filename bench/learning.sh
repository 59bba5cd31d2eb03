#!/bin/bash
# Trains on faces through the real system, once for each way of learning, and prints what came of it:
#
#   learning: MODE IMAGES images, EXCHANGES exchanges, MB on the wire, SECONDS s, swd SWD
#
#   bench/learning.sh [--images N] [--points P] [MODE…]      (none named: all)
#   bench/learning.sh --list                                 names the modes
#
#   --images N   images to learn from in each mode (default 40000)
#   --points P   times to look at what was learned, evenly spread (default 4)
#
# SWD is the sliced Wasserstein distance (Karras et al. 2018, section 5) x 1000 between 1,024 generated images and the
# last 1,000 faces of the archive, which are kept out of training; lower is better. Two workers of one thread, minibatches
# of 32 images, the server and its coordinator on the same machine. Bytes are what the loopback carried in both
# directions. Seconds don't count the drawing of the sheets. Lines are also appended to build/bench/learning.tsv.
# Needs ../shared/data/img_align_celeba.zip, ../shared/bench/swd.py, python3-numpy and python3-pil.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seed=7 total=40000 points=4 held_out=1000 modes=()

# mode, parameters of gan_create_run
all_modes=(
	"simultaneous images_per_unit => 32"
	"alternating images_per_unit => 32, update_rule => 'alternating'"
	"local-1 local_steps => 1"
	"local-5 local_steps => 5"
	"local-10 local_steps => 10"
	"local-50 local_steps => 50"
	"local-100 local_steps => 100"
	"local-10-nesterov local_steps => 10, outer_optimizer => 'nesterov'"
	"local-10-float16 local_steps => 10, upload_element => 'float16', download_element => 'float16'"
	"local-10-int8 local_steps => 10, upload_element => 'int8', download_element => 'int8'"
	"local-50-int8 local_steps => 50, upload_element => 'int8', download_element => 'int8'"
	"local-100-int8 local_steps => 100, upload_element => 'int8', download_element => 'int8'"
)

while [ $# -gt 0 ]; do
	case $1 in
	--list)
		printf '%s\n' "${all_modes[@]%% *}"
		exit
		;;
	--images) total=$2 && shift ;;
	--points) points=$2 && shift ;;
	-*)
		sed -n '2,21s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
		exit 2
		;;
	*) modes+=("$1") ;;
	esac
	shift
done
[ ${#modes[@]} -gt 0 ] || mapfile -t modes < <(printf '%s\n' "${all_modes[@]%% *}")

parameters_of() {
	local mode
	for mode in "${all_modes[@]}"; do
		[ "${mode%% *}" != "$1" ] || echo "${mode#* }"
	done
}

for mode in "${modes[@]}"; do
	[ -n "$(parameters_of "$mode")" ] || {
		echo "learning.sh: there is no mode '$mode'; bench/learning.sh --list names them" >&2
		exit 2
	}
done

archive=../shared/data/img_align_celeba.zip yardstick=../shared/bench/swd.py
for file in "$archive" "$yardstick"; do
	[ -r "$file" ] || {
		echo "learning: left out ($file is not there)"
		exit 0
	}
done

work=$PWD/$programs/learning
mkdir -p "$work"

# Splits the archive: all but the last faces to learn from, the last ones to compare with.
split_archive() {
	/usr/bin/python3 - "$archive" "$work/train.zip" "$work/held_out.zip" "$held_out" <<-'PYTHON'
		import sys, zipfile
		source, train, held, count = zipfile.ZipFile(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
		names = sorted(n for n in source.namelist() if n.lower().endswith('.jpg'))
		for path, part in ((train, names[:-count]), (held, names[-count:])):
		    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as out:
		        for name in part:
		            out.writestr(name, source.read(name))
	PYTHON
}
[ -r "$work/held_out.zip" ] || split_archive
images=$work/train.zip

loopback_bytes() { awk '/^ *lo:/ { sub(/.*:/, ""); print $1 }' /proc/net/dev; }
learned() { sql "SELECT coalesce(sum(images), 0) FROM gan_history WHERE run = $1"; }

# Trains in one mode; leaves sheets POINT.png and facts POINT.txt in the mode's folder.
train() {
	local mode=$1 folder=$work/$1 run name uri start bytes spent=0 point=1 drawn
	rm -rf "$folder"
	mkdir -p "$folder"
	run=$(sql "SELECT gan_create_run('$mode', seed => $seed, audit_minimum => 0, batch => 32, target_iterations => 1000000, $(parameters_of "$mode"))")
	sql "SELECT gan_start($run)" >/dev/null
	bytes=$(loopback_bytes)
	start=$(date +%s.%N)
	for name in ann bo; do
		uri=$(sql "SELECT gan_enroll('$name', '127.0.0.1')")
		in_background worker "$uri" "$name" --run "$mode"
	done
	in_background psql -Xq -c "CALL gan_coordinate(run => $run)"
	while [ "$point" -le "$points" ]; do
		sleep 0.2
		[ "$(learned "$run")" -ge $((total * point / points)) ] || continue
		drawn=$(date +%s.%N)
		sql "SELECT coalesce(sum(images), 0), count(*) FROM gan_history WHERE run = $run" | tr '|' ' ' >"$folder/$point.txt"
		echo "$(($(loopback_bytes) - bytes)) $(awk "BEGIN { print $drawn - $start - $spent }")" >>"$folder/$point.txt"
		psql -XqAt -c "SELECT encode(gan_generate(1024, seed => 1, run => $run), 'base64')" | base64 -d >"$folder/$point.png"
		spent=$(awk "BEGIN { print $spent + $(date +%s.%N) - $drawn }")
		point=$((point + 1))
	done
	sql "SELECT gan_stop($run)" >/dev/null
	stop_background
	sql "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'CALL gan_coordinate%'" >/dev/null
	sql "SELECT gan_drop_run($run)" >/dev/null
}

# Prints a line for each point.
report() {
	local mode=$1 folder=$work/$1 point seen exchanges bytes seconds swd
	for ((point = 1; point <= points; point++)); do
		read -r seen exchanges bytes seconds < <(paste -sd' ' "$folder/$point.txt")
		swd=$(OMP_NUM_THREADS=1 /usr/bin/python3 "$yardstick" "$folder/$point.png" "$work/held_out.zip" | sed -n 's/.* mean //p')
		printf 'learning: %s %s images, %s exchanges, %s MB on the wire, %s s, swd %s\n' "$mode" "$seen" "$exchanges" \
			"$(awk "BEGIN { printf \"%.0f\", $bytes / 1e6 }")" "$(awk "BEGIN { printf \"%.0f\", $seconds }")" "$swd"
		printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$mode" "$seen" "$exchanges" "$bytes" "$seconds" "$swd" >>"$programs/learning.tsv"
	done
}

bench_server durable
for mode in "${modes[@]}"; do
	train "$mode"
	report "$mode"
done
