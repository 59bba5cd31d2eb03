#!/bin/bash
# Proves test files, some at a time: most of a test's time is waiting, for leases, servers and links.
#
#   test/tools/prove_each.sh FILE…
#
# GANN_TEST_JOBS     how many at a time (2)
# GANN_FILE_TIMEOUT  seconds that one file may take (900, with --long 7200): one that hangs is ended,
#                    and what it had said until then is shown
#
# Each file's output is printed whole when the file is done. The status is 0 if all passed.
set -uo pipefail

lock=$(mktemp) || exit
trap 'rm -f "$lock"' EXIT
export GANN_FILE_TIMEOUT=${GANN_FILE_TIMEOUT:-$([ -n "${GANN_LONG:-}" ] && echo 7200 || echo 900)}

# shellcheck disable=SC2016 # for the shell that xargs starts
printf '%s\0' "$@" | xargs -0 -n 1 -P "${GANN_TEST_JOBS:-2}" bash -c '
	output=$(mktemp) || exit 1
	# What prove writes to a terminal comes at once, what it writes to a file at the end.
	timeout -k 30 "$GANN_FILE_TIMEOUT" perl -MApp::Prove -e "\$| = 1; my \$prove = App::Prove->new;
		\$prove->process_args(@ARGV); exit(\$prove->run ? 0 : 1)" -- --formatter TAP::Formatter::Console \
		--verbose --nocolor --timer --merge --norc -Itest/lib "$1" >"$output" 2>&1
	status=$?
	[ "$status" -ne 124 ] || printf "not ok 1 - %s: stopped after %s s\n" "$1" "$GANN_FILE_TIMEOUT" >>"$output"
	exec 8<"$0"
	flock 8
	cat "$output"
	rm -f "$output"
	[ "$status" -eq 0 ] || exit 1' "$lock"
