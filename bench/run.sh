#!/bin/bash
# Measures, and prints one line per figure:
#
#   bench: NAME VALUE UNIT  (threads, batch, path, CPU, commit, min/median/max)
#
#   bench/run.sh [--quick] [NAME…]     (none named: all)
#   bench/run.sh --list                names the figures
#
#   --quick   shorter and fewer runs: to test the scripts; don't quote these figures
#
# bench/README.md explains each figure. Builds the project, and installs it if a figure needs a server.
set -uo pipefail
export LC_ALL=C.UTF-8
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL

# group, seconds it may take at most, its figures
groups=(
	'compute 340 worker_images_per_second_1t torch_images_per_second_1t worker_vs_torch_1t worker_vs_torch_1t_avx2 layer_gflops worker_images_per_second_2t worker_thread_scaling_2t own_gemm_unit_speed_percent own_gemm_unit_speed_percent_avx2'
	'store 180 aggregate_seconds_8_units upload_seconds_per_unit weights_download_seconds average_step_ratio submit_to_next_iteration_ms'
	'rules 480 aggregate_seconds_mean aggregate_seconds_clipped aggregate_seconds_trimmed aggregate_seconds_median aggregate_seconds_multikrum aggregate_seconds_sql_median'
	'codec 30 wire_gb_per_second validate_gb_per_second'
	'claims 90 claim_ms_p50_64_clients claim_ms_p99_64_clients claims_per_second claims_vs_bare_update claims_per_second_old_snapshot'
	'coordinator 120 submission_to_step_ms coordinator_idle_ms_per_minute'
	'system 150 system_useful_images_per_second_2_workers system_efficiency system_iteration_seconds select1_ms_p99_bystander'
	'link 420 link_useful_images_per_second_2_workers link_efficiency link_iteration_seconds link_seconds_transfer link_megabytes_up_per_unit link_megabytes_down_per_unit'
	'memory 40 worker_peak_rss_mb'
	'growth 175 db_mb_after_200_iterations'
)

names() { printf '%s\n' "${groups[@]}" | cut -d' ' -f3- | tr ' ' '\n'; }

wanted=()
while [ $# -gt 0 ]; do
	case $1 in
	--list)
		names
		exit
		;;
	--quick) export BENCH_QUICK=1 ;;
	-*)
		sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
		exit 2
		;;
	*)
		if ! names | grep -qxF -- "$1"; then
			echo "run.sh: there is no figure '$1'; bench/run.sh --list names them" >&2
			exit 2
		fi
		wanted+=("$1")
		;;
	esac
	shift
done
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(names)

# must COMMAND…: shows the command's output only if it fails.
must() {
	local output
	if ! output=$("$@" 2>&1 </dev/null); then
		printf '%s\nrun.sh: %s failed\n' "$(tail -n 30 <<<"$output")" "$*" >&2
		exit 1
	fi
}

config=pg_config
[ ! -x /usr/lib/postgresql/15/bin/pg_config ] || config=/usr/lib/postgresql/15/bin/pg_config

# Tells whether the server has the version that was built.
is_installed() {
	local file shared
	shared=$("$config" --sharedir)/extension
	cmp -s gannsfriends.so "$("$config" --pkglibdir)/gannsfriends.so" || return
	for file in gannsfriends.control sql/gannsfriends--*.sql; do
		cmp -s "$file" "$shared/${file##*/}" || return
	done
}

# Builds the programs of a group, and installs the server's part.
build() {
	local sudo=()
	must make -f bench/Makefile -j"$(nproc)"
	[[ $1 != compute && $1 != codec ]] || return 0
	must make "PG_CONFIG=$config" -j"$(nproc)" all
	! is_installed || return 0
	[ -w "$("$config" --pkglibdir)" ] || sudo=(sudo)
	must "${sudo[@]}" make "PG_CONFIG=$config" install
}

# A group runs in the background, so that a signal to this script takes effect at once. timeout passes signals on
# to everything that the group has started.
group=
# shellcheck disable=SC2317 # called by the trap
end_group() {
	[ -z "$group" ] || kill -TERM "$group" 2>/dev/null || return 0
	[ -z "$group" ] || wait "$group"
}
trap 'end_group; exit 130' INT
trap 'end_group; exit 143' TERM HUP

failed=0
for entry in "${groups[@]}"; do
	read -r name limit figures <<<"$entry"
	chosen=()
	for figure in $figures; do
		[[ " ${wanted[*]} " != *" $figure "* ]] || chosen+=("$figure")
	done
	[ ${#chosen[@]} -gt 0 ] || continue
	build "$name"
	timeout -k 60 "$limit" bash "bench/$name.sh" "${chosen[@]}" </dev/null &
	group=$!
	wait "$group"
	status=$?
	group=
	if [ "$status" -ne 0 ]; then
		[ "$status" -ne 124 ] || echo "run.sh: bench/$name.sh was stopped after $limit s" >&2
		echo "run.sh: bench/$name.sh failed (exit status $status): ${chosen[*]}" >&2
		failed=1
	fi
done
exit $failed
