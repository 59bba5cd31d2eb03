#!/bin/bash
# Proves test files, some at a time: most of a test's time is waiting, for leases, servers and links.
#
#   test/tools/prove_each.sh FILE…
#
# GANN_TEST_JOBS  how many at a time (2)
#
# Each file's output is printed whole when the file is done. The status is 0 if all passed.
set -uo pipefail

lock=$(mktemp) || exit
trap 'rm -f "$lock"' EXIT

# shellcheck disable=SC2016 # for the shell that xargs starts
printf '%s\0' "$@" | xargs -0 -n 1 -P "${GANN_TEST_JOBS:-2}" bash -c '
	output=$(prove --verbose --timer --merge --norc -Itest/lib "$1" 2>&1)
	status=$?
	exec 8<"$0"
	flock 8
	printf "%s\n" "$output"
	[ "$status" -eq 0 ] || exit 1' "$lock"
