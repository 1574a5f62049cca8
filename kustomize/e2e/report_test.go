package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// section is what a part of TestFleet leaves behind: a file of Markdown and a plot,
// of that part alone, so that one can be run again.
type section struct {
	name, title string
	text        string
	svg         string // "": no plot
}

// report writes a section. That of a part that has failed says so.
func (f *fleet) report(t *testing.T, s section) {
	t.Helper()
	if *reportDir == "" {
		return
	}
	version, err := f.client.Discovery().ServerVersion()
	if err != nil {
		t.Error(err)
		return
	}
	outcome := "Every check passed."
	if t.Failed() {
		outcome = "**Some checks failed: these figures are no proof.**"
	}
	load, _, _ := strings.Cut(loadAverage(), " ")
	text := fmt.Sprintf("# %s\n\nWritten by `make e2e-k8s RUN=%s` on %s, %s/%s,\n%d cores shared with other work (load average %s at the end), Kubernetes %s. %s\n\n%s\n",
		s.title, t.Name(), time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load, version.GitVersion, outcome, strings.TrimSpace(s.text))
	files := map[string]string{s.name + ".md": text}
	if s.svg != "" {
		files[s.name+".md"] = text + fmt.Sprintf("\n![%s](%s.svg)\n", s.title, s.name)
		files[s.name+".svg"] = s.svg
	}
	if err := os.MkdirAll(*reportDir, 0o755); err != nil {
		t.Error(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(*reportDir, name), []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return string(text)
}

// line is k6's result as a table's row.
func (r *result) line(name string) string {
	return fmt.Sprintf("| %s | %d | %d | %d | %.0f ms | %.0f ms | %.0f ms |\n", name, r.requests, len(r.failures), r.dropped, r.median, r.p95, r.p99)
}

const resultHead = "| POSTs | sent | failed | not sent in time | median | p95 | p99 |\n|---|---|---|---|---|---|---|\n"
