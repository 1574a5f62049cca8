#!/bin/sh
# e2e-k8s.sh [FLAGS]: kustomize/e2e on a real control plane, in namespaces of its
# own: nothing of it is reached from outside or left over. Root, and etcd, redis,
# iproute2 from the distribution. FLAGS are go test's (-test.short: the small form;
# -test.run 'TestFleet/cpu').
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
need() { command -v "$1" >/dev/null || { echo "e2e-k8s: no $1; apt-get install $2" >&2; exit 1; }; }
need etcd etcd-server
need redis-server redis-server
need ip iproute2
need nsenter util-linux
[ "$(id -u)" = 0 ] || { echo "e2e-k8s: pods have network and mount namespaces: run it as root (sudo -E make e2e-k8s)" >&2; exit 1; }
planes=$(.ci/controlplane.sh)
k6=$(.ci/tool.sh go.k6.io/k6@v1.8.1)
crds=$(.ci/crds.sh)
root=$PWD
cd kustomize/e2e
CGO_ENABLED=0 nice -n 10 "$go" test -c -trimpath -o "$root/bin/e2e-k8s.test" .
# The process namespace ends everything that the test has started.
exec unshare --net --mount --pid --fork --kill-child --mount-proc "$root/bin/e2e-k8s.test" -test.v -test.timeout 40m \
	-control-plane "$planes" -crds "$crds" -k6 "$k6" -perigee "$root/bin/perigee" \
	-report "${E2E_REPORT:-$root/kustomize/e2e/report}" -test.run "${RUN:-TestFleet}" "$@"
