#!/bin/sh
# fuzz.sh PACKAGE...: runs every fuzz target of the packages for $T (15s) each.
# All targets run even if one fails; the inputs that failed are left by go test
# under the package's testdata/fuzz/.
set -u
cd "$(dirname "$0")/.."
go=${GO:-go} status=0 targets=0
for package in $($go list -tags luajit "$@"); do
	names=$($go test -tags luajit -list '^Fuzz' "$package") || { echo "$names" >&2; status=1; continue; }
	for name in $(echo "$names" | grep '^Fuzz'); do
		targets=$((targets + 1))
		echo "== $package $name"
		$go test -tags luajit -run '^$' -fuzz "^$name\$" -fuzztime "${T:-15s}" "$package" || status=1
	done
done
echo "fuzz: $targets targets, ${T:-15s} each"
exit $status
