#!/bin/bash
# Pure compute of one work unit, compared with PyTorch. Runs alternate, so that a machine that gets slower
# meanwhile is slower for both.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pairs=5 seconds=4
[ -z "$quick" ] || pairs=1 seconds=1
torch=../shared/bench/torch_step.py

kernels() { "$programs/kernels" --threads "$1" --batch 64 --seconds "$seconds" "${@:2}"; } # THREADS [OPTION…]
median_of() { sed -n 's/^median \([0-9.]*\) .*/\1/p' <<<"$1"; }

no_torch=
if [ ! -r "$torch" ]; then
	no_torch="$torch is not there"
elif ! /usr/bin/python3 -c 'import torch' 2>/dev/null; then
	no_torch='python3-torch is not installed'
fi

# Figures that are the median of several runs of the same program.
report() { # NAME VALUES UNIT DETAILS [RUNS]
	local median least most
	read -r median least most < <(tr ' ' '\n' <<<"${2# }" | summary 1)
	figure "$1" "$median" "$3" "$4, min/median/max $least/$median/$most of ${5:-$pairs} runs"
}

beside_torch() {
	local mine='' theirs='' ratios='' m t line path=
	for ((i = 0; i < pairs; i++)); do
		line=$(kernels 1)
		path=${line##*path }
		m=$(median_of "$line")
		mine+=" $m"
		if [ -z "$no_torch" ] && wants torch_images_per_second_1t worker_vs_torch_1t; then
			t=$(OMP_NUM_THREADS=1 /usr/bin/python3 "$torch" 1 64 "$seconds" | sed -n 's/^bench: [a-z_]* \([0-9.]*\) .*/\1/p')
			theirs+=" $t"
			ratios+=" $(calculate "$m / $t")"
		fi
	done
	report worker_images_per_second_1t "$mine" images/s "threads 1, batch 64, path $path, $seconds s each"
	if [ -n "$no_torch" ]; then
		left_out torch_images_per_second_1t "$no_torch"
		left_out worker_vs_torch_1t "$no_torch"
	elif [ -n "$theirs" ]; then
		report torch_images_per_second_1t "$theirs" images/s "threads 1, batch 64, path PyTorch, $seconds s each"
		report worker_vs_torch_1t "$ratios" times "threads 1, batch 64, path $path, runs in pairs of $seconds s each"
	fi
}

# The kernels for most laptops, OpenBLAS's included, compared with PyTorch, which uses everything that the machine has.
avx2() {
	local ratios='' line path='' t
	for ((i = 0; i < (pairs + 1) / 2; i++)); do
		if ! line=$(OPENBLAS_CORETYPE=Haswell kernels 1 --instructions AVX2 2>/dev/null); then
			left_out worker_vs_torch_1t_avx2 'this processor has no AVX2'
			return
		fi
		path=${line##*path }
		t=$(OMP_NUM_THREADS=1 /usr/bin/python3 "$torch" 1 64 "$seconds" | sed -n 's/^bench: [a-z_]* \([0-9.]*\) .*/\1/p')
		ratios+=" $(calculate "$(median_of "$line") / $t")"
	done
	report worker_vs_torch_1t_avx2 "$ratios" times "threads 1, batch 64, path $path, runs in pairs of $seconds s each" $(((pairs + 1) / 2))
}

# Each layer of the discriminator, each pass: the path that is used, and the speed of the others.
layers() {
	local repeats=5 shape pass path rest
	[ -z "$quick" ] || repeats=1
	"$programs/layers" --repeats "$repeats" | while read -r shape pass rest; do
		path=${rest%%;*}
		figure layer_gflops "${path##* }" GFLOP/s "layer $shape, $pass, threads 1, batch 64, path ${path% *}${rest#"$path"}, best of $repeats"
	done
}

two_threads() {
	local ones='' twos='' ratios='' one two line path=
	for ((i = 0; i < (pairs + 1) / 2; i++)); do
		line=$(kernels 1)
		one=$(median_of "$line")
		line=$(kernels 2)
		two=$(median_of "$line")
		path=${line##*path }
		ones+=" $one"
		twos+=" $two"
		ratios+=" $(calculate "$two / $one")"
	done
	report worker_images_per_second_2t "$twos" images/s "threads 2, batch 64, path $path, $seconds s each" $(((pairs + 1) / 2))
	report worker_thread_scaling_2t "$ratios" times "threads 2 beside 1, batch 64, path $path, runs in pairs" $(((pairs + 1) / 2))
}

# Our own products of matrices beside OpenBLAS's: units in turns in one process.
own_gemm() { # FIGURE KERNELS [CORETYPE]
	local line count=31 median low high rest
	! wants "$1" || {
		[ -z "$quick" ] || count=3
		if ! line=$(OPENBLAS_CORETYPE=${3:-} kernels 1 --pairs "$count" --instructions "$2" 2>/dev/null); then
			left_out "$1" "this build has no OpenBLAS, or this processor no $2"
			return
		fi
		read -r _ median _ low _ high rest <<<"$line"
		figure "$1" "$median" % "threads 1, batch 64, ${rest#percent, }, 95 % interval of the median $low to $high of $count pairs of units"
	}
}

! wants worker_images_per_second_1t torch_images_per_second_1t worker_vs_torch_1t || beside_torch
if wants worker_vs_torch_1t_avx2; then
	if [ -n "$no_torch" ]; then left_out worker_vs_torch_1t_avx2 "$no_torch"; else avx2; fi
fi
! wants layer_gflops || layers
! wants worker_images_per_second_2t worker_thread_scaling_2t || two_threads
own_gemm own_gemm_unit_speed_percent AVX-512
own_gemm own_gemm_unit_speed_percent_avx2 AVX2 Haswell
