package observe

import (
	"bytes"
	"io"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// writeRuntime writes the metrics of the Go runtime and of the process. The
// library that knows them writes no HELP texts, and calls some counters gauges;
// Prometheus's own linter (promtool check metrics) minds both.
func writeRuntime(w io.Writer) error {
	var text bytes.Buffer
	// The library keeps one switch per process for TYPE lines.
	metrics.ExposeMetadata(true)
	metrics.WriteProcessMetrics(&text)
	var b []byte
	for line := range bytes.Lines(text.Bytes()) {
		rest, metadata := bytes.CutPrefix(line, []byte("# TYPE "))
		if bytes.HasPrefix(line, []byte("# HELP ")) {
			continue
		}
		if metadata {
			name, kind, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
			if kind == "gauge" && strings.HasSuffix(name, "_total") {
				kind = "counter"
			}
			line = append(append(append([]byte("# HELP "), name...), ' '), runtimeHelp(name)...)
			line = append(append(append(append(line, "\n# TYPE "...), name...), ' '), kind...)
			line = append(line, '\n')
		}
		b = append(b, line...)
	}
	_, err := w.Write(b)
	return err
}

// runtimeHelp says whose a metric is; what it is, its name says.
func runtimeHelp(name string) string {
	owner, rest, _ := strings.Cut(name, "_")
	switch owner {
	case "go":
		return "Of the Go runtime: " + strings.ReplaceAll(rest, "_", " ") + "."
	case "process":
		return "Of the process: " + strings.ReplaceAll(rest, "_", " ") + "."
	}
	return strings.ReplaceAll(name, "_", " ") + "."
}
