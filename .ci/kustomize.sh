#!/bin/sh
# kustomize.sh [-update]: renders every overlay of kustomize/ and checks what comes
# out. -update writes the golden files anew.
#
#   render      kustomize, from the module proxy; equal to kustomize/testdata/rendered
#   schemas     kubeconform, strict: Kubernetes' own swagger.json and the Prometheus
#               operator's CRDs, both out of the module proxy
#   policies    .ci/manifests: what a schema cannot say, and names of metrics
#   gateway     `perigee check` of each configuration as its container sees it
#   alerts      promtool: rules, and their tests in kustomize/testdata
#   API server  a real one's dry run of every overlay (kustomize/e2e), where it has
#               been built (make control-plane) and there is an etcd; the last line
#               says whether this was done
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' kustomize/e2e/go.mod)
crds=$(.ci/crds.sh)
overlays="dev staging production canary loadtest"
golden=kustomize/testdata/rendered
. .ci/work.sh
status=0
say() { printf 'kustomize: %s\n' "$*"; }
bad() { say "$* FAILED" >&2; status=1; }

module() { (cd / && "$go" mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

kustomize=$(.ci/tool.sh sigs.k8s.io/kustomize/kustomize/v5@v5.8.1)
mkdir -p "$work/rendered" $golden
for o in $overlays scripts-stable scripts-canary; do
	from=kustomize/overlays/$o
	case $o in scripts-*) # as in a repository of its own, which has ours checked out
		[ -d "$work/scripts" ] || { cp -R kustomize/scripts "$work/scripts" && ln -s "$PWD" "$work/scripts/gateway"; }
		from=$work/scripts/deploy/${o#scripts-}
		;;
	esac
	"$kustomize" build "$from" >"$work/rendered/$o.yaml"
	[ "${1:-}" = -update ] && cp "$work/rendered/$o.yaml" $golden/
	diff -u $golden/$o.yaml "$work/rendered/$o.yaml" || bad "golden file of $o (make kustomize-update, and look at the difference)"
done
[ $status != 0 ] || say "$(echo $overlays | wc -w) overlays, and the tracks of kustomize/scripts, are as their golden files"

"$go" build -o "$work/manifests" ./.ci/manifests
"$work/manifests" schemas "$(module k8s.io/kubernetes@$kubernetes)/api/openapi-spec/swagger.json" \
	"$crds" "$work/schemas"
"$(.ci/tool.sh github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0)" -strict -summary \
	-schema-location "$work/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$work"/rendered/*.yaml || bad schemas

# What the real binary says of itself.
port=$(.ci/port.sh 19907)
cat >"$work/perigee.yaml" <<Y
listeners: [{address: "unix:$work/s"}]
admin: {address: "127.0.0.1:$port"}
access_log: {format: "off"}
routes: [{name: r, respond: {body: ""}}]
Y
bin/perigee run -c "$work/perigee.yaml" 2>"$work/perigee.log" &
gateway=$!
tries=0
until bin/perigee healthcheck "http://127.0.0.1:$port/readyz" >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || { cat "$work/perigee.log" >&2; exit 1; }
	sleep 0.1
done
curl -fsS "http://127.0.0.1:$port/metrics" >"$work/metrics"
mkdir "$work/unpacked"
if "$work/manifests" lint -metrics "$work/metrics" -runbook kustomize/RUNBOOK.md -out "$work/unpacked" "$work"/rendered/*.yaml; then
	say "policies hold, and $(grep -c '^# TYPE perigee_' "$work/metrics") metrics cover what alerts, dashboard and autoscalers ask for"
else bad policies; fi

for dir in "$work"/unpacked/*/*/; do
	mkdir -p "$dir/tls"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=check \
		-keyout "$dir/tls/tls.key" -out "$dir/tls/tls.crt" 2>/dev/null
	bin/perigee check -c "$dir/perigee.yaml" >/dev/null || bad "perigee check of ${dir#"$work/unpacked/"}"
done

if command -v promtool >/dev/null; then
	for rules in "$work"/unpacked/*.rules.yaml; do
		promtool check rules "$rules" >/dev/null || bad "promtool check rules"
		cp "$rules" "$work/rules.yaml"
	done
	cp kustomize/testdata/rules_test.yaml "$work/"
	(cd "$work" && promtool test rules rules_test.yaml >test.txt) || { cat "$work/test.txt"; bad "promtool test rules"; }
	say "alerts pass promtool"
else bad "promtool is not installed (apt-get install prometheus);"; fi

if planes=$(.ci/controlplane.sh look) && command -v etcd >/dev/null; then
	if (cd kustomize/e2e && CGO_ENABLED=0 "$go" test -trimpath -count=1 -run TestOverlays -v . -args -control-plane "$planes" -crds "$crds") >"$work/overlays.txt" 2>&1; then
		say "a real API server took every overlay without a warning (dry run), has behavior.scaleDown.tolerance, and refuses planted mistakes:"
		sed -n 's/^ *overlays_test.go:[0-9]*: /kustomize:   /p' "$work/overlays.txt"
	else
		cat "$work/overlays.txt" >&2
		bad "the API server's dry run"
	fi
else
	say "NOT checked by an API server (make control-plane builds it, make deps-test then installs etcd): what only one refuses (ranges, enumerations, Pod Security) may be wrong"
fi
exit $status
