#!/bin/sh
# arm64.sh: runs what make ARCH=arm64 has built under qemu's user mode: the tests
# of the Lua runtime that show machine code of arm64 (JIT, FFI, hooks that end
# loops, sockets, timers), then bin/perigee-arm64 itself. Prints its size and cold
# start. It shows that the code is right, neither its speed nor the order of its
# memory accesses on real cores.
set -eu
cd "$(dirname "$0")/.."
say() { printf 'arm64: %s\n' "$*"; }
die() { printf 'arm64: FAILED: %s\n' "$*" >&2; [ ! -e "$work/log" ] || tail -n 20 "$work/log" >&2; exit 1; }
go=${GO:-go}
libc=/usr/aarch64-linux-gnu/lib
# The cross compiler's libc, by its loader's own option: qemu's -L hangs.
emulated() { # SECONDS PROGRAM ARGUMENT...
	seconds=$1
	shift
	timeout -s KILL "$seconds" qemu-aarch64-static $libc/ld-linux-aarch64.so.1 --library-path $libc "$@"
}
# VM and phases, JIT (no abort, all compiled), FFI, watchdog, waits, cosockets. Not
# TestRunawaysEnd: the jumps that end a C function or a match are amd64's alone
# (perigee version: "no jumps"); on arm64 lua.regex.match_limit ends a match.
tests='TestModules|TestWaits|TestContextsAreApart|TestCoroutines|TestThreads|TestTimers|TestSemaphores'
tests="$tests|TestCoreScriptsCompile|TestSnippetsCompile|TestHotScriptsAreCompiled|TestDataFunctionsAreCompiled|TestRegexCompiles"
tests="$tests|TestSymbolsOverFFI|TestRestyCore|TestLinkedLibraries|TestSlotVariables|TestHeadersAgainstModel|TestRegex"
tests="$tests|TestRunawayOnADict|TestBudgetPosition|TestMemoryLimit|TestSandboxHoldsNothingElse"
tests="$tests|TestPools|TestSocketReads|TestSocketSends|TestSocketDuplex|TestDictAgainstModel|TestLimitInCIsTheOneInGo|TestEscapes"

work=$(mktemp -d)
gateway=
stop() {
	[ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

$go test -tags luajit -c -ldflags '-extldflags -static-libgcc' -o "$work/luavm.test" ./luavm
(cd luavm && emulated 300 "$work/luavm.test" -test.timeout 290s -test.v -test.run "^($tests)\$") >"$work/log" 2>&1 ||
	{ grep -E '^ *--- FAIL|^    [a-z]' "$work/log" | head -n 40 >&2; die "tests of luavm"; }
passed=$(grep -c '^--- PASS' "$work/log")
wanted=$(echo "$tests" | tr '|' '\n' | wc -l)
[ "$passed" = "$wanted" ] || die "$passed of $wanted tests of luavm have run and passed"
say "$passed tests of luavm passed: $(grep -m 1 -o 'warm-up: .*' "$work/log")"

cat >"$work/perigee.yaml" <<Y
listeners: [{address: "unix:$work/s"}]
admin: {address: "off"}
access_log: {format: "off"}
drain: {delay: 0s, timeout: 10s}
routes:
  - name: hello
    lua:
      content: |
        local ffi = require "ffi"
        ffi.cdef "int getpid(void);"
        local sum, on, word = 0, jit.status(), jit.arch
        for i = 1, 1e6 do sum = sum + i % 7 end
        ngx.say(word, " ", on and "jit" or "no jit", " ", ffi.C.getpid() > 0 and sum)
Y
begin=$(date +%s%N)
# exec: the signal is for the emulator.
(exec timeout -s KILL 120 qemu-aarch64-static $libc/ld-linux-aarch64.so.1 --library-path $libc \
	bin/perigee-arm64 run -c "$work/perigee.yaml") >"$work/log" 2>&1 &
gateway=$!
until curl -fsS --unix-socket "$work/s" -o "$work/hello" http://x/ 2>/dev/null; do
	kill -0 $gateway 2>/dev/null || die "bin/perigee-arm64 does not start"
	sleep 0.05
done
cold=$(($(date +%s%N) - begin))
[ "$(cat "$work/hello")" = "arm64 jit 2999998" ] || die "a script answers $(cat "$work/hello")"
kill -TERM $gateway
code=0
wait $gateway || code=$?
gateway=
[ $code = 0 ] || die "bin/perigee-arm64 ended with exit code $code"
say "$(emulated 60 bin/perigee-arm64 version | tr '\n' ',') serves, drains, ends with 0"
say "size $(($(stat -c %s bin/perigee-arm64) / 1000000)) MB, from start to the first answer $((cold / 1000000)) ms, emulated"
