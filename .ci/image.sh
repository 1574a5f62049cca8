#!/bin/sh
# image.sh NAME:TAG: builds the Dockerfile with whatever builder is here.
# IMAGE_FLAGS are given to it: --platform linux/arm64, --pull=never, ...
set -eu
cd "$(dirname "$0")/.."
for builder in docker podman buildah; do
	# Docker's command without its daemon is no builder.
	$builder info >/dev/null 2>&1 || continue
	set -- -t "$1" --build-arg "VERSION=${VERSION:-unknown}" \
		--build-arg "REVISION=$(git rev-parse HEAD)" \
		--build-arg "CREATED=$(git log -1 --format=%cI)" ${IMAGE_FLAGS:-} .
	# HEALTHCHECK is a word of Docker's format alone.
	[ $builder = docker ] || set -- --format docker "$@"
	exec $builder build "$@"
done
echo "image: none of docker, podman and buildah works here" >&2
exit 1
