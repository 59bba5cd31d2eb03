#!/bin/bash
# Installs the Debian 12 packages that are missing for building, testing or showing gannsfriends.
#
#   scripts/deps.sh [worker|build|test|asan|long|demo …]     (none named: build)
#
# worker is for a student's program; build adds PostgreSQL's server and the dashboard. Installed
# packages are left alone: a second run does nothing and needs no network.
set -euo pipefail
export LC_ALL=C
umask 022

worker=(
	gcc make libc6-dev pkg-config
	libpq-dev
	libopenblas-pthread-dev # its threads
	libjpeg62-turbo-dev libpng-dev libzip-dev zlib1g-dev libssl-dev
)
build=(
	"${worker[@]}"
	postgresql-15 postgresql-server-dev-15
	libopenblas-serial-dev           # openblas-serial/libopenblas.a, linked into the server's module
	libmicrohttpd-dev libjs-chart.js # the dashboard
	cmark-gfm                        # its pages of documentation
)
test=(
	"${build[@]}"
	libcmocka-dev
	ocl-icd-libopencl1 pocl-opencl-icd oclgrind # the GPU's kernels are tested on them
	postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl postgresql-15-cron
	perl libio-pty-perl python3-numpy python3-pil
	python3-torch # exports are run in it, and its files are imported
	openssl faketime libfaketime iproute2
	locales pgbouncer # servers as people set them up
	prometheus-postgres-exporter # metrics
	dataset-fashion-mnist
	chromium chromium-driver # the dashboard's page is tested in it
)
# axe-core, which checks the page for accessibility, comes by npm.
command -v npm >/dev/null || test+=(npm)
asan=("${test[@]}" clang-14 libclang-rt-14-dev)
long=("${test[@]}" sqlsmith)
demo=("${build[@]}" dataset-fashion-mnist)

# Needed at the first installation only; an existing cluster is never touched.
no_cluster=/etc/postgresql-common/createcluster.d/gannsfriends.conf

say() { printf 'deps.sh: %s\n' "$*" >&2; }

usage() {
	sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

wanted=()
[ $# -gt 0 ] || set -- build
for name in "$@"; do
	case $name in
	worker) wanted+=("${worker[@]}") ;;
	build) wanted+=("${build[@]}") ;;
	test) wanted+=("${test[@]}") ;;
	asan) wanted+=("${asan[@]}") ;;
	long) wanted+=("${long[@]}") ;;
	demo) wanted+=("${demo[@]}") ;;
	-h | --help) usage ;;
	*)
		say "no such set: $name"
		usage
		;;
	esac
done

by_hand() {
	say "$1"
	say "install these yourself (Debian 12's names): $2"
	exit 1
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	by_hand 'this is not a Debian-like system' "$(printf '%s\n' "${wanted[@]}" | sort -u | paste -sd' ')"
fi

is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | head -n 1)" = installed ]
}

missing=()
while read -r package; do
	is_installed "$package" || missing+=("$package")
done < <(printf '%s\n' "${wanted[@]}" | sort -u)

if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || by_hand 'neither root nor sudo: cannot install' "${missing[*]}"
	as_root=(sudo)
fi

# `env` because sudo drops the caller's environment.
apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
		apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
		"$@" </dev/null
}

# Debian's package would create and start a cluster "main" the first time. That decision is the
# administrator's, so the setting exists only while the packages are installed.
hold_back_cluster() {
	[ -e "$no_cluster" ] && return
	trap allow_cluster EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	"${as_root[@]}" mkdir -p "${no_cluster%/*}"
	echo 'create_main_cluster = false' | "${as_root[@]}" tee "$no_cluster" >/dev/null
}

allow_cluster() {
	"${as_root[@]}" rm -f "$no_cluster"
}

if [[ " ${missing[*]} " == *' postgresql-15 '* ]]; then
	hold_back_cluster
fi

say "installing: ${missing[*]}"
apt update >&2 || say 'apt-get update failed; continuing with the old package lists'
if ! apt install --no-install-recommends "${missing[@]}" >&2; then
	say "apt-get could not install: ${missing[*]}"
	exit 1
fi

for package in "${missing[@]}"; do
	is_installed "$package" || {
		say "$package is still not installed"
		exit 1
	}
done
