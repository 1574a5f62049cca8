package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/config"
)

// doctor says what in this process's surroundings would hurt the gateway, what
// it hurts and what would mend it. Exit 1 when something does.
func doctor(args []string, out, errs io.Writer) int {
	flags := newFlags("doctor", errs)
	path := flags.String("c", "", "the configuration `FILE` whose limits are to be reached; without it: the defaults")
	quiet := flags.Bool("q", false, "print only what hurts")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		flags.Usage()
		return exitUsage
	}
	var limits config.Limits
	limits.SetDefaults()
	if *path != "" {
		file, err := config.Load(*path)
		if err != nil {
			fmt.Fprintln(errs, err)
			return exitFailed
		}
		limits = file.Limits
	}
	hurts := 0
	for _, f := range thisMachine(limits).examine() {
		if f.hurts == "" {
			if !*quiet {
				fmt.Fprintf(out, "ok    %-16s %s\n", f.subject, f.found)
			}
			continue
		}
		hurts++
		fmt.Fprintf(out, "HURTS %-16s %s\n      what it hurts: %s\n      what mends it: %s\n", f.subject, f.found, f.hurts, f.mend)
	}
	if hurts > 0 {
		return exitFailed
	}
	return exitOK
}

// finding is one thing that was looked at. hurts is empty when it is fine.
type finding struct {
	subject, found string
	hurts, mend    string
}

// machine is what is looked at.
type machine struct {
	root        string // of /proc and /sys
	connections int    // as configured
	files       uint64 // the hard limit of open files
	cores       int    // that Go uses
	onMachine   int    // that there are
	hardened    bool   // LuaJIT
	jumps       bool   // out of C functions
	regexJIT    bool
	executable  error // why no memory may be made executable
	clockSynced bool
}

func thisMachine(limits config.Limits) *machine {
	m := &machine{
		root: "/", connections: limits.Connections, cores: runtime.GOMAXPROCS(0), onMachine: onlineCores(),
		hardened: luavm.Hardened(), jumps: luavm.Jumps(), regexJIT: luavm.RegexJIT(), executable: tryExecutable(),
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		m.files = files.Max // Go raises the soft limit to it
	}
	var clock unix.Timex
	state, err := unix.Adjtimex(&clock)
	m.clockSynced = err != nil || state != unix.TIME_ERROR && clock.Status&unix.STA_UNSYNC == 0
	return m
}

// onlineCores counts what the machine has, whatever this process may use.
func onlineCores() int {
	entries, err := os.ReadDir("/sys/devices/system/cpu")
	n := 0
	for _, e := range entries {
		var number int
		if _, bad := fmt.Sscanf(e.Name(), "cpu%d", &number); bad == nil {
			n++
		}
	}
	if err != nil || n == 0 {
		return runtime.NumCPU()
	}
	return n
}

// tryExecutable does what a JIT compiler does: write a page, then make it
// executable.
func tryExecutable() error {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(page) }()
	return unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC)
}
