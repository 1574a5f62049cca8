#!/bin/sh
# controlplane.sh [look]: prints the directory that holds a control plane without etcd,
# kube-apiserver, kube-controller-manager, kube-scheduler and kubectl, and builds
# those that are missing from kustomize/e2e/go.mod: six to twelve minutes and
# 2.5 GB of memory, once. They are kept outside the repository, under the user's
# cache (XDG_CACHE_HOME), by the version of Kubernetes. "look" never builds: exit
# code 1 when one is missing.
#
# CONTROL_PLANE_P=N   packages compiled at once (default 1: a machine in use)
set -eu
cd "$(dirname "$0")/../kustomize/e2e"
go=${GO:-go}
version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' go.mod)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/perigee/k8s-$version
minor=${version#v*.}
symbols=k8s.io/component-base/version
for name in kube-apiserver kube-controller-manager kube-scheduler kubectl; do
	[ ! -x "$dir/$name" ] || continue
	if [ "${1:-}" = look ]; then exit 1; fi
	echo "controlplane: building $name $version into $dir" >&2
	mkdir -p "$dir"
	# What the API server says of its version decides what kubectl and clients ask of it.
	GOFLAGS= CGO_ENABLED=0 nice -n 19 "$go" build -p "${CONTROL_PLANE_P:-1}" -trimpath -ldflags "-s -w
		-X $symbols.gitVersion=$version -X $symbols.gitMajor=1 -X $symbols.gitMinor=${minor%%.*}" \
		-o "$dir/$name.new" "k8s.io/kubernetes/cmd/$name" >&2
	mv "$dir/$name.new" "$dir/$name"
done
echo "$dir"
