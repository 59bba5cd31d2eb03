#!/bin/bash
# Trains on faces through the real system, once for each mode, and prints the results:
#
#   learning: MODE seed SEED IMAGES images, EXCHANGES exchanges, MB on the wire, SECONDS s, swd SWD
#
#   bench/learning.sh [OPTION…] [MODE…]     (none named: all)
#   bench/learning.sh [OPTION…] first-hour  the README's own run: seconds from gan_start to an SWD of 80, and their median
#   bench/learning.sh --list                names the modes
#
#   --images N   images to learn from in each mode (default 40000)
#   --points P   number of evenly spread measurements (default 4)
#   --seeds "S…" one run for each seed (default 7; first-hour: 7 8 9)
#   --workers N  of one thread each, and as many units an iteration (default 2)
#   --narrow     32 feature maps instead of 64: to try more workers than cores
#   --mode "NAME PARAMETERS"  a mode of your own, by gan_create_run's parameters
#
# SWD is the sliced Wasserstein distance (Karras et al. 2018, section 5) x 1000 between 1,024 generated images and the
# last 1,000 faces of the archive, which are kept out of training; lower is better. The server and its coordinator are
# on the same machine. Bytes are those of the loopback in both directions. Seconds don't include the drawing of the
# sheets that are measured; in first-hour the workers stand still meanwhile. Lines are also appended to
# build/bench/learning.tsv. Needs GANN_FACES or ../shared/data/img_align_celeba.zip, ../shared/bench/swd.py,
# python3-numpy and python3-pil.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seeds='' total=40000 points=4 held_out=1000 workers=2 narrow='' modes=()

# mode, parameters of gan_create_run. class is the mode of a run without options.
old='batch => 32, learning_rate => 2e-4'
all_modes=(
	"class "
	"local-30-batch-16 local_steps => 30, batch => 16, learning_rate => 3e-4"
	"local-60-batch-8 local_steps => 60, batch => 8, learning_rate => 3e-4"
	"simultaneous local_steps => 0, images_per_unit => 32, $old"
	"alternating local_steps => 0, images_per_unit => 32, update_rule => 'alternating', $old"
	"local-1 local_steps => 1, $old"
	"local-5 local_steps => 5, $old"
	"local-10 local_steps => 10, $old"
	"local-50 local_steps => 50, $old"
	"local-100 local_steps => 100, $old"
	"local-10-nesterov local_steps => 10, outer_optimizer => 'nesterov', $old"
	"local-10-float16 local_steps => 10, upload_element => 'float16', download_element => 'float16', $old"
	"local-10-int8 local_steps => 10, upload_element => 'int8', download_element => 'int8', $old"
	"local-50-int8 local_steps => 50, upload_element => 'int8', download_element => 'int8', $old"
	"local-100-int8 local_steps => 100, upload_element => 'int8', download_element => 'int8', $old"
)

while [ $# -gt 0 ]; do
	case $1 in
	--list)
		printf '%s\n' "${all_modes[@]%% *}" first-hour
		exit
		;;
	--images) total=$2 && shift ;;
	--points) points=$2 && shift ;;
	--seeds) seeds=$2 && shift ;;
	--workers) workers=$2 && shift ;;
	--narrow) narrow=', generator_features => 32, discriminator_features => 32' ;;
	--mode) all_modes+=("$2") modes+=("${2%% *}") && shift ;;
	-*)
		sed -n '2,24s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
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

is_mode() { [ "$1" = first-hour ] || printf '%s\n' "${all_modes[@]%% *}" | grep -qxF -- "$1"; }

for mode in "${modes[@]}"; do
	is_mode "$mode" || {
		echo "learning.sh: there is no mode '$mode'; bench/learning.sh --list names them" >&2
		exit 2
	}
done

archive=${GANN_FACES:-../shared/data/img_align_celeba.zip} yardstick=../shared/bench/swd.py
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
now() { date +%s.%N; }

# A run's newest weights as 1,024 pictures, and their distance from the real ones.
draw() { psql -XqAt -c "SELECT encode(gan_generate(1024, seed => 1, run => $1), 'base64')" | base64 -d >"$2"; }
distance() { OMP_NUM_THREADS=1 /usr/bin/python3 "$yardstick" "$1" "$work/held_out.zip" | sed -n 's/.* mean //p'; }

# Starts a run, then its workers and a coordinator, in the README's order; sets run and start.
begin() {
	local name=$1 n uri
	run=$(sql "SELECT gan_create_run('$name', $2)")
	sql "SELECT gan_start($run)" >/dev/null
	start=$(now)
	for ((n = 1; n <= workers; n++)); do
		uri=$(sql "SELECT gan_enroll('student$n', '127.0.0.1')")
		in_background worker "$uri" "student$n" --run "$name"
	done
	in_background psql -Xq -c "CALL gan_coordinate(run => $run)"
}

end() {
	sql "SELECT gan_stop($run)" >/dev/null
	stop_background
	sql "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'CALL gan_coordinate%'" >/dev/null
	sql "SELECT gan_drop_run($run)" >/dev/null
}

# Trains in one mode; leaves sheets POINT.png and facts POINT.txt in the folder.
train() {
	local mode=$1 seed=$2 folder=$3 options bytes spent=0 point=1 drawn
	rm -rf "$folder"
	mkdir -p "$folder"
	options=$(parameters_of "$mode")
	bytes=$(loopback_bytes)
	begin "$mode" "seed => $seed, target_iterations => 1000000, units_per_iteration => $workers${options:+, $options}$narrow"
	while [ "$point" -le "$points" ]; do
		sleep 0.2
		[ "$(learned "$run")" -ge $((total * point / points)) ] || continue
		drawn=$(now)
		sql "SELECT coalesce(sum(images), 0), count(*) FROM gan_history WHERE run = $run" | tr '|' ' ' >"$folder/$point.txt"
		echo "$(($(loopback_bytes) - bytes)) $(awk "BEGIN { print $drawn - $start - $spent }")" >>"$folder/$point.txt"
		draw "$run" "$folder/$point.png"
		spent=$(awk "BEGIN { print $spent + $(now) - $drawn }")
		point=$((point + 1))
	done
	end
}

# Prints a line for each point.
report() {
	local mode=$1 seed=$2 folder=$3 point seen exchanges bytes seconds swd
	for ((point = 1; point <= points; point++)); do
		read -r seen exchanges bytes seconds < <(paste -sd' ' "$folder/$point.txt")
		swd=$(distance "$folder/$point.png")
		printf 'learning: %s seed %s %s images, %s exchanges, %s MB on the wire, %s s, swd %s\n' "$mode" "$seed" "$seen" "$exchanges" \
			"$(awk "BEGIN { printf \"%.0f\", $bytes / 1e6 }")" "$(awk "BEGIN { printf \"%.0f\", $seconds }")" "$swd"
		printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$mode" "$seen" "$exchanges" "$bytes" "$seconds" "$swd" "$seed" >>"$programs/learning.tsv"
	done
}

# The README's run: after each step from the 60th second on, the workers stand still until the pictures are drawn and measured. Ends
# when the pictures are good enough, or after ten minutes. Prints the steps, and sets reached.
first_hour() {
	local seed=$1 spent=0 seen=0 at=0 drawn swd name="first hour $1" facts
	reached=
	begin "$name" "seed => $seed$narrow"
	while [ -z "$reached" ] && awk "BEGIN { exit !($(now) - $start - $spent < 600) }"; do
		sleep 0.2
		awk "BEGIN { exit !($(now) - $start - $spent >= 60) }" || continue
		at=$(sql "SELECT count(*) FROM gan_history WHERE run = $run")
		[ "$at" -gt "$seen" ] || continue
		seen=$at
		kill -STOP "${background[@]:0:workers}"
		drawn=$(now)
		facts=$(sql "SELECT format('%s images in %s steps', sum(images), count(*)) FROM gan_history WHERE run = $run")
		draw "$run" "$work/first-hour.png"
		swd=$(distance "$work/first-hour.png")
		at=$(awk "BEGIN { printf \"%.0f\", $drawn - $start - $spent }")
		echo "learning: first-hour seed $seed, $at s: $facts, swd $swd"
		! awk "BEGIN { exit !($swd <= 80) }" || reached=$at
		spent=$(awk "BEGIN { print $spent + $(now) - $drawn }")
		kill -CONT "${background[@]:0:workers}"
	done
	end
	echo "learning: first-hour seed $seed ${reached:-more than 600} s from gan_start to an swd of 80"
}

first_hours() {
	local seed all=()
	for seed in ${seeds:-7 8 9}; do
		first_hour "$seed"
		all+=("${reached:-600}")
	done
	printf 'learning: first-hour median %s s of %s runs, min/max %s  (%s workers of one thread, %s)\n' "$(printf '%s\n' "${all[@]}" | summary 1 | cut -d' ' -f1)" \
		"${#all[@]}" "$(printf '%s\n' "${all[@]}" | summary 1 | cut -d' ' -f2,3 | tr ' ' /)" "$workers" "$where"
}

bench_server durable
for mode in "${modes[@]}"; do
	if [ "$mode" = first-hour ]; then
		first_hours
		continue
	fi
	for seed in ${seeds:-7}; do
		train "$mode" "$seed" "$work/$mode-$seed"
		report "$mode" "$seed" "$work/$mode-$seed"
	done
done
