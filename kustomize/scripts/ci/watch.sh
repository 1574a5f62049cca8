#!/bin/sh
# watch.sh DEPLOYMENT: succeeds if the canary's pod has served well: for SECONDS
# no restart, at least LEAST requests, and at most PERCENT of them answered 5xx.
# Too few requests prove nothing: it fails.
#
# The numbers are the pod's own, through a port of this machine, so that it needs
# neither Prometheus nor an open admin port. One pod is asked: have one replica.
set -eu
deployment=$1
: "${SECONDS_WATCHED:=300}" "${LEAST:=100}" "${PERCENT:=1}" "${PORT:=9901}"
work=$(mktemp -d)
kubectl port-forward "deployment/$deployment" "$PORT:9901" >"$work/forward" 2>&1 &
forward=$!
trap 'kill "$forward" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

scrape() { curl -fsS --max-time 10 --retry 10 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$PORT/metrics"; }
# counted FILE PATTERN: requests whose code fits the pattern.
counted() { awk -v code="code=\"$2\"" '/^perigee_requests_total\{/ && $0 ~ code { n += $NF } END { printf "%d", n }' "$1"; }
# pods: which there are, and how often they were started anew.
pods() {
	kubectl get pods -l app.kubernetes.io/name=perigee,track=canary \
		-o 'jsonpath={range .items[*]}{.metadata.name}:{.status.containerStatuses[0].restartCount} {end}'
}

pods=$(pods)
scrape >"$work/before"
sleep "$SECONDS_WATCHED"
now=$(pods)
if [ "$now" != "$pods" ]; then
	echo "watch: pods and restarts were \"$pods\" and are \"$now\"" >&2
	exit 1
fi
scrape >"$work/after"
all=$(($(counted "$work/after" '[0-9]+') - $(counted "$work/before" '[0-9]+')))
bad=$(($(counted "$work/after" '5[0-9][0-9]') - $(counted "$work/before" '5[0-9][0-9]')))
echo "watch: $deployment answered $all requests in $SECONDS_WATCHED s, $bad of them 5xx"
if [ "$all" -lt "$LEAST" ]; then
	echo "watch: fewer than $LEAST: watch for longer, or have more canaries" >&2
	exit 1
fi
if [ $((bad * 100)) -gt $((all * PERCENT)) ]; then
	echo "watch: more than $PERCENT % are 5xx" >&2
	exit 1
fi
