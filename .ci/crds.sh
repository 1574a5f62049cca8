#!/bin/sh
# crds.sh: prints the folder of the Prometheus operator's CustomResourceDefinitions,
# out of the module proxy.
set -eu
cd / && "${GO:-go}" mod download -json github.com/prometheus-operator/prometheus-operator@v0.92.0 |
	sed -n 's/^\t"Dir": "\(.*\)",$/\1\/example\/prometheus-operator-crd/p'
