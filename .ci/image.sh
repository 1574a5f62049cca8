#!/bin/sh
# image.sh NAME:TAG: builds the Dockerfile with whatever builder is here, for ARCH
# (amd64, arm64; unset: this machine's). BASES=standin takes what imagebases.sh has
# made. IMAGE_FLAGS are given to the builder: --isolation chroot, --network host, ...
set -eu
cd "$(dirname "$0")/.."
# without BASE...: why a build may have failed that has not even begun.
without() {
	for base; do
		case $builder in
		buildah) buildah inspect --type image "$base" ;;
		*) $builder image inspect "$base" ;;
		esac >/dev/null 2>&1 && continue
		echo "image: $base is not here, and its registry did not give it. From a mirror:
    make image IMAGE_FLAGS='--build-arg BUILD_BASE=MIRROR/golang:1.26-bookworm --build-arg BASE=MIRROR/distroless/base-debian12:nonroot'
With no registry at all, on stand-ins made of Debian's packages, for tests and not for shipping:
    make image-bases && make image BASES=standin" >&2
		return
	done
}

machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
for builder in docker podman buildah; do
	# Docker's command without its daemon is no builder.
	$builder info >/dev/null 2>&1 || continue
	set -- -t "$1" --build-arg "VERSION=${VERSION:-unknown}" \
		--build-arg "REVISION=$(git rev-parse HEAD)" \
		--build-arg "CREATED=$(git log -1 --format=%cI)" ${IMAGE_FLAGS:-} .
	# Podman and buildah do not fill in the builder's own platform.
	set -- --platform "linux/${ARCH:-$machine}" --build-arg "BUILDPLATFORM=linux/$machine" "$@"
	case ${BASES:-} in
	'') ;;
	standin)
		[ $builder = docker ] || set -- --pull=never "$@"
		set -- --build-arg "BUILD_BASE=localhost/perigee-build-base:$machine" \
			--build-arg "BASE=localhost/perigee-base:${ARCH:-$machine}" "$@"
		;;
	*) echo "image: BASES=$BASES: standin, or nothing for the registry's" >&2; exit 2 ;;
	esac
	# HEALTHCHECK is a word of Docker's format alone.
	[ $builder = docker ] || set -- --format docker "$@"
	code=0
	$builder build "$@" || code=$?
	# Bases that the caller has named are the caller's to find.
	case "$code ${BASES:-} ${IMAGE_FLAGS:-}" in "0 "* | *standin* | *BASE=*) exit $code ;; esac
	without $(sed -n 's/^ARG \(BUILD_\)\{0,1\}BASE=//p' Dockerfile)
	exit $code
done
echo "image: none of docker, podman and buildah works here" >&2
exit 1
