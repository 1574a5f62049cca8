#!/bin/sh
# apiserver.sh RENDERED...: applies manifests as a dry run to a real kube-apiserver
# (make kube-tools) with Debian's etcd, started for this and ended after it. A
# refusal fails, and so does any Warning: what Pod Security would refuse shows as one.
set -eu
cd "$(dirname "$0")/.."
kube=$PWD/.deps/kube
command -v etcd >/dev/null || { echo "apiserver: etcd is not installed (apt-get install etcd-server)" >&2; exit 1; }
work=$(mktemp -d)
pids=
stop() {
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	for p in $pids; do wait "$p" 2>/dev/null || true; done
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM
etcd_port=${ETCD_PORT:-23790} port=${APISERVER_PORT:-26443}

openssl genrsa -out "$work/sa.key" 2048 2>/dev/null
openssl rsa -in "$work/sa.key" -pubout -out "$work/sa.pub" 2>/dev/null
echo 'check,admin,admin,"system:masters"' >"$work/tokens.csv"
etcd --data-dir "$work/etcd" --listen-client-urls "http://127.0.0.1:$etcd_port" \
	--advertise-client-urls "http://127.0.0.1:$etcd_port" \
	--listen-peer-urls "http://127.0.0.1:$((etcd_port + 1))" >"$work/etcd.log" 2>&1 &
pids=$!
"$kube/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" --bind-address=127.0.0.1 \
	--secure-port="$port" --advertise-address=127.0.0.1 --endpoint-reconciler-type=none \
	--cert-dir="$work" --service-cluster-ip-range=10.96.0.0/24 \
	--service-account-key-file="$work/sa.pub" --service-account-signing-key-file="$work/sa.key" \
	--service-account-issuer=https://kubernetes.default.svc --token-auth-file="$work/tokens.csv" \
	--authorization-mode=RBAC --disable-admission-plugins=ServiceAccount >"$work/apiserver.log" 2>&1 &
pids="$! $pids"
k() {
	"$kube/kubectl" --kubeconfig=/dev/null --cache-dir="$work/cache" --server="https://127.0.0.1:$port" \
		--insecure-skip-tls-verify --token=check "$@"
}
tries=0
until [ "$(k get --raw /readyz 2>/dev/null)" = ok ]; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || { tail "$work/apiserver.log" >&2; exit 1; }
	sleep 0.2
done

# The operator's kinds, and namespaces, must be there for a dry run of what uses them.
operator=$( (cd / && "${GO:-go}" mod download -json github.com/prometheus-operator/prometheus-operator@v0.92.0) | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
for crd in servicemonitors prometheusrules; do
	k create -f "$operator/example/prometheus-operator-crd/monitoring.coreos.com_$crd.yaml" >/dev/null
done
k wait --for=condition=Established crd/servicemonitors.monitoring.coreos.com crd/prometheusrules.monitoring.coreos.com >/dev/null
status=0
for rendered; do
	name=$(basename "$rendered" .yaml)
	for ns in $(sed -n 's/^  namespace: //p' "$rendered" | sort -u); do
		k get namespace "$ns" >/dev/null 2>&1 || k create namespace "$ns" >/dev/null
		k label --overwrite namespace "$ns" pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted >/dev/null
	done
	if k apply --server-side --force-conflicts --dry-run=server -f "$rendered" >"$work/out" 2>&1 && ! grep -q '^Warning:' "$work/out"; then
		echo "apiserver: $name: $(grep -c 'serverside-applied' "$work/out") objects taken by $(k version -o json | sed -n '/serverVersion/,$s/.*"gitVersion": "\(.*\)".*/\1/p')"
	else
		cat "$work/out" >&2
		status=1
	fi
done
# The negative control: what must be refused, or warned of, is.
sed 's/runAsNonRoot: true/runAsNonRoot: false/' "$1" >"$work/root.yaml"
k apply --server-side --force-conflicts --dry-run=server -f "$work/root.yaml" 2>&1 | grep -q '^Warning:' ||
	{ echo "apiserver: a pod that runs as root was not warned of" >&2; status=1; }
exit $status
