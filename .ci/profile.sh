#!/bin/sh
# profile.sh flame|pgo: profiles bin/perigee under wrk, T seconds for each load.
# flame draws bench/flame/w1.svg, w2.svg and w4.svg: with perf, which sees the
# kernel and C, or else with Go's own profiler, which sees Go alone.
# pgo writes cmd/perigee/profile.pgo, by which make build's compiler decides what
# to inline and where calls of interfaces go. Go's own profiler, then: it alone
# has the form the compiler reads.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
work=$(mktemp -d)
export WORK="$work"
started=
finish() {
	for p in $started; do kill "$p" 2>/dev/null || true; done
	wait
	rm -rf "$work"
}
trap finish EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
	-subj /CN=localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
$go build -o "$work/origin" ./loadtest/origin
"$work/origin" -listen 127.0.0.1:18081 &
started="$started $!"
redis-server --port 18082 --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >/dev/null &
started="$started $!"
cat >"$work/nginx.conf" <<END
worker_processes 1; daemon off; pid $work/nginx.pid; error_log stderr warn;
events {}
http {
  access_log off; keepalive_requests 1000000000;
  server { listen 127.0.0.1:18083 http2; location / { return 200 "hello by HTTP/2\\n"; } }
}
END
nginx -e stderr -p "$work" -c "$work/nginx.conf" 2>/dev/null &
started="$started $!"
bin/perigee run -c bench/flame/flame.yaml &
gateway=$!
started="$started $gateway"
tries=0
until curl -sf -o /dev/null http://127.0.0.1:18080/ && redis-cli -p 18082 set consumer:key-1 one >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { echo "profile: the gateway does not answer on 127.0.0.1:18080, or Redis on :18082" >&2; exit 1; }
	sleep 0.1
done

by_perf() { perf record -q -e cpu-clock -F 999 -g -p "$gateway" -o "$work/perf.data" -- sleep "$seconds" >/dev/null 2>&1; }
by_go() { curl -sf -o "$work/$1.pb" "http://127.0.0.1:19901/debug/pprof/profile?seconds=$seconds"; }
loaded() { # URL COMMAND...: runs the command while the gateway is under load
	wrk -t1 -c64 -d$((seconds + 4)) -H 'X-Api-Key: key-1' "$1" >"$work/wrk" &
	load=$!
	shift
	sleep 2
	"$@"
	wait $load
	if grep -q 'Non-2xx' "$work/wrk"; then
		cat "$work/wrk" >&2
		exit 1
	fi
}
rate() { awk '/Requests\/sec/ { print $2 }' "$work/wrk"; }

text() { # the text of a profile
	if command -v perf >/dev/null && by_perf; then
		perf script -i "$work/perf.data" 2>/dev/null >"$work/profile"
	else
		by_go cpu
		$go tool pprof -raw "$work/cpu.pb" >"$work/profile"
	fi
}
draw() { # NAME PATH TITLE
	loaded "http://127.0.0.1:18080$2" text
	"$work/flame" -title "$3" <"$work/profile" >"$work/$1.svg"
	mv "$work/$1.svg" "bench/flame/$1.svg"
	echo "profile: bench/flame/$1.svg, $(rate) requests/s"
}
sample() { # NAME URL
	loaded "$2" by_go "$1"
	echo "profile: $1, $(rate) requests/s"
}

case ${1:-} in
flame)
	seconds=${T:-5}
	$go build -o "$work/flame" ./bench/flame
	draw w1 / "W1, plain proxy"
	draw w2 /bytes/66 "W2, key, limit and headers in Lua"
	draw w4 /w4 "W4, JSON made in Lua"
	;;
pgo)
	seconds=${T:-15}
	sample w1 http://127.0.0.1:18080/
	sample w1-pipelined http://127.0.0.1:18080/bytes/67
	sample w1-h2c http://127.0.0.1:18080/bytes/68
	sample w2 http://127.0.0.1:18080/bytes/66
	sample w4 http://127.0.0.1:18080/w4
	sample w5 http://127.0.0.1:18080/bytes/100000
	sample w12 http://127.0.0.1:18080/w12
	sample w9 https://127.0.0.1:18443/
	$go tool pprof -proto "$work"/w*.pb >"$work/profile.pgo"
	mv "$work/profile.pgo" cmd/perigee/profile.pgo
	;;
*)
	echo "profile: flame or pgo, not \"${1:-}\"" >&2
	exit 2
	;;
esac
