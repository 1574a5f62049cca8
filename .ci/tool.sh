#!/bin/sh
# tool.sh [look] PACKAGE@VERSION: prints the path of a Go tool, built on first use
# from the module proxy, so that go.mod carries no tools. They are kept outside of
# the clone, under the user's cache (XDG_CACHE_HOME), by version and compiler.
# "look" never builds: exit code 1 when the tool is missing.
set -eu
look=
if [ "$1" = look ]; then look=1; shift; fi
go=${GO:-go}
package=${1%@*} version=${1##*@}
# A major version is no name: .../kustomize/v5 builds kustomize.
name=$(echo "$package" | sed "s,/v[0-9]*$,,; s,.*/,,")
tools=${XDG_CACHE_HOME:-$HOME/.cache}/perigee/tools
dir=$tools/$name@$version-$(cd / && GOFLAGS= GOARCH= "$go" env GOVERSION)
if [ ! -x "$dir/$name" ]; then
	[ -z "$look" ] || exit 1
	echo "tool: building $1 into $dir" >&2
	mkdir -p "$tools"
	new=$(mktemp -d "$tools/.new.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	# CGO_ENABLED=0: tools need no C, and their build must not see our flags.
	(cd / && GOFLAGS= GOARCH= GOBIN=$new CGO_ENABLED=0 "$go" install "$1" >&2)
	# Another clone may have been as quick: the same file in one's place.
	mkdir -p "$dir"
	mv "$new/$name" "$dir/$name"
fi
echo "$dir/$name"
