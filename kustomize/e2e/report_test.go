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

// report is what a run of TestFleet leaves behind: Markdown with plots.
type report struct {
	sections []string
	plots    map[string]string
}

// section adds what a part has shown, and its plot if there is one.
func (r *report) section(title, text string, plots ...string) {
	s := "\n## " + title + "\n\n" + strings.TrimSpace(text) + "\n"
	for _, name := range plots {
		s += fmt.Sprintf("\n![%s](%s)\n", title, name)
	}
	r.sections = append(r.sections, s)
}

// add puts a paragraph behind the last section.
func (r *report) add(text string) {
	if text != "" {
		r.sections = append(r.sections, "\n"+text+"\n")
	}
}

func (r *report) plot(name, svg string) string {
	r.plots[name] = svg
	return name
}

// write is called at the end, with or without failures: a failed run's report
// says so.
func (r *report) write(t *testing.T, c *cluster) {
	if *reportDir == "" || len(r.sections) == 0 {
		return
	}
	version, err := c.client.Discovery().ServerVersion()
	if err != nil {
		t.Error(err)
		return
	}
	outcome := "Every check passed."
	if t.Failed() {
		outcome = "**Some checks failed: these figures are no proof.**"
	}
	head := fmt.Sprintf("# The fleet on a real control plane\n\nWritten by `make e2e-k8s` on %s, %s/%s, %d cores that others use too.\nKubernetes %s: etcd, kube-apiserver (ready after %.1f s), kube-controller-manager with\nits HorizontalPodAutoscaler controller, kube-scheduler. [doc.go](../doc.go) says what stands\nin for a node. %s\n",
		time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), version.GitVersion, c.ready.Seconds(), outcome)
	files := map[string]string{"README.md": head + strings.Join(r.sections, "")}
	for name, svg := range r.plots {
		files[name] = svg
	}
	if err := os.MkdirAll(*reportDir, 0o755); err != nil {
		t.Error(err)
		return
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(*reportDir, name), []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// line is k6's result as a table's row.
func (r *result) line(name string) string {
	return fmt.Sprintf("| %s | %d | %d | %d | %.0f ms | %.0f ms | %.0f ms |\n", name, r.requests, len(r.failures), r.dropped, r.median, r.p95, r.p99)
}

const resultHead = "| POSTs | sent | failed | not sent in time | median | p95 | p99 |\n|---|---|---|---|---|---|---|\n"
