#!/bin/sh
# lint.sh: everything that can be said about the source without running it.
# Runs all checks before it fails, so that one run shows all there is to fix.
set -u
cd "$(dirname "$0")/.."
go=${GO:-go}
status=0
tracked() { git ls-files --cached --others --exclude-standard "$@" | while read -r f; do [ -e "$f" ] && echo "$f"; done; }
check() { # NAME COMMAND...
	name=$1
	shift
	if "$@"; then echo "lint: $name ok"; else
		echo "lint: $name FAILED" >&2
		status=1
	fi
}

formatted() {
	bad=$(tracked '*.go' | xargs gofmt -l)
	[ -z "$bad" ] || { echo "not gofmt-ed:" $bad; return 1; }
}
static() {
	tool=$(.ci/tool.sh honnef.co/go/tools/cmd/staticcheck@v0.8.2) && "$tool" -tags luajit ./...
}
lua() {
	files=$(tracked '*.lua')
	[ -z "$files" ] || luacheck --quiet $files
}
shells() {
	for f in .ci/*.sh .ci/run kustomize/scripts/ci/*.sh; do sh -n "$f" || return 1; done
}

check gofmt formatted
check vet $go vet -tags luajit ./...
check vet-without-lua env CGO_ENABLED=0 $go vet ./luavm/... # which says what is missing when it runs
check staticcheck static
check luacheck lua
check shells shells
check sizes $go run ./.ci/sizes
check sizes-test $go test ./.ci/sizes
check manifests-test $go test ./.ci/manifests
exit $status
