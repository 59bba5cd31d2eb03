#!/bin/bash
# Runs the kernels' tests, with their smallest shapes, on a simulator that checks every access to
# memory, races between threads, and how OpenCL is called (Debian: oclgrind). Prints TAP. Run from
# the top level, after make -f test/unit/Makefile gpu
set -u
simulator=/usr/lib/oclgrind/liboclgrind-rt-icd.so
programs=(test_gpu_products test_gpu_layers test_gpu_units)

if ! command -v oclgrind >/dev/null || [ ! -e $simulator ]; then
	echo "1..0 # SKIP oclgrind is not installed"
	exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "1..$((2 * ${#programs[@]}))"
number=0 failed=0

# say TEXT: reports what the last command has found
say() {
	local result=$?
	number=$((number + 1))
	[ $result -eq 0 ] || failed=1
	[ $result -eq 0 ] && echo "ok $number - $1" || echo "not ok $number - $1"
}

export CMOCKA_MESSAGE_OUTPUT=TAP GANN_TEST_TINY=1
export OCL_ICD_VENDORS=$simulator # the loader of drivers gets no driver but the simulator
for program in "${programs[@]}"; do
	oclgrind --data-races --check-api --max-errors 20 "build/unit/$program" >"$log" 2>&1 && grep -q '^ok 1' "$log"
	say "$program passes in the simulator"
	sed 's/^/# /' "$log"
	! grep -qE '^Oclgrind - | data race at |^Invalid |^[[:space:]]+(Kernel|Function):' "$log"
	say "which reports nothing"
done
exit $failed
