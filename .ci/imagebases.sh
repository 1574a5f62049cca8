#!/bin/sh
# imagebases.sh ARCH: stand-ins for the Dockerfile's two bases, of Debian's packages
# and this machine's Go, for where no registry is reached. They show that the
# Dockerfile's steps work and its outcome runs; an image to be shipped has the real
# ones below it. As root, with buildah and debootstrap. Kept as
#   localhost/perigee-build-base:MACHINE   for golang:1.26-bookworm
#   localhost/perigee-base:ARCH            for gcr.io/distroless/base-debian12:nonroot
set -eu
cd "$(dirname "$0")/.."
arch=$1
machine=$(dpkg --print-architecture)
say() { printf 'image-bases: %s\n' "$*"; }
die() { printf 'image-bases: %s\n' "$*" >&2; exit 1; }
for tool in buildah debootstrap; do
	command -v $tool >/dev/null || die "$tool is missing: apt-get install -y buildah debootstrap"
done
. .ci/apt.sh
# The release of the Dockerfile's bases, on whatever release this is.
ID=debian VERSION_CODENAME=bookworm

work=$(mktemp -d)
container=
stop() {
	[ -z "$container" ] || buildah rm "$container" >/dev/null
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

# new IMAGE: an empty container's root as $root, unless there is such an image.
new() {
	if buildah inspect --type image "$1" >/dev/null 2>&1; then
		say "$1 is there; buildah rmi $1 has it made again"
		return 1
	fi
	container=$(buildah from scratch)
	root=$(buildah mount "$container")
}

# keep IMAGE OPTION...: the container as IMAGE.
keep() {
	image=$1
	shift
	buildah config --os linux "$@" "$container"
	buildah umount "$container" >/dev/null
	buildah commit -q --rm "$container" "$image" >/dev/null
	container=
	say "$image"
}

build_base() {
	debootstrap --variant=minbase --include=ca-certificates,make,gcc,libc6-dev \
		$VERSION_CODENAME "$root" "${DEPS_MIRROR:-http://deb.debian.org/debian}" >"$work/log" 2>&1 ||
		{ tail -n 20 "$work/log" >&2; die "debootstrap has failed"; }
	rm -rf "$root"/var/cache/apt/archives/*.deb
	cp -a "$(${GO:-go} env GOROOT)" "$root/usr/local/go"
	# What this machine trusts: a proxy may stand between it and Go's modules.
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
}

# What distroless/base is made of.
run_base() {
	packages="base-files netbase tzdata ca-certificates libc6 libssl3"
	own_apt "$work" "$arch" update || die "no package lists for $arch"
	for p in $packages; do
		own_apt "$work" "$arch" download "$p" || die "no package $p for $arch"
	done
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$root"; done
	# The package's script would do this, and is the other architecture's to run.
	cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
	echo 'root:x:0:0:root:/root:/sbin/nologin' >"$root/etc/passwd"
	echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >>"$root/etc/passwd"
	echo 'nonroot:x:65532:' >>"$root/etc/group"
	install -d -o 65532 -g 65532 -m 700 "$root/home/nonroot"
}

if new "localhost/perigee-build-base:$machine"; then
	build_base
	keep "localhost/perigee-build-base:$machine" --arch "$machine" --env GOTOOLCHAIN=local --env GOPATH=/go \
		--env PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
fi
if new "localhost/perigee-base:$arch"; then
	run_base
	keep "localhost/perigee-base:$arch" --arch "$arch" --user 65532 --env PATH=/usr/bin \
		--env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
