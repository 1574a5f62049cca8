package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"perigee/luavm"
	"perigee/proxy/observe"
)

func printVersion(_ []string, out, _ io.Writer) int {
	b := buildInfo()
	fmt.Fprintf(out, "perigee %s %s/%s\n%s\n%s\n", b.Version, runtime.GOOS, runtime.GOARCH, b.Go, b.LuaJIT)
	return exitOK
}

func buildInfo() observe.BuildInfo {
	b := observe.BuildInfo{Version: version, Go: runtime.Version(), LuaJIT: luavm.Build()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}
