# work.sh: read by scripts here that run a gateway: $work, a folder, and $gateway, a
# process id or nothing, go when the script does.
work=$(mktemp -d)
gateway=
stop() {
	[ -z "$gateway" ] || { kill "$gateway" && wait "$gateway"; } 2>/dev/null || true
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

# until_ok COMMAND...: waits for half a minute at the most, while $gateway runs.
until_ok() {
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] && kill -0 "$gateway" 2>/dev/null || return 1
		sleep 0.05
	done
}
