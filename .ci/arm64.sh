#!/bin/sh
# arm64.sh: runs what make ARCH=arm64 has built under qemu's user mode: all tests of
# the Lua runtime and of the rate limiter, whose code is C, assembler, machine code
# made at run time and atomic operations, then bin/perigee-arm64 with the demo: does
# it serve, reload, drain and end? Prints its size and cold start.
#
# It shows that the code is right. It does not show speed, nor the order of memory
# accesses: the emulator's are those of this machine, whose order is stronger.
# Nor what looks for its own program in /proc/self/exe, which is the emulator there:
# a hand-over to a new binary. The race detector and valgrind do not run in it.
set -eu
cd "$(dirname "$0")/.."
. .ci/work.sh
say() { printf 'arm64: %s\n' "$*"; }
die() { printf 'arm64: FAILED: %s\n' "$*" >&2; [ ! -e "$work/log" ] || tail -n 20 "$work/log" >&2; exit 1; }
go=${GO:-go}
libc=/usr/aarch64-linux-gnu/lib
# The cross compiler's libc, by its loader's own option: qemu's -L hangs.
emulator="qemu-aarch64-static $libc/ld-linux-aarch64.so.1 --library-path $libc:$PWD/.deps/arm64/run"

# tests PACKAGE EMULATOR...: short ones. Not what compares lua-cjson with the
# distribution's module: that one's tables with a key of 1e15 take a core for
# minutes there, by 2^31 nulls.
tests() {
	package=$1
	shift
	begin=$(date +%s)
	$go test -tags luajit -c -ldflags '-extldflags -static-libgcc' -o "$work/$package.test" ./$package
	(cd $package && timeout -s KILL 900 "$@" "$work/$package.test" -test.short -test.skip CJSON -test.timeout 880s -test.v) >"$work/log" 2>&1 ||
		{ grep -E -B 20 '^ *--- FAIL|^panic:' "$work/log" | head -n 200 >&2; die "tests of $package"; }
	say "$package: $(grep -c '^--- PASS' "$work/log") tests passed, $(grep -c '^--- SKIP' "$work/log" || true) skipped, $(($(date +%s) - begin)) s"
}
tests luavm $emulator
# The jumps out of C functions, and the JIT compiler, are really there.
grep -q '^--- PASS: TestRunawaysEnd ' "$work/log" && grep -q '^--- PASS: TestCoreScriptsCompile ' "$work/log" ||
	die "the tests of the watchdog or of the JIT compiler have not run"
tests ratelimit qemu-aarch64-static # Go alone, without a libc

# The demo, at addresses of its own and with what takes long besides.
port=$(.ci/port.sh 18380) admin=$(.ci/port.sh 18381) origin=$(.ci/port.sh 18382)
cp -R cmd/perigee/demo/lua "$work/lua"
sed "s/:8080/:$port/; s/:9901/:$admin/; s/:9001/:$origin/" cmd/perigee/demo/demo.yaml >"$work/demo.yaml"
cat >>"$work/demo.yaml" <<'Y'
  - name: slow
    match: {paths: ["= /slow"]}
    lua: {content: 'ngx.sleep(2) ngx.say("slept")'}
  - name: machine
    match: {paths: ["= /machine"]}
    lua:
      content: |
        local ffi = require "ffi"
        ffi.cdef "int getpid(void);"
        local sum = 0
        for i = 1, 1e5 do sum = sum + i % 7 end
        ngx.say(jit.arch, " ", jit.status() and "jit" or "no jit", " ", ffi.C.getpid() > 0 and sum)
  - name: hostile
    match: {paths: ["= /hostile"]}
    lua: {content: 'ngx.say(ngx.re.match(string.rep("a", 60) .. "!", "^(a+)+$", "jo"))'}
Y
ask() { curl -fsS -m 30 "$@"; }
same() { # WANT GOT
	[ "$1" = "$2" ] || die "got \"$2\", want \"$1\""
}
begin=$(date +%s%N)
$emulator bin/perigee-arm64 demo -c "$work/demo.yaml" -origin "127.0.0.1:$origin" >"$work/log" 2>&1 &
gateway=$!
until_ok curl -fsS "http://127.0.0.1:$port/hello" || die "bin/perigee-arm64 does not serve"
cold=$(($(date +%s%N) - begin))
same "hello arm" "$(ask "http://127.0.0.1:$port/hello?name=arm")"
same "GET /any/path?x=1" "$(ask "http://127.0.0.1:$port/any/path?x=1" | head -n 1)"
same "arm64 jit 300000" "$(ask "http://127.0.0.1:$port/machine")"
same 401 "$(curl -s -m 30 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/orders/1")"
ask -H 'X-Api-Key: demo-key' "http://127.0.0.1:$port/orders/1" | grep -q '^X-Consumer: alice' || die "no consumer of an API key"
ask -D - -o /dev/null "http://127.0.0.1:$port/headers" | grep -q '^X-Served-By: perigee' || die "headers are not rewritten"
same 500 "$(curl -s -m 30 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/hostile")"
# The log is written behind the answers.
until_ok grep 'budget error in script hostile/content: .*execution time limit exceeded' "$work/log" || die "a hostile expression is not ended by its budget"
until_ok curl -fsS "http://127.0.0.1:$admin/readyz" || die "not ready"

sed -i 's/hello "/good day "/' "$work/demo.yaml"
kill -HUP $gateway
new() { ask "http://127.0.0.1:$port/hello" | grep -q 'good day world'; }
until_ok new || die "the new configuration does not serve"

ask -o "$work/slow" "http://127.0.0.1:$port/slow" &
slow=$!
running() { ask "http://127.0.0.1:$admin/metrics" | grep -q '^perigee_inflight_requests.* [1-9]'; }
until_ok running || die "no request is in flight"
kill -TERM $gateway
wait $slow || die "a request under way was cut"
same slept "$(cat "$work/slow")"
code=0
wait $gateway || code=$?
gateway=
same 0 $code
say "$(timeout -s KILL 60 $emulator bin/perigee-arm64 version | tr '\n' ',') serves the demo, ends a hostile expression, reloads, drains, ends with 0"
say "size $(($(stat -c %s bin/perigee-arm64) / 1000000)) MB, from start to the first answer $((cold / 1000000)) ms, emulated"
code=0
timeout -s KILL 60 $emulator bin/perigee-arm64 doctor >"$work/log" || code=$?
[ $code -le 1 ] && grep -q '^ok  *Lua watchdog ' "$work/log" && grep -q '^ok  *JIT memory ' "$work/log" || die "perigee doctor"
