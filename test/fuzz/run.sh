#!/bin/bash
# Fuzzes what parses students' bytes, and checkpoints, from the corpus that is kept, for a number of executions; prints TAP.
#
#   test/fuzz/run.sh [EXECUTIONS]     (5,000,000; GANN_LONG=1: 100,000,000)
#
# The same seed every time: a failure comes again. GANN_FUZZ_SEED chooses another. What is found lies in build/fuzz/found-*; put it into
# test/fuzz/corpus/ with the mending of it. The corpus was reduced by `build/fuzz/TARGET -merge=1`.
set -uo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

executions=${1:-5000000}
[ -z "${GANN_LONG:-}" ] || [ $# -gt 0 ] || executions=100000000
seed=${GANN_FUZZ_SEED:-20261123}
targets=(blob codec crc safetensors)
percent=(67 20 10 3) # of the executions
longest=(1240 1100 2100 6200) # bytes: more than 256 numbers, three lanes of the checksum, a whole checkpoint
failed=0

make -s -f test/fuzz/Makefile >&2 || exit 1
echo "1..$((${#targets[@]} + 1))"

# fuzz K: runs target K in a copy of its corpus, so that what is kept stays small
fuzz() {
	local target=${targets[$1]} runs=$((executions * ${percent[$1]} / 100)) folder=build/fuzz/corpus-${targets[$1]}
	rm -rf "$folder" && mkdir -p "$folder" && cp test/fuzz/corpus/"$target"/* "$folder"/ || return
	"build/fuzz/$target" -runs="$runs" -seed="$seed" -max_len="${longest[$1]}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-use_value_profile=0 -reload=0 -artifact_prefix="build/fuzz/found-$target-" "$folder" >"build/fuzz/$target.log" 2>&1
}

pids=()
for k in "${!targets[@]}"; do
	fuzz "$k" &
	pids+=($!)
done
total=0
for k in "${!targets[@]}"; do
	target=${targets[$k]} ok='not ok'
	if wait "${pids[$k]}"; then ok=ok; else failed=1; fi
	done_runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$target.log" | tail -n 1)
	coverage=$(grep -aoE 'cov: [0-9]+' "build/fuzz/$target.log" | tail -n 1)
	total=$((total + ${done_runs:-0}))
	echo "$ok $((k + 1)) - $target: ${done_runs:-0} executions, $coverage"
	[ "$ok" = ok ] || tail -n 60 "build/fuzz/$target.log" | sed 's/^/# /'
done
ok=ok
if [ "$total" -lt $((executions * 99 / 100)) ]; then ok='not ok' failed=1; fi
echo "$ok $((${#targets[@]} + 1)) - $total executions in all, without a finding"
exit $failed
