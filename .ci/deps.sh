#!/bin/sh
# deps.sh [build|test|arm64]: Debian packages, LuaJIT and lua-cjson, everything that
# Go's module cache does not carry. Idempotent: a second run only looks.
#
# build (default): compiler, libraries, and under .deps/ (ignored by git)
#   luajit/include/*.h
#   luajit/lib/libluajit-5.1.a
#   luajit/build.txt             "hardened VERSION" or "stock VERSION"
#   cjson/build.txt              "quick VERSION" or "stock VERSION"
#   lib/liblua5.1-cjson.a
#   lib/libluajit-5.1.a lib/libpcre2-8-text.a   their code in sections luajit_text
#                                and pcre2_text (luavm/shim/ranges.c); with no .so
#                                beside them, -L picks them
# test: also what the tests talk to (nginx with Lua, Redis, wrk, ...).
# arm64: as build, but by a cross compiler and under .deps/arm64/, beside what is
# there for this machine; and qemu, in whose user mode the outcome runs, with
#   run/libcrypto.so.3 run/libssl.so.3   what the tests load
#
# DEPS_LUAJIT=stock    take the distribution's archive, do not build
# DEPS_CJSON=stock     likewise
# DEPS_QEMU=no         arm64 without qemu
# DEPS_MIRROR=URL      mirror for the source packages
set -eu
cd "$(dirname "$0")/.."
root=$PWD
want=${1:-build}
deps=$root/.deps
say() { printf 'deps: %s\n' "$*"; }
warn() { printf 'deps: warning: %s\n' "$*" >&2; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

cross=
case $want in
build | test) ;;
arm64) cross=aarch64-linux-gnu- deps=$deps/arm64 ;;
*) die "unknown set \"$want\": build, test or arm64" ;;
esac
# The target's: this machine's, or a cross compiler.
gcc() { command "${cross}gcc" "$@"; }
ar() { command "${cross}ar" "$@"; }
objcopy() { command "${cross}objcopy" "$@"; }
command -v dpkg-query >/dev/null ||
	die "this script knows Debian and Ubuntu only; see .ci/deps.sh for what to put into .deps/ elsewhere"

# shellcheck disable=SC1091
. /etc/os-release
. .ci/apt.sh
release=$ID-${VERSION_CODENAME:-unknown}
# pinned NAME: reads this release's row of .ci/NAME/releases.
pinned() {
	row() { awk -v r="$release" -v n="$2" '$1 == r { print $n }' ".ci/$1/releases"; }
	source=$(row "$1" 2) version=$(row "$1" 3) digest=$(row "$1" 4) dev=$(row "$1" 5)
}
pinned luajit
dev=${dev:-libluajit2-5.1-dev}

# ---- packages ----------------------------------------------------------------

missing() {
	for p; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s ' "$p"
	done
}

# Installing nginx or Redis starts and enables them on a machine with systemd;
# the tests start their own, on their own ports.
without_services() {
	policy=/usr/sbin/policy-rc.d
	if [ -e $policy ]; then "$@"; return; fi
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
	trap '$sudo rm -f '$policy EXIT
	"$@"
	$sudo rm -f $policy
	trap - EXIT
	if [ -d /run/systemd/system ]; then
		for s in nginx redis-server prometheus etcd; do
			case " $need " in *" $s "*) $sudo systemctl disable -q --now $s || true ;; esac
		done
	fi
}

install_packages() {
	need=$(missing "$@")
	[ -n "$need" ] || return 0
	sudo=
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "packages are missing and there is no sudo; as root run:
    apt-get update && apt-get install -y --no-install-recommends $need"
		sudo=sudo
	fi
	say "installing $need"
	$sudo apt-get update -qq || warn "apt-get update failed; trying with the lists that are there"
	# shellcheck disable=SC2086
	without_services $sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends $need >/dev/null ||
		die "apt-get could not install: $need"
}

packages="gcc libc6-dev make patch xz-utils $dev lua-cjson-dev libpcre2-dev"
if [ "$want" = test ]; then
	packages="$packages lua-check nginx libnginx-mod-http-lua lua-cjson redis-server prometheus wrk curl openssl valgrind strace"
	# libraries that the tests run unmodified
	packages="$packages lua-resty-lrucache lua-nginx-string lua-nginx-cookie libssl3
	memcached lua-nginx-redis lua-nginx-memcached lua-nginx-dns lua-nginx-websocket"
	# what a control plane, where one has been built, wants beside it
	if .ci/controlplane.sh look >/dev/null; then packages="$packages etcd-server iproute2 util-linux"; fi
fi
if [ -n "$cross" ]; then
	[ "$(dpkg --print-architecture)" != arm64 ] || die "this machine is arm64 itself: use build"
	packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
	[ "${DEPS_QEMU:-}" = no ] || packages="$packages qemu-user-static"
	# LuaJIT's makefile: what it compiles for itself to run must run here.
	export MAKEFLAGS="CC=${cross}gcc TARGET_AR=${cross}ar\ rcus TARGET_STRIP=${cross}strip HOST_CC=gcc"
fi
# shellcheck disable=SC2086
install_packages $packages

# ---- LuaJIT ------------------------------------------------------------------

triplet=$(gcc -print-multiarch)
[ -n "$triplet" ] || triplet=$(gcc -dumpmachine)
headers="lua.h lauxlib.h lualib.h luaconf.h luajit.h lua.hpp"

# What decides the outcome; when it is the same as last time, nothing is done.
# The archive itself is not in it: a folder copied to another machine stays.
recipe=$({
	echo "$release $source $version $digest ${DEPS_LUAJIT:-hardened} $(gcc -dumpfullversion) $triplet"
	sed -n '/^build_hardened/,/^}/p; /^copy_stock/,/^}/p' .ci/deps.sh
	cat .ci/luajit/*.patch
} | sha256sum | cut -d' ' -f1)

# fetch_source DIR: the pinned tarball.
fetch_source() {
	own_apt "$1" deb-src update && own_apt "$1" deb-src source --download-only --tar-only "$source=$version"
}

# fetch DIR PACKAGE FILE...: libraries of a package, for arm64, in DIR.
fetch() {
	dir=$1 package=$2
	shift 2
	own_apt "$dir" arm64 update && own_apt "$dir" arm64 download "$package:arm64" &&
		dpkg-deb -x "$dir/$package"_*.deb "$dir/root" || die "no $package for arm64"
	for file; do cp "$dir/root/usr/lib/aarch64-linux-gnu/$file" "$dir/"; done
}

# unpack NAME DIR: the pinned source with the patches of .ci/NAME in DIR/src. A
# patch that says 'Unless: lj_err.c has "TEXT"' is left out where that is so.
unpack() {
	fetch_source "$2" || { warn "no source package $source $version"; return 1; }
	tarball=$(find "$2" -maxdepth 1 -name '*.orig.tar.*')
	got=$(sha256sum "$tarball" | cut -d' ' -f1)
	[ "$got" = "$digest" ] ||
		die "$(basename "$tarball"): sha256 is $got, .ci/$1/releases says $digest"
	mkdir "$2/src" && tar -C "$2/src" --strip-components=1 -xf "$tarball" || return 1
	for p in ".ci/$1"/*.patch; do
		there=$(sed -n 's/^Unless: lj_err.c has "\(.*\)"$/\1/p' "$p")
		[ -z "$there" ] || ! grep -qF "$there" "$2/src/src/lj_err.c" || continue
		patch -s -d "$2/src" -p1 <"$p" || { warn "$p does not apply to $version"; return 1; }
	done
}

# build_hardened DIR OUT (called where set -e is off): a count hook ends compiled loops too (CHECKHOOK),
# patterns and plain search are tamed by the patches. PREFIX and MULTILIB are
# those of the distribution's package, so that package.path is the same, and so
# is amalg: all of it as one file, which makes the C API a tenth faster.
build_hardened() {
	unpack luajit "$1" || return 1
	make -C "$1/src/src" -s -j2 amalg BUILDMODE=static STATIC_CC='$(CC) -fPIC' \
		XCFLAGS=-DLUAJIT_ENABLE_CHECKHOOK PREFIX=/usr MULTILIB="lib/$triplet" >"$1/make.log" 2>&1 ||
		{ tail -n 20 "$1/make.log" >&2; warn "LuaJIT $version does not build"; return 1; }
	mkdir -p "$2/include" "$2/lib" &&
		(cd "$1/src/src" && cp $headers "$2/include/") &&
		cp "$1/src/src/libluajit.a" "$2/lib/libluajit-5.1.a" &&
		echo "hardened $version" >"$2/build.txt"
}

copy_stock() {
	dir=$(dirname "$(dpkg-query -L "$dev" | grep '/luajit\.h$')")
	grep -q lua_resetthread "$dir/lua.h" ||
		die "$dev is not OpenResty's LuaJIT (no lua_resetthread in $dir/lua.h); perigee needs that fork.
    On this release build it elsewhere and put it into .deps/luajit, see the top of .ci/deps.sh"
	mkdir -p "$1/include" "$1/lib"
	(cd "$dir" && cp $headers "$1/include/")
	cp "$(dpkg-query -L "$dev" | grep '/libluajit-5\.1\.a$')" "$1/lib/"
	echo "stock $(dpkg-query -W -f '${Version}' "$dev")" >"$1/build.txt"
}

no_stock() { die "for arm64 there is what is built from source alone"; }

# prepare NAME TITLE BUILT STOCK: fills .deps/NAME by the function BUILT from
# the pinned source, or by STOCK; $mode is "stock" where that is wanted, $loss
# says what is lost by it.
prepare() {
	out=$deps/$1
	if [ "$(cat "$out/recipe" 2>/dev/null)" = "$recipe" ]; then
		# A fallback stays, so that machines without the mirror do not try each time.
		if [ -n "$source" ] && [ "$mode" != stock ] && grep -q '^stock' "$out/build.txt"; then
			say "$2 is the stock one; rm -rf .deps/$1 tries our build again"
		fi
		return 0
	fi
	mkdir -p "$deps"
	work=$(mktemp -d "$deps/$1.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	new=$work/out
	mkdir "$new"
	# The distribution's libraries are for this machine.
	[ -z "$cross" ] || set -- "$1" "$2" "$3" no_stock
	if [ "$mode" = stock ]; then
		$4 "$new"
	elif [ -z "$source" ]; then
		warn "no pinned $2 source for $release (.ci/$1/releases): using the stock one"
		$4 "$new"
	else
		say "building $2 $version"
		if ! $3 "$work" "$new"; then
			warn "using the stock $2: $loss"
			rm -rf "$new"
			mkdir "$new"
			$4 "$new"
		fi
	fi
	echo "$recipe" >"$new/recipe"
	rm -rf "$out"
	mv "$new" "$out"
	rm -rf "$work"
	trap - EXIT
	say "$2: $(cat "$out/build.txt")"
}

mode=${DEPS_LUAJIT:-hardened}
loss="runaway compiled loops cost a VM each instead of ending as Lua errors"
prepare luajit LuaJIT build_hardened copy_stock

# ---- lua-cjson ---------------------------------------------------------------

# build_cjson DIR OUT (called where set -e is off): the patches are for speed
# alone. Its symbols stay inside of the program: the distribution's cjson.so,
# should a script load it, then keeps to its own.
build_cjson() {
	unpack cjson "$1" || return 1
	(cd "$1/src" && gcc -O2 -fPIC -DNDEBUG -fvisibility=hidden -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
		-I"$deps/luajit/include" -c lua_cjson.c strbuf.c fpconv.c) >"$1/gcc.log" 2>&1 ||
		{ tail -n 20 "$1/gcc.log" >&2; warn "lua-cjson $version does not build"; return 1; }
	ar rcs "$2/liblua5.1-cjson.a" "$1/src/lua_cjson.o" "$1/src/strbuf.o" "$1/src/fpconv.o" &&
		echo "quick $version" >"$2/build.txt"
}

stock_cjson() {
	cp "$(dpkg-query -L lua-cjson-dev | grep '/liblua5\.1-cjson\.a$')" "$1/"
	echo "stock $(dpkg-query -W -f '${Version}' lua-cjson-dev)" >"$1/build.txt"
}

pinned cjson
mode=${DEPS_CJSON:-quick}
loss="JSON costs twice as much"
recipe=$({
	echo "$release $source $version $digest $mode $(gcc -dumpfullversion) $triplet"
	sed -n '/^build_cjson/,/^}/p; /^stock_cjson/,/^}/p' .ci/deps.sh
	cat .ci/cjson/*.patch
} | sha256sum | cut -d' ' -f1)
prepare cjson lua-cjson build_cjson stock_cjson

# ---- lib ---------------------------------------------------------------------

# put FILE: a static library without its .so beside it.
put() {
	mkdir -p "$deps/lib"
	to=$deps/lib/$(basename "$1")
	cmp -s "$1" "$to" || { cp "$1" "$to.new" && mv "$to.new" "$to"; }
}

# put_text SECTION FILE NAME: likewise, with its code in a section of that name, to
# whose ends the linker gives names of their own.
put_text() {
	objcopy --enable-deterministic-archives --rename-section ".text=$1" "$2" "$work/$3"
	put "$work/$3"
}

put "$deps/cjson/liblua5.1-cjson.a"
work=$(mktemp -d "$deps/lib.XXXXXX")
trap 'rm -rf "$work"' EXIT
put_text luajit_text "$deps/luajit/lib/libluajit-5.1.a" libluajit-5.1.a
if [ -z "$cross" ]; then
	pcre2=$(dpkg-query -L libpcre2-dev | grep '/libpcre2-8\.a$' | head -n 1)
	[ -n "$pcre2" ] || die "libpcre2-dev carries no libpcre2-8.a"
	put_text pcre2_text "$pcre2" libpcre2-8-text.a
elif [ ! -e "$deps/lib/libpcre2-8-text.a" ]; then
	fetch "$work" libpcre2-dev libpcre2-8.a
	put_text pcre2_text "$work/libpcre2-8.a" libpcre2-8-text.a
fi
if [ -n "$cross" ] && [ "${DEPS_QEMU:-}" != no ] && [ ! -e "$deps/run" ]; then
	fetch "$work" libssl3 libcrypto.so.3 libssl.so.3
	mkdir "$work/run"
	mv "$work/libcrypto.so.3" "$work/libssl.so.3" "$work/run/"
	mv "$work/run" "$deps/run"
fi
