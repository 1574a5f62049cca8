#!/bin/sh
# k6.sh SCENARIO: starts the deterministic origin and bin/perigee with
# loadtest/perigee.yaml, runs loadtest/scenarios/SCENARIO.js against them and
# ends both. Exit code is k6's: 99 when a threshold was crossed.
set -eu
cd "$(dirname "$0")/.."
scenario=loadtest/scenarios/$1.js
[ -e "$scenario" ] || {
	echo "k6: no $scenario; there are: $(basename -s .js loadtest/scenarios/*.js | tr '\n' ' ')" >&2
	exit 2
}
k6=$(.ci/tool.sh go.k6.io/k6@v1.8.1)
${GO:-go} build -o bin/origin ./loadtest/origin
results=loadtest/results
export LOAD_LISTEN="${LOAD_LISTEN:-127.0.0.1:$(.ci/port.sh 18080)}" LOAD_ADMIN="${LOAD_ADMIN:-127.0.0.1:$(.ci/port.sh 19901)}" \
	LOAD_ORIGIN="${LOAD_ORIGIN:-127.0.0.1:$(.ci/port.sh 18081)}"
mkdir -p $results

pids=
stop() {
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	for p in $pids; do wait "$p" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT TERM

bin/origin -listen "$LOAD_ORIGIN" &
origin=$!
pids=$origin
bin/perigee run -c loadtest/perigee.yaml >$results/perigee.log 2>&1 &
gateway=$!
pids="$gateway $pids"
rss() { awk '/^VmRSS:/ {print $2}' /proc/$gateway/status; }

tries=0
until curl -fsS -o /dev/null http://$LOAD_ADMIN/readyz 2>/dev/null; do
	tries=$((tries + 1))
	kill -0 $gateway 2>/dev/null && kill -0 $origin 2>/dev/null || tries=1000
	if [ $tries -gt 600 ]; then
		echo "k6: perigee or its origin is not ready (are LOAD_LISTEN, LOAD_ADMIN and LOAD_ORIGIN free?); the end of its log:" >&2
		tail -n 20 $results/perigee.log >&2
		exit 1
	fi
	sleep 0.1
done

# Settings of the scenario, if they are set.
ADMIN=${ADMIN:-http://$LOAD_ADMIN}
for name in RATE DURATION STREAMS UP TOP DOWN ADMIN SLO_SCALE; do
	eval "value=\${$name:-}"
	[ -z "$value" ] || set -- "$@" -e "$name=$value"
done
scenario_name=$1
shift
before=$(rss)
status=0
"$k6" run --no-usage-report --summary-export "$results/$scenario_name.json" \
	-e TARGET="${TARGET:-http://$LOAD_LISTEN}" "$@" "$scenario" || status=$?
echo "k6: the gateway's memory was $((before / 1024)) MiB, is $(($(rss) / 1024)) MiB"
exit $status
