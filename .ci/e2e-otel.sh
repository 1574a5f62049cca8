#!/bin/sh
# e2e-otel.sh [FLAGS]: the tests that need a real OpenTelemetry Collector, which is
# built once from .ci/otelcol into .deps/. FLAGS are go test's.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
collector=$PWD/.deps/tools/otelcol/otelcol
if [ ! -x "$collector" ] || [ .ci/otelcol/go.sum -nt "$collector" ] || [ .ci/otelcol/main.go -nt "$collector" ]; then
	echo "e2e-otel: building the collector" >&2
	(cd .ci/otelcol && CGO_ENABLED=0 nice -n 10 "$go" build -trimpath -o "$collector" .)
fi
OTELCOL=$collector "$go" test -tags luajit -count=1 -v -run TestCollector "$@" ./cmd/perigee
