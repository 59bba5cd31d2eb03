#!/bin/bash
# The cost of encoding and decoding; without a server.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=1
[ -z "$quick" ] || seconds=0.2

all=$("$programs/codec" "$seconds")
slowest=$(grep -E '^(encode|decode) (float16|int8) ' <<<"$all" | sort -g -k3 | head -n 1)
figure wire_gb_per_second "$(calculate "${slowest##* }")" GB/s "threads 1, ${slowest% *}; $(paste -sd, <<<"$all" | sed 's/,/, /g')"

validate=$(grep '^validate float32 ' <<<"$all")
figure validate_gb_per_second "$(calculate "${validate##* }")" GB/s "threads 1, float32: checksum, finiteness, norm"
