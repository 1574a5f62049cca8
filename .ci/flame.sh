#!/bin/sh
# flame.sh: profiles bin/perigee under wrk and draws bench/flame/w1.svg, w2.svg
# and w4.svg. With perf, which sees the kernel and C, or else with Go's own
# profiler, which sees Go alone. T: seconds of each profile (5).
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
seconds=${T:-5}
work=$(mktemp -d)
started=
finish() {
	for p in $started; do kill "$p" 2>/dev/null || true; done
	wait
	rm -rf "$work"
}
trap finish EXIT

$go build -o "$work/origin" ./loadtest/origin
$go build -o "$work/flame" ./bench/flame
"$work/origin" -listen 127.0.0.1:18081 &
started="$started $!"
bin/perigee run -c bench/flame/flame.yaml &
gateway=$!
started="$started $gateway"
tries=0
until curl -sf -o /dev/null http://127.0.0.1:18080/; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { echo "flame: the gateway does not answer on 127.0.0.1:18080" >&2; exit 1; }
	sleep 0.1
done

by_perf() { perf record -q -e cpu-clock -F 999 -g -p "$gateway" -o "$work/perf.data" -- sleep "$seconds" >/dev/null 2>&1; }
profile() { # the text of a profile
	if command -v perf >/dev/null && by_perf; then
		perf script -i "$work/perf.data" 2>/dev/null
	else
		curl -sf -o "$work/cpu.pb" "http://127.0.0.1:19901/debug/pprof/profile?seconds=$seconds"
		$go tool pprof -raw "$work/cpu.pb"
	fi
}

draw() { # NAME PATH TITLE
	wrk -t1 -c64 -d$((seconds + 4)) -H 'X-Api-Key: key-1' "http://127.0.0.1:18080$2" >"$work/wrk" &
	load=$!
	sleep 2
	profile >"$work/profile"
	wait $load
	if grep -q 'Non-2xx' "$work/wrk"; then
		cat "$work/wrk" >&2
		exit 1
	fi
	"$work/flame" -title "$3" <"$work/profile" >"$work/$1.svg"
	mv "$work/$1.svg" "bench/flame/$1.svg"
	echo "flame: bench/flame/$1.svg, $(awk '/Requests\/sec/ { print $2 }' "$work/wrk") requests/s"
}

draw w1 / "W1, plain proxy"
draw w2 /bytes/66 "W2, key, limit and headers in Lua"
draw w4 /w4 "W4, JSON made in Lua"
