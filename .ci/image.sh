#!/bin/sh
# image.sh NAME:TAG: builds the Dockerfile with whatever builder is here.
set -eu
cd "$(dirname "$0")/.."
for builder in docker podman buildah; do
	if command -v $builder >/dev/null; then
		exec $builder build \
			--build-arg "VERSION=${VERSION:-unknown}" \
			--build-arg "REVISION=$(git rev-parse HEAD)" \
			--build-arg "CREATED=$(git log -1 --format=%cI)" \
			-t "$1" .
	fi
done
echo "image: none of docker, podman and buildah is installed" >&2
exit 1
