package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHalfWrittenConfigMap swaps in configurations as a kubelet does, by a link,
// and one of them is cut off: the former one serves on, it is said, and the whole
// one is taken when it comes.
func TestHalfWrittenConfigMap(t *testing.T) {
	addr, adminAddr, dir := freeAddr(t), freeAddr(t), t.TempDir()
	text := func(body string) string {
		return fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
access_log: {format: "off"}
routes: [{name: r, match: {paths: ["/"]}, respond: {body: %s}}]
`, addr, adminAddr, body)
	}
	swap := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "perigee.yaml"), text)
		if err := os.Symlink(version, filepath.Join(dir, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", text("first"))
	path := filepath.Join(dir, "perigee.yaml")
	if err := os.Symlink(filepath.Join("..data", "perigee.yaml"), path); err != nil {
		t.Fatal(err)
	}
	r := launch(t, addr, "run", "-c", path, "-watch")
	metric := func(line string) func() bool {
		return func() bool {
			_, metrics := get(t, "http://"+adminAddr+"/metrics")
			return strings.Contains(metrics, "\n"+line+"\n") // a HELP text says the same
		}
	}
	serves := func(want string) {
		t.Helper()
		if _, body := get(t, "http://"+addr); body != want {
			t.Errorf("answered %q, want %q", body, want)
		}
	}
	serves("first")
	whole := text("second")
	swap("..2", whole[:strings.Index(whole, "respond")])
	eventually(t, "half a configuration was not noticed", metric("perigee_config_stale 1"))
	serves("first")
	swap("..3", "")
	eventually(t, "an empty configuration was not refused", metric(`perigee_reloads_total{outcome="refused"} 2`))
	serves("first")
	swap("..4", whole)
	eventually(t, "the whole configuration was not taken", metric("perigee_config_stale 0"))
	serves("second")
	r.end(syscall.SIGTERM) // all of its log is there then
	if n := strings.Count(r.stderr.String(), "perigee.yaml:"); n == 0 {
		t.Errorf("the log does not say where the configuration ends: %s", r.stderr)
	}
}
