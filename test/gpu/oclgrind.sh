#!/bin/bash
# Runs the kernels' tests, with their smallest shapes, on a simulator that checks every access to memory, races between threads, and
# how OpenCL is called (Debian: oclgrind). Prints TAP. Run from the top level after make -f test/unit/Makefile build/unit/test_gpu
set -u
program=build/unit/test_gpu
simulator=/usr/lib/oclgrind/liboclgrind-rt-icd.so

if ! command -v oclgrind >/dev/null || [ ! -e $simulator ]; then
	echo "1..0 # SKIP oclgrind is not installed"
	exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "1..2"

# The loader of drivers gets no driver but the simulator.
OCL_ICD_VENDORS=$simulator GANN_TEST_TINY=1 oclgrind --data-races --check-api --max-errors 20 $program >"$log" 2>&1
status=$?
sed 's/^/# /' "$log"
[ $status -eq 0 ] && echo "ok 1 - the tests pass" || echo "not ok 1 - the tests exit with $status"
if grep -qE '^Oclgrind - | data race at |^Invalid |^[[:space:]]+(Kernel|Function):' "$log"; then
	echo "not ok 2 - the simulator reports nothing"
	exit 1
fi
echo "ok 2 - the simulator reports nothing"
exit $status
