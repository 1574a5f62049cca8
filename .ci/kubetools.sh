#!/bin/sh
# kubetools.sh: builds kube-apiserver and kubectl from the Go module proxy into
# .deps/kube/, in a module of their own. About ten minutes of CPU and 3 GiB of
# memory; the result is kept.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go} version=v1.37.2 library=v0.37.2
out=$PWD/.deps/kube
[ ! -x "$out/kube-apiserver" ] || [ ! -x "$out/kubectl" ] || exit 0
source=$( (cd / && "$go" mod download -json k8s.io/kubernetes@$version) | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
{
	printf 'module kube\n\ngo 1.26.0\n\ngodebug default=go1.26\n\nrequire k8s.io/kubernetes %s\n\n' $version
	printf 'tool (\n\tk8s.io/kubernetes/cmd/kube-apiserver\n\tk8s.io/kubernetes/cmd/kubectl\n)\n\n'
	# The libraries lie beside each other in Kubernetes' own repository.
	sed -n "s|^[[:space:]]*\(k8s.io/[a-z-]*\) => ./staging.*|replace \1 => \1 $library|p" "$source/go.mod"
} >go.mod
"$go" mod tidy -e
mkdir -p "$out"
for name in kube-apiserver kubectl; do
	CGO_ENABLED=0 "$go" build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37" \
		-o "$out/$name" k8s.io/kubernetes/cmd/$name
done
