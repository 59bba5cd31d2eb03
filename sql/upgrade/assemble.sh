#!/bin/bash
# Writes the script that updates the extension from one version to the one of this source:
#
#   sql/upgrade/assemble.sh TABLES.sql INSTALL.sql...
#
# TABLES.sql is sql/upgrade/gannsfriends--OLD--NEW-tables.sql, written by hand: it makes of OLD's tables NEW's. Each of its lines
# "-- In place of FILE.sql" names one of the parts that holds what OLD has already; there TABLES.sql stands instead of the first, and the
# others are left out. All the rest is as for a new installation, after OLD's views and functions were dropped.
set -euo pipefail

tables=$1
shift
mapfile -t replaced < <(sed -n 's/^-- In place of \([^ ]*\.sql\)$/\1/p' "$tables")
[ ${#replaced[@]} -gt 0 ] || {
	echo "assemble.sh: $tables has no line '-- In place of FILE.sql'" >&2
	exit 1
}
version=${tables##*--}
printf '%s\n' "\\echo Use \"ALTER EXTENSION gannsfriends UPDATE TO '${version%-tables.sql}'\" to load this file. \\quit"

dropped='' stands=0
for file; do
	name=${file#sql/}
	if [[ " ${replaced[*]} " != *" $name "* ]]; then
		grep -v '^\\echo ' "$file"
	elif [ $((stands++)) -eq 0 ]; then
		cat "$tables"
	fi
	[ -n "$dropped" ] || cat "$(dirname "$0")/drop.sql" # after the first file, which looks at the roles
	dropped=1
done
[ "$stands" -eq ${#replaced[@]} ] || {
	echo "assemble.sh: $tables stands in place of parts that there are none of: ${replaced[*]}" >&2
	exit 1
}
