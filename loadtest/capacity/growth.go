package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"
)

// growth compares gateways that differ in one thing, under the same requests at
// the same times, in turns: a neighbour's work falls on all of them.
type growth struct {
	title, setting string
	loads          []load // the first is what the others are compared with
	shares         []float64
	host           string
}

// sample is what one gateway took in one round.
type sample struct {
	micros   float64
	p50, p99 time.Duration
}

// growths are the figures that must stay small: of loops, and of routes.
func growths() []growth {
	host := lastHost(manyRoutesTotal)
	return []growth{
		{
			title: "Growth by loops", setting: "loops", shares: []float64{0.25, 0.5, 0.75}, host: "growth",
			loads: sweep([]int{1, 2}, func(n int) load {
				return load{path: "/", config: oneRoute(n, "growth", "/")}
			}),
		},
		{
			title: "Growth by routes", setting: "routes", shares: []float64{0.5}, host: host,
			loads: []load{
				{setting: "1", path: lastPath, config: oneRoute(1, host, lastPath)},
				{setting: fmt.Sprint(manyRoutesTotal), path: lastPath, config: everyRoute(manyRoutesTotal)},
			},
		},
	}
}

// grow measures in rounds and writes a table and a plot.
func (b *bed) grow(r *report, g growth) error {
	most, err := b.carried(g.loads[0], g.host)
	if err != nil {
		return err
	}
	fmt.Fprintf(&r.text, "\n## %s\n\nOffered at fixed times, the same for all: shares of the %.0f requests/s that one core of one loop's\ngateway is good for; medians of %d rounds in turns of %d s, least and greatest in brackets.\n\n| offered | %s | CPU per request | ratio | p50 | p99 |\n|---|---|---|---|---|---|\n",
		g.title, most, b.rounds, b.seconds, g.setting)
	p := plot{title: g.title, unit: "µs of CPU per request"}
	for _, share := range g.shares {
		samples, err := b.rounded(g, most*share)
		if err != nil {
			return fmt.Errorf("%s, %.0f requests/s: %w", g.title, most*share, err)
		}
		for i, l := range g.loads {
			micros, ratios := values(samples[i], sample.cost), ratios(samples[i], samples[0])
			latency := func(of func(sample) float64) time.Duration {
				return time.Duration(median(values(samples[i], of))).Round(time.Microsecond)
			}
			fmt.Fprintf(&r.text, "| %.0f/s, %.0f %% | %s | %.1f µs (%.1f - %.1f) | %.2f (%.2f - %.2f) | %v | %v |\n",
				most*share, 100*share, l.setting, median(micros), slices.Min(micros), slices.Max(micros),
				median(ratios), slices.Min(ratios), slices.Max(ratios),
				latency(func(s sample) float64 { return float64(s.p50) }), latency(func(s sample) float64 { return float64(s.p99) }))
			p.labels = append(p.labels, fmt.Sprintf("%.0f %%, %s %s", 100*share, l.setting, g.setting))
			p.values = append(p.values, median(micros))
		}
	}
	r.plots = append(r.plots, p)
	fmt.Fprintf(&r.text, "\n![%s](%s)\n", g.title, p.file())
	fmt.Fprintln(os.Stderr, g.title)
	return nil
}

// carried is how many requests a second one core is good for.
func (b *bed) carried(l load, host string) (float64, error) {
	gateway, err := b.start(l.config, l.env)
	if err != nil {
		return 0, err
	}
	defer end(gateway)
	for try := 0; ; try++ {
		begin := threadTime(gateway.Process.Pid)
		text, err := exec.Command("wrk", "-t1", "-c", fmt.Sprint(openLoopConnections), "-d", "2s", "-H", "Host: "+host,
			"-s", "loadtest/wrk/report.lua", "http://"+gatewayAddr+l.path).Output()
		if err != nil {
			return 0, fmt.Errorf("wrk: %w", err)
		}
		result, err := wrkSaid(text)
		if err != nil {
			return 0, err
		}
		if try > 0 { // the first compiles what is hot
			used := threadTime(gateway.Process.Pid) - begin
			return float64(result.Requests) / used.Seconds(), nil
		}
	}
}

// rounded gives the samples of each load, round by round.
func (b *bed) rounded(g growth, perSecond float64) ([][]sample, error) {
	samples := make([][]sample, len(g.loads))
	for range b.rounds {
		for i, l := range g.loads {
			s, err := b.offered(l, g.host, perSecond)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", l.setting, g.setting, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	return samples, nil
}

// offered measures a fresh gateway under an open loop.
func (b *bed) offered(l load, host string, perSecond float64) (s sample, err error) {
	gateway, err := b.start(l.config, l.env)
	if err != nil {
		return s, err
	}
	defer end(gateway)
	o, err := dialOpenLoop(host, l.path)
	if err != nil {
		return s, err
	}
	defer o.close()
	if err := o.run(perSecond, time.Second); err != nil { // compiles what is hot
		return s, err
	}
	begin := threadTime(gateway.Process.Pid)
	if err := o.run(perSecond, time.Duration(b.seconds)*time.Second); err != nil {
		return s, err
	}
	used := threadTime(gateway.Process.Pid) - begin
	return sample{
		micros: float64(used.Nanoseconds()) / 1e3 / float64(len(o.took)),
		p50:    o.percentile(50), p99: o.percentile(99),
	}, nil
}

func (s sample) cost() float64 { return s.micros }

func values(samples []sample, of func(sample) float64) (all []float64) {
	for _, s := range samples {
		all = append(all, of(s))
	}
	return all
}

// ratios compares the samples of the same rounds.
func ratios(samples, to []sample) (all []float64) {
	for i := range samples {
		all = append(all, samples[i].micros/to[i].micros)
	}
	return all
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
