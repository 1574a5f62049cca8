#!/bin/sh
# imagetest.sh NAME:TAG: runs the image as a cluster does (not root, no capabilities,
# read-only root file system) and checks that it serves, drains and ends. Prints
# size and cold start. With docker or podman, or with buildah and runc. An arm64 image on
# another machine runs under qemu's user mode, by runc with qemu put in front of what
# is run inside; docker and podman need the kernel's binfmt_misc for it.
set -eu
cd "$(dirname "$0")/.."
image=$1
work=$(mktemp -d)
port=${PORT:-18280} admin=$((${PORT:-18280} + 1))
name=perigee-image-test-$$
say() { printf 'image-test: %s\n' "$*"; }
die() { printf 'image-test: FAILED: %s\n' "$*" >&2; [ ! -e "$work/log" ] || tail -n 20 "$work/log" >&2; exit 1; }

machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
engine=
for e in docker podman; do $e info >/dev/null 2>&1 && engine=$e && break; done
if [ -z "$engine" ]; then
	command -v buildah >/dev/null && command -v runc >/dev/null || die "docker, podman, or buildah with runc is needed"
	engine=runc
fi
case $engine in
runc) arch=$(buildah inspect --type image --format '{{.OCIv1.Architecture}}' "$image") ;;
*) arch=$($engine image inspect --format '{{.Architecture}}' "$image") ;;
esac
emulator= # inside of the container, and its mount
if [ "$engine" = runc ] && [ "$arch" != "$machine" ]; then
	[ "$arch" = arm64 ] || die "$image is for $arch, this machine is $machine"
	qemu=$(command -v qemu-aarch64-static) || die "qemu-aarch64-static is needed: apt-get install -y qemu-user-static"
	emulator=/usr/bin/qemu-aarch64-static
fi
container=
stop() {
	case $engine in
	runc)
		runc --root "$work/runc" kill "$name" KILL 2>/dev/null || true
		runc --root "$work/runc" delete -f "$name" 2>/dev/null || true
		[ -z "$container" ] || { buildah umount "$container" && buildah rm "$container"; } >/dev/null
		;;
	*) $engine rm -f "$name" >/dev/null 2>&1 || true ;;
	esac
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

mkdir "$work/etc"
cat >"$work/etc/perigee.yaml" <<Y
listeners: [{address: "127.0.0.1:$port"}]
admin: {address: "127.0.0.1:$admin"}
limits: {body_temp: /var/tmp/perigee, body_buffer: 0}
drain: {delay: 1s, timeout: 10s}
routes:
  - name: hello
    match: {paths: ["= /hello"]}
    lua: {content: 'local ffi = require "ffi" ffi.cdef "int getpid(void);" ngx.say("hello from ", ffi.C.getpid() > 0 and jit.status() and "jit", " on ", jit.arch)'}
  - name: body
    match: {paths: ["= /body"]}
    lua: {content: 'ngx.req.read_body() ngx.say(ngx.req.get_body_file())'}
  - name: slow
    match: {paths: ["= /slow"]}
    lua: {content: 'ngx.sleep(3) ngx.say("slept")'}
  - name: write
    match: {paths: ["= /write"]}
    lua: {content: 'local f, why = io.open("/usr/written", "w") ngx.say(f and "written" or why)'}
Y
chmod -R a+rX "$work"

start_runc() {
	container=$(buildah from --pull-never --arch "$arch" "$image")
	root=$(buildah mount "$container")
	size=$(du -s --block-size=1 --apparent-size "$root" | cut -f1)
	mkdir "$work/bundle"
	mount=
	[ -z "$emulator" ] || mount=',
  {"destination": "'$emulator'", "type": "bind", "source": "'$qemu'", "options": ["bind", "ro"]}'
	cat >"$work/bundle/config.json" <<J
{"ociVersion": "1.0.2",
 "process": {"user": {"uid": 65532, "gid": 65532}, "cwd": "/", "noNewPrivileges": true,
  "args": [${emulator:+\"$emulator\", }"/usr/bin/perigee", "run", "-c", "/etc/perigee/perigee.yaml"], "env": ["PATH=/usr/bin"],
  "capabilities": {"bounding": [], "effective": [], "permitted": [], "ambient": []}},
 "root": {"path": "$root", "readonly": true},
 "mounts": [
  {"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
  {"destination": "/var/tmp/perigee", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]},
  {"destination": "/etc/perigee", "type": "bind", "source": "$work/etc", "options": ["rbind", "ro"]}$mount],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}}
J
	begin=$(date +%s%N)
	(cd "$work/bundle" && timeout -s KILL 180 runc --root "$work/runc" run "$name" >"$work/log" 2>&1; echo $? >"$work/exit") &
}

start_engine() {
	size=$($engine image inspect --format '{{.Size}}' "$image")
	begin=$(date +%s%N)
	$engine run --name "$name" --platform "linux/$arch" --network host --read-only --user 65532:65532 --cap-drop ALL \
		--security-opt no-new-privileges --tmpfs /var/tmp/perigee:mode=1777 \
		-v "$work/etc:/etc/perigee:ro" "$image" >"$work/log" 2>&1 &
	engine_pid=$!
}

case $engine in runc) start_runc ;; *) start_engine ;; esac
tries=0
until curl -fsS -o "$work/hello" "http://127.0.0.1:$port/hello" 2>/dev/null; do
	tries=$((tries + 1))
	[ $tries -lt 3000 ] || die "no answer after 30 s"
	sleep 0.01
done
cold=$(($(date +%s%N) - begin))
[ "$(cat "$work/hello")" = "hello from jit on $(echo "$arch" | sed s/amd64/x64/)" ] || die "ffi.C or the JIT is missing: $(cat "$work/hello")"
[ "$(curl -fsS -d body "http://127.0.0.1:$port/body" | cut -c1-17)" = /var/tmp/perigee/ ] || die "a body has no file to go to"
case $(curl -fsS "http://127.0.0.1:$port/write") in
*"Read-only file system"* | *"Permission denied"*) ;;
*) die "the root file system can be written to" ;;
esac

inside() { # COMMAND...: in the container
	case $engine in runc) timeout -s KILL 60 runc --root "$work/runc" exec "$name" $emulator "$@" ;; *) $engine exec "$name" "$@" ;; esac
}
pid() { case $engine in runc) runc --root "$work/runc" state "$name" | sed -n 's/.*"pid": \([0-9]*\),/\1/p' ;; *) $engine inspect --format '{{.State.Pid}}' "$name" ;; esac; }
p=$(pid)
[ "$(awk '/^Uid:/ {print $2}' "/proc/$p/status")" = 65532 ] || die "runs as user $(awk '/^Uid:/ {print $2}' "/proc/$p/status")"
[ "$(awk '/^CapEff:/ {print $2}' "/proc/$p/status")" = 0000000000000000 ] || die "has capabilities"
awk '$5 == "/" {print $6}' "/proc/$p/mountinfo" | grep -q '^ro' || die "the root file system is mounted for writing"
inside /usr/bin/perigee healthcheck "http://127.0.0.1:$admin/readyz" >/dev/null || die "perigee healthcheck says unhealthy"
version=$(inside /usr/bin/perigee version | tr '\n' ',')
[ -n "$version" ] || die "perigee version says nothing"
! inside /usr/bin/perigee healthcheck "http://127.0.0.1:$admin/missing" >/dev/null 2>&1 || die "perigee healthcheck is happy with a 404"

# A request that is under way when the container is told to end.
curl -sS -o "$work/slow" "http://127.0.0.1:$port/slow" &
slow=$!
sleep 1
case $engine in runc) runc --root "$work/runc" kill "$name" TERM ;; *) $engine kill -s TERM "$name" >/dev/null ;; esac
sleep 0.3
! inside /usr/bin/perigee healthcheck "http://127.0.0.1:$admin/readyz" >/dev/null 2>&1 || die "ready while draining"
wait $slow || die "a request under way was cut"
[ "$(cat "$work/slow")" = slept ] || die "a request under way was answered $(cat "$work/slow")"
tries=0
case $engine in
runc)
	until [ -e "$work/exit" ]; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || die "does not end"
		sleep 0.1
	done
	code=$(cat "$work/exit")
	;;
*) code=0; wait $engine_pid || code=$? ;;
esac
[ "$code" = 0 ] || die "ended with exit code $code"
say "$version"
say "$image ($arch) with $engine${emulator:+ under qemu}: not root, no capabilities, read-only; serves, drains, ends with 0"
say "size $((size / 1000000)) MB, from start to the first answer $((cold / 1000000)) ms${emulator:+, emulated}"
