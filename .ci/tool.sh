#!/bin/sh
# tool.sh PACKAGE@VERSION: prints the path of a Go tool, installed on first use
# into .deps/tools/ and outside the module, so that go.mod carries no tools.
set -eu
cd "$(dirname "$0")/.."
package=${1%@*} version=${1##*@}
# A major version is no name: .../kustomize/v5 builds kustomize.
name=$(echo "$package" | sed "s,/v[0-9]*$,,; s,.*/,,")
dir=$PWD/.deps/tools/$name@$version
if [ ! -x "$dir/$name" ]; then
	echo "tool: installing $1" >&2
	# CGO_ENABLED=0: tools need no C, and their build must not see our flags.
	(cd / && GOFLAGS= GOBIN=$dir CGO_ENABLED=0 "${GO:-go}" install "$1" >&2)
fi
echo "$dir/$name"
