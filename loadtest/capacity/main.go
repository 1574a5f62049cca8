// Command capacity measures what one gateway on this machine carries and writes a
// report: Markdown with plots. It starts bin/perigee and bin/origin itself, for
// each measurement anew, and loads them with wrk as fast as they answer.
//
//	go run ./loadtest/capacity -out loadtest/results/capacity.md [-seconds 5] [-rounds 5] [-only EXPRESSION]
//
// CPU time is the gateway's own, from /proc: it compares on machines that do other
// work too, which requests per second do not. With -slo it also looks for the rate
// within the SLO, by k6's open loop (scenarios/steady.js).
//
// The section on memory has nginx and haproxy beside the gateway, where they are
// installed, and bounds (bounds.go): where one does not hold, the report says so and
// the exit code is 1. -only Memory measures nothing else.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "loadtest/results/capacity.md", "the report")
	seconds := flag.Int("seconds", 5, "of each measurement")
	rounds := flag.Int("rounds", 5, "of what is compared in turns")
	only := flag.String("only", "", "a regular `EXPRESSION` for the titles of sections; the others are left out")
	idle := flag.Int("idle", 10000, "idle connections to hold")
	slo := flag.String("slo", "", "`PATH` of k6, to look for the rate within the SLO")
	saturation := flag.String("saturation", "", "`PATH` of a report on saturation and latency, and nothing else")
	flag.Parse()
	b := &bed{seconds: *seconds, rounds: *rounds, k6: *slo}
	if *saturation != "" {
		if err := b.saturation(*saturation); err != nil {
			fmt.Fprintln(os.Stderr, "capacity:", err)
			os.Exit(1)
		}
		fmt.Println(*saturation)
		return
	}
	var titles *regexp.Regexp
	if *only != "" {
		titles = regexp.MustCompile(*only)
	}
	r, err := b.measure(*idle, titles)
	if err == nil {
		err = errors.Join(r.write(*out), r.broken)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "capacity:", err)
		os.Exit(1)
	}
	fmt.Println(*out)
}

// report is what has been measured.
type report struct {
	loadBefore string // of the last minute

	text   strings.Builder
	plots  []plot
	broken error // bounds that do not hold
}

// newReport notes how busy the machine is already.
func newReport() *report {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return &report{loadBefore: first}
}

// section is a table, one row per setting, and a plot of its CPU time.
func (r *report) section(title, setting string, rows []row) {
	fmt.Fprintf(&r.text, "\n## %s\n\n| %s | requests/s | p50 | p99 | CPU per request | CPU used | RSS |\n|---|---|---|---|---|---|---|\n", title, setting)
	p := plot{title: title, unit: "µs of CPU per request"}
	for _, row := range rows {
		fmt.Fprintf(&r.text, "| %s | %.0f | %v | %v | %.1f µs | %.2f cores | %d MiB |\n",
			row.setting, row.perSecond, row.p50, row.p99, row.cpuMicros, row.cores, row.rss>>20)
		p.labels = append(p.labels, row.setting)
		p.values = append(p.values, row.cpuMicros)
	}
	r.plots = append(r.plots, p)
	fmt.Fprintf(&r.text, "\n![%s](%s)\n", title, p.file())
	fmt.Fprintln(os.Stderr, title)
}

func (r *report) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	for _, p := range r.plots {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), p.file()), []byte(p.svg()), 0o644); err != nil {
			return err
		}
	}
	head := fmt.Sprintf("# Capacity\n\n%s, %s/%s, %d cores. Generator, gateway and origin share them: CPU time\nis the figure to compare, requests per second are this machine's at that moment. The load average\nbefore was %s: over 1, others' work was in the way.\n",
		time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), r.loadBefore)
	return os.WriteFile(path, []byte(head+r.text.String()), 0o644)
}

// plot is a bar chart.
type plot struct {
	title, unit string
	labels      []string
	values      []float64
}

func (p plot) file() string {
	return "capacity-" + strings.ReplaceAll(strings.ToLower(p.title), " ", "-") + ".svg"
}

func (p plot) svg() string {
	const width, bar, left = 640, 24, 160
	most := 0.0
	for _, v := range p.values {
		most = max(most, v)
	}
	var b strings.Builder
	height := 40 + len(p.values)*(bar+8)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="20">%s, %s</text>`, p.title, p.unit)
	for i, v := range p.values {
		y := 34 + i*(bar+8)
		length := 0.0
		if most > 0 {
			length = v / most * (width - left - 90)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="#3b6ea5"/><text x="%.1f" y="%d">%.1f</text>`,
			left-8, y+17, p.labels[i], left, y, length, bar, float64(left)+length+6, y+17, v)
	}
	return b.String() + "</svg>\n"
}
