# shellcheck shell=bash
# A private PostgreSQL server, as shell functions for bash scripts to source:
#
#   . scripts/server.sh
#   server_trap                                # stop the server on every way out
#   folder=$(server_tempdir)                   # or a folder to keep
#   server_remove_at_exit "$folder"
#   server_start "$folder" "work_mem = '8MB'"  # exports PGHOST PGPORT PGUSER PGDATABASE
#   psql -c 'SELECT 1'
#   server_stop
#
# The server runs as the user postgres if the caller is root, and as the caller otherwise. Users who
# may enter its socket's folder (the server's user and root) are trusted there; TCP, on 127.0.0.1
# only, needs a scram-sha-256 password. A shell can have one server at a time. If the folder already
# holds a database cluster, that one is started unchanged.
#
# Read by server_start:
#   GANN_SERVER_FAST=1      no fsync: data survive a crash of the server, not of the machine
#   GANN_SERVER_TCP=ADDRS   listen_addresses instead of 127.0.0.1
#   GANN_SERVER_PORT=N      this port instead of a free one

_server_data= # set while a server of ours runs
_server_log=
_server_doomed=() # folders that the trap removes
_server_hooks=()  # functions that the trap calls before it stops the server
_server_owner=    # pid of the shell that set the trap

_server_say() { printf 'server.sh: %s\n' "$*" >&2; }

server_bindir() {
	if [ -n "${PG_CONFIG:-}" ]; then
		"$PG_CONFIG" --bindir
	elif [ -x /usr/lib/postgresql/15/bin/initdb ]; then
		echo /usr/lib/postgresql/15/bin
	else
		pg_config --bindir
	fi
}

server_user() {
	if [ "$(id -u)" -eq 0 ]; then echo postgres; else id -un; fi
}

# Runs a command as the server's user, from / (the current folder may be closed to that user).
_server_as() {
	if [ "$(id -u)" -eq 0 ]; then
		(cd / && exec runuser -u postgres -- "$@")
	else
		(cd / && exec "$@")
	fi
}

# Makes a folder with a short path (a socket's path must stay under 108 bytes), which the server's
# user owns and others cannot enter.
server_tempdir() {
	local folder
	folder=$(mktemp -d /tmp/gann.XXXXXX) || return
	chown "$(server_user)" "$folder" && chmod 700 "$folder" && printf '%s\n' "$folder"
}

server_remove_at_exit() { _server_doomed+=("$@"); }

server_call_at_exit() { _server_hooks+=("$@"); }

server_trap() {
	_server_owner=$BASHPID
	trap _server_cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# Keeps the exit status. A second signal does not interrupt the cleanup.
_server_cleanup() {
	local status=$? folder hook
	[ "$_server_owner" = "$BASHPID" ] || return "$status"
	trap '' HUP INT TERM
	for hook in "${_server_hooks[@]}"; do
		"$hook" || true
	done
	server_stop || true
	for folder in "${_server_doomed[@]}"; do
		case $folder in
		/tmp/gann.??????) rm -rf -- "$folder" ;;
		*) _server_say "not removed, because it is not a folder of this script: $folder" ;;
		esac
	done
	_server_doomed=()
	return "$status"
}

_server_free_port() {
	local port tries
	for ((tries = 0; tries < 200; tries++)); do
		port=$((20000 + RANDOM % 10000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
	_server_say 'no free port found'
	return 1
}

# Where the server's files are: FOLDER itself or, if the server's user cannot enter it (a checkout
# under /root, say), a folder in /tmp whose name is kept in FOLDER/server-home.
_server_home() {
	local folder=$1 home
	mkdir -p "$folder" || return
	folder=$(cd "$folder" && pwd -P) || return
	if [ "$(id -u)" -ne 0 ]; then
		echo "$folder"
		return
	fi
	if [ -f "$folder/server-home" ]; then
		home=$(<"$folder/server-home")
		if [ -d "$home" ]; then
			echo "$home"
			return
		fi
		rm -f "$folder/server-home"
	fi
	if _server_as test -x "$folder" 2>/dev/null; then
		echo "$folder"
		return
	fi
	# The folder itself may only lack the right owner.
	if _server_as test -x "${folder%/*}/" 2>/dev/null; then
		chown postgres "$folder" && echo "$folder"
		return
	fi
	home=$(server_tempdir) || return
	_server_say "the user postgres cannot enter $folder; the server's files are in $home"
	printf '%s\n' "$home" >"$folder/server-home"
	echo "$home"
}

# server_start FOLDER [line of postgresql.conf …]
server_start() {
	local folder=$1 home data sockets bin user port tries line sync=()
	shift
	if [ -n "$_server_data" ]; then
		_server_say 'this shell has a server already'
		return 1
	fi
	bin=$(server_bindir) || return
	user=$(server_user)
	home=$(_server_home "$folder") || return
	data=$home/data
	if [ -f "$data/postmaster.pid" ] && _server_as "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; then
		_server_say "another server (process $(head -n 1 "$data/postmaster.pid")) has $data: left alone"
		return 3
	fi

	if [ ! -f "$data/PG_VERSION" ]; then
		[ -z "${GANN_SERVER_FAST:-}" ] || sync=(--no-sync)
		# Made as root and given to the server's user, who need only be able to enter FOLDER, not
		# write to it.
		mkdir -p "$data" && chmod 700 "$data" && chown "$user" "$data" || return
		if ! _server_as "$bin/initdb" -D "$data" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
			--lc-messages=C --auth-local=trust --auth-host=scram-sha-256 "${sync[@]}" \
			>"$home/initdb.log" 2>&1; then
			_server_say 'initdb failed:'
			cat "$home/initdb.log" >&2
			return 1
		fi
	fi

	sockets=$home/socket
	if [ ${#sockets} -gt 80 ] || [[ $sockets =~ [^A-Za-z0-9_./-] ]]; then
		sockets=$(server_tempdir) || return
		server_remove_at_exit "$sockets"
	else
		mkdir -p "$sockets" && chmod 700 "$sockets" && chown "$user" "$sockets" || return
	fi

	_server_log=$home/server.log
	touch "$_server_log" && chown "$user" "$_server_log" || return

	# Another process may take the port between the check and the start: then try another one.
	for ((tries = 0; tries < 5; tries++)); do
		port=${GANN_SERVER_PORT:-$(_server_free_port)} || return
		{
			echo "listen_addresses = '${GANN_SERVER_TCP:-127.0.0.1}'"
			echo "port = $port"
			echo "unix_socket_directories = '$sockets'"
			echo 'unix_socket_permissions = 0700'
			echo "log_line_prefix = '%m [%p] %q%u@%d '"
			[ -z "${GANN_SERVER_FAST:-}" ] || printf '%s = off\n' fsync full_page_writes
			for line in "$@"; do printf '%s\n' "$line"; done
		} >"$data/private.conf" || return
		grep -qx "include 'private.conf'" "$data/postgresql.conf" ||
			echo "include 'private.conf'" >>"$data/postgresql.conf"
		chown "$user" "$data/private.conf" || return
		_server_data=$data # from here on the trap looks for a server to stop
		if _server_as "$bin/pg_ctl" -D "$data" -l "$_server_log" -t 60 -w -s start \
			>/dev/null 2>&1 </dev/null; then
			export PGHOST=$sockets PGPORT=$port PGUSER=postgres PGDATABASE=postgres
			unset PGHOSTADDR PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS
			return 0
		fi
		server_stop
		[ -z "${GANN_SERVER_PORT:-}" ] || break
		grep -q 'Address already in use' "$_server_log" || break
		: >"$_server_log"
	done
	_server_say "the server did not start; the end of $_server_log:"
	tail -n 20 "$_server_log" >&2
	return 1
}

# Stops the shell's server: fast, and if that takes more than 30 s, immediately.
server_stop() { _server_halt fast; }

# Stops it like a crash: no checkpoint, recovery at the next start.
server_crash() { _server_halt immediate; }

_server_halt() {
	local data=$_server_data bin pid
	[ -n "$data" ] || return 0
	_server_data=
	[ -f "$data/postmaster.pid" ] || return 0
	bin=$(server_bindir) || return
	pid=$(head -n 1 "$data/postmaster.pid")
	_server_as "$bin/pg_ctl" -D "$data" -m "$1" -t 30 -w -s stop >/dev/null 2>&1 && return
	_server_as "$bin/pg_ctl" -D "$data" -m immediate -t 20 -w -s stop >/dev/null 2>&1 && return
	# pg_ctl also fails if the server has ended by itself.
	_server_as "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1 || return 0
	_server_say "process $pid does not stop: killed"
	_server_as "$bin/pg_ctl" kill KILL "$pid"
}
