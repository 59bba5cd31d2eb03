#!/bin/bash
# Builds gannsfriends, installs it and runs its tests.
#
#   scripts/test.sh [--long] [--asan] [unit|house|fuzz|mutation|regress|pgtap|e2e|guards …]     (none named: all)
#
#   --long   also run the tests that take minutes (GANN_LONG=1)
#   --asan   run the unit tests under the address and undefined behaviour sanitizers
#
# Each suite writes build/test/SUITE.log; the last line is `N passed, N failed[, N skipped]`. A suite
# that crashes, runs no test, or not the number that it planned, counts as one failure.
#
# GANN_FACES          archive of faces; by default ../shared/data/img_align_celeba.zip if it exists
# GANN_TEST_JOBS      how many files of the suite e2e run at a time (2)
# GANN_SUITE_TIMEOUT  seconds that one suite may take (3600, with --long 14400)
#
# shellcheck disable=SC2317 # many functions are called by composed names (suite_…, tally_…) or by the trap
set -uo pipefail
export LC_ALL=C.UTF-8
umask 022 # the server must be able to read installed files
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=scripts/server.sh
. scripts/server.sh

all_suites=(unit house fuzz mutation regress pgtap e2e guards)
suites=()
asan=
unset GANN_LONG
while [ $# -gt 0 ]; do
	case $1 in
	--long) export GANN_LONG=1 ;;
	--asan) asan=asan ;;
	unit | house | fuzz | mutation | regress | pgtap | e2e | guards) suites+=("$1") ;;
	*)
		sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
		exit 2
		;;
	esac
	shift
done
[ ${#suites[@]} -gt 0 ] || suites=("${all_suites[@]}")
wants() { [[ " ${suites[*]} " == *" $1 "* ]]; }

limit=${GANN_SUITE_TIMEOUT:-$([ -n "${GANN_LONG:-}" ] && echo 14400 || echo 3600)}
logs=build/test
passed=0 failed=0 skipped=0
as_root=() # how `make install` is called

# Two runs in one checkout would overwrite each other's build.
exec 9<scripts/test.sh
if ! flock -n 9; then
	echo 'test.sh: another run is under way in this checkout' >&2
	exit 1
fi

# Ignores the caller's PG… settings.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS
unset MAKEFLAGS MFLAGS MAKELEVEL
export CMOCKA_MESSAGE_OUTPUT=TAP

if [ -z "${GANN_FACES:-}" ] && [ -r ../shared/data/img_align_celeba.zip ]; then
	GANN_FACES=$(cd ../shared/data && pwd)/img_align_celeba.zip
fi
if [ -n "${GANN_FACES:-}" ]; then
	export GANN_FACES
else
	echo 'test.sh: no archive of faces (GANN_FACES): the tests that need it are left out'
fi

finish() {
	printf '%d passed, %d failed' "$passed" "$failed"
	[ "$skipped" -eq 0 ] || printf ', %d skipped' "$skipped"
	echo
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}

# A step runs in the background in a process group of its own, so that a signal to this script takes
# effect at once and ends everything that the step started.
step=
step_stop() {
	[ -z "$step" ] || kill -TERM "$step" 2>/dev/null || return 0
	[ -z "$step" ] || wait "$step"
}

# run_step LOG COMMAND…: appends to LOG; the status is COMMAND's.
run_step() {
	local log=$1 status
	shift
	set -m
	timeout -k 60 "$limit" "$@" >>"$log" 2>&1 </dev/null 9<&- &
	step=$!
	set +m
	wait "$step"
	status=$?
	step=
	[ "$status" -ne 124 ] || echo "test.sh: stopped after $limit s" >>"$log"
	return "$status"
}

# must_step NAME COMMAND…: without this step there is nothing to test. In the foreground: sudo may
# have to ask.
must_step() {
	local name=$1 start=$SECONDS
	shift
	if "$@" >"$logs/$name.log" 2>&1 </dev/null 9<&-; then
		printf '%s: done (%d s)\n' "$name" $((SECONDS - start))
	else
		printf '%s: failed; the end of %s:\n' "$name" "$logs/$name.log"
		tail -n 40 "$logs/$name.log"
		failed=$((failed + 1))
		finish
	fi
}

# Each tally prints `passed failed skipped planned`, planned -1 where the log tells none.
#
# TAP, one stream or many after each other. Indented lines (subtests) do not count, nor does the
# bare `ok` that prove prints at a file's end. cmocka writes `not ok 3 # SKIP name`.
tally_tap() {
	awk '
		/^1\.\.[0-9]+/ {
			sub(/^1\.\./, "", $1)
			if ($1 == 0) whole++
			planned += $1
			plans++
		}
		/^(not )?ok [0-9]+( |$)/ {
			if (tolower($0) ~ /[^\\]# *(skip|todo)/) skip++
			else if (/^ok/) pass++
			else fail++
		}
		/^Bail out!/ { bail = 1 }
		END { print pass + 0, fail + 0, skip + whole + 0, plans && !bail ? planned + whole : -1 }
	' "$1"
}

tally_regress() {
	awk '
		/^(test| ) *[^ ]+ +\.\.\. / {
			if (/\.\.\. ok( |$)/) pass++
			else if (/\.\.\. failed \(ignored\)/) skip++
			else fail++
		}
		/^ All [0-9]+ tests passed/ { planned += $2; plans++ }
		/^ [0-9]+ of [0-9]+ tests (passed|failed)/ { planned += $3; plans++ }
		END { print pass + 0, fail + 0, skip + 0, plans ? planned : -1 }
	' "$1"
}

show_tap() {
	awk '
		/^(not )?ok / || /^1\.\./ { on = /^not ok / && tolower($0) !~ /[^\\]# *(skip|todo)/ }
		/^Bail out!/ || /^Parse errors?:/ || (on && (/^not ok / || /^ *#/)) || /Sanitizer|runtime error:/
	' "$1" | head -n 150
}

show_regress() {
	grep -E '^(test| ) *[^ ]+ +\.\.\. (FAILED|failed)' "$1" | head -n 50
	if [ -s regression.diffs ]; then
		cp regression.diffs "$logs/"
		head -n 200 regression.diffs
	fi
}

# report SUITE KIND STATUS START: prints the suite's line and adds it to the tally.
report() {
	local suite=$1 kind=$2 status=$3 start=$4 log=$logs/$1.log why='' p f s planned
	read -r p f s planned < <("tally_$kind" "$log")
	if [ $((p + f)) -eq 0 ]; then
		why='no test ran'
	elif [ "$planned" -lt 0 ]; then
		why='it broke off'
	elif [ "$planned" -ne $((p + f + s)) ]; then
		why="$planned tests planned, $((p + f + s)) ran"
	elif [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
		why='no test failed, but the suite did'
	fi
	[ -z "$why" ] || f=$((f + 1))
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%s: %d passed, %d failed' "$suite" "$p" "$f"
	[ "$s" -eq 0 ] || printf ', %d skipped' "$s"
	printf ' (%d s)\n' $((SECONDS - start))
	# The reasons for skipped tests, each once.
	grep -Eio '^ok [0-9]+ .*# *skip.*' "$log" | sed -E 's/.*# *skip *//I' | sort | uniq -c | sed 's/^ */  left out: /' | head -n 20
	[ "$f" -eq 0 ] && return
	"show_$kind" "$log"
	if [ -n "$why" ]; then
		printf '%s: %s (exit status %d); the end of %s:\n' "$suite" "$why" "$status" "$log"
		tail -n 30 "$log"
	fi
}

suite_unit() { run_step "$1" "${make[@]}" unit ${asan:+SANITIZE=1}; }

# The rules for the source tree: folders, circular includes, the length of the step (test/house/house.t).
suite_house() { run_step "$1" test/house.sh; }

suite_fuzz() { run_step "$1" test/fuzz/run.sh; }

suite_mutation() { run_step "$1" bash test/mutation.sh; }

# invariants_hold DATABASE: no invariant is broken (test/invariants.sql)
invariants_hold() {
	local broken
	broken=$(psql -X -A -t -q -v ON_ERROR_STOP=1 -d "$1" -f test/invariants.sql 2>&1) && [ -z "$broken" ] && return
	printf 'broken invariants in %s:\n%s\n' "$1" "$broken"
	return 1
}

suite_regress() {
	rm -f regression.diffs
	run_step "$1" "${make[@]}" installcheck || return
	invariants_hold contrib_regression >>"$1" 2>&1
}

suite_pgtap() {
	local files=(test/pgtap/*.sql)
	[ ${#files[@]} -gt 0 ] || return 1
	run_step "$1" psql -Xq -v ON_ERROR_STOP=1 -d gann_pgtap -c 'CREATE EXTENSION pgtap' \
		-c 'CREATE EXTENSION gannsfriends CASCADE' || return
	PGDATABASE=gann_pgtap run_step "$1" pg_prove --verbose --merge --norc "${files[@]}" || return
	invariants_hold gann_pgtap >>"$1" 2>&1
}

suite_e2e() {
	local files=(test/tap/*/*.t)
	[ ${#files[@]} -gt 0 ] || return 1
	# Two files that build the same tool at a time would overwrite each other's: all are built first.
	run_step "$1" "${make[@]}" -f test/unit/Makefile tools || return
	run_step "$1" test/tools/prove_each.sh "${files[@]}"
}

# Breaks the server's guards one by one; each must turn a test red.
suite_guards() { run_step "$1" prove --verbose --timer --merge --norc -Itest/lib test/guards.t; }

server_trap
server_call_at_exit step_stop
shopt -s nullglob
mkdir -p "$logs"

needs=(test)
if [ -n "$asan" ] || wants fuzz; then needs+=(asan); fi
[ -z "${GANN_LONG:-}" ] || needs+=(long)
must_step deps scripts/deps.sh "${needs[@]}"

# Only now are the server's tools installed.
make=(make "PG_CONFIG=$(server_bindir)/pg_config")
if [ ! -w "$("$(server_bindir)/pg_config" --pkglibdir)" ]; then
	as_root=(sudo)
fi

must_step build "${make[@]}" -j"$(nproc)"
must_step install "${as_root[@]}" "${make[@]}" install

server=
if wants regress || wants pgtap; then
	server=$(server_tempdir) || exit
	server_remove_at_exit "$server"
	# pg_cron can be in one database only, and pg_regress drops its own, so pg_cron is in pgtap's.
	if ! GANN_SERVER_FAST=1 server_start "$server" \
		"shared_preload_libraries = 'pg_cron'" \
		"cron.database_name = 'gann_pgtap'" \
		'cron.use_background_workers = on' \
		"timezone = 'UTC'" 9<&- ||
		! psql -Xq -c 'CREATE DATABASE gann_pgtap'; then
		failed=$((failed + 1))
		finish
	fi
fi

for suite in "${all_suites[@]}"; do
	wants "$suite" || continue
	start=$SECONDS
	: >"$logs/$suite.log"
	"suite_$suite" "$logs/$suite.log"
	status=$?
	kind=tap
	[ "$suite" != regress ] || kind=regress
	report "$suite" $kind $status "$start"
done

[ -z "$server" ] || cp "$server/server.log" "$logs/server.log"
finish
