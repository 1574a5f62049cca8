#!/bin/sh
# e2e-k8s.sh [FLAGS]: kustomize/e2e on a real control plane, in namespaces of its
# own: nothing of it is reached from outside or left over. Root, and etcd, redis,
# iproute2 from the distribution. FLAGS are go test's (-test.short: the small form,
# without a report; -test.run 'TestFleet/cpu').
# e2e-k8s.sh look: says what is missing for a run that builds no tool first; exit
# code 1.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
namespaces="unshare --net --mount --pid --fork --kill-child --mount-proc"
# need PROGRAM PACKAGE
need() { command -v "$1" >/dev/null || { echo "no $1; apt-get install $2"; return 1; }; }
able() {
	need etcd etcd-server && need redis-server redis-server && need ip iproute2 && need nsenter util-linux || return 1
	[ "$(id -u)" = 0 ] || { echo "pods have network and mount namespaces: run it as root (sudo -E make e2e-k8s)"; return 1; }
	$namespaces ip link add e2e type bridge 2>/dev/null ||
		{ echo "no namespaces with bridges here (a container without CAP_SYS_ADMIN and CAP_NET_ADMIN?)"; return 1; }
}
if [ "${1:-}" = look ]; then
	.ci/controlplane.sh look >/dev/null || { echo "no control plane has been built: make control-plane"; exit 1; }
	.ci/tool.sh look go.k6.io/k6@v1.8.1 >/dev/null || { echo "k6 has not been built: make k6"; exit 1; }
	able
	exit
fi
why=$(able) || { echo "e2e-k8s: $why" >&2; exit 1; }
report=$PWD/kustomize/e2e/report
case " $* " in *" -test.short "*) report= ;; esac
planes=$(.ci/controlplane.sh)
k6=$(.ci/tool.sh go.k6.io/k6@v1.8.1)
crds=$(.ci/crds.sh)
root=$PWD
cd kustomize/e2e
CGO_ENABLED=0 nice -n 10 "$go" test -c -trimpath -o "$root/bin/e2e-k8s.test" .
# The process namespace ends everything that the test has started.
exec $namespaces "$root/bin/e2e-k8s.test" -test.v -test.timeout 60m \
	-control-plane "$planes" -crds "$crds" -k6 "$k6" -perigee "$root/bin/perigee" \
	-report "${E2E_REPORT-$report}" -test.run "${RUN:-TestFleet}" "$@"
