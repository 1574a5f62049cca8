package main

import (
	"errors"
	"fmt"
)

// What the gateway's RSS may be: a quarter to a half more than what is measured, since
// the collector's timing moves it by a few MiB. A buffer of 4 KiB that each idle
// connection keeps breaks them by far.
const (
	mostAtRest        = 24 << 20
	mostPerConnection = 1280     // 12 MiB for 10,000
	mostPerRoute      = 12 << 10 // 12 MiB for 1,000
)

// mostToNginx bounds the gateway's PSS with idle connections as a multiple of nginx's
// in the same run, whose figures move alike. 1.4 to 1.6 have been measured: a Go
// runtime and Lua VMs are there before the first connection. More than 2 is more than the room that
// a limit of memory leaves where nginx is replaced.
const mostToNginx = 2

// footprints writes what programs take, the gateway first, and its bounds.
func (r *report) footprints(all []footprint, idle int) {
	fmt.Fprintf(&r.text, "\n## %s\n\nPSS and, in brackets, RSS of all processes of a program: two workers or threads, plain proxying to\nthe same origin, keep-alive, no access log. Sockets' memory is the kernel's and in neither.\n\n", memoryTitle)
	fmt.Fprintf(&r.text, "| | at rest | %d idle connections that have asked once | each adds | %d routes, each asked for once | each adds |\n|---|---|---|---|---|---|\n", idle, manyRoutesTotal)
	p := plot{title: memoryTitle, unit: "MiB of PSS"}
	for _, f := range all {
		if f.absent != "" {
			fmt.Fprintf(&r.text, "| %s | %s | | | | |\n", f.name, f.absent)
			continue
		}
		fmt.Fprintf(&r.text, "| %s | %s | %s | %s | %s | %s |\n", f.name, f.rest,
			f.idle, f.idle.each(f.rest, idle), f.routes, f.routes.each(f.rest, manyRoutesTotal))
		p.labels = append(p.labels, f.name+", at rest", fmt.Sprintf("%s, %d idle", f.name, idle), fmt.Sprintf("%s, %d routes", f.name, manyRoutesTotal))
		p.values = append(p.values, mebibytes(f.rest.pss), mebibytes(f.idle.pss), mebibytes(f.routes.pss))
	}
	r.plots = append(r.plots, p)
	fmt.Fprintf(&r.text, "\n![%s](%s)\n\n| perigee's | at most | measured | |\n|---|---|---|---|\n", memoryTitle, p.file())
	for _, b := range bounds(all, idle) {
		verdict := "holds"
		if b.measured > b.most {
			verdict = "**does not hold**"
			r.broken = errors.Join(r.broken, fmt.Errorf("%s of perigee: %.1f %s, the bound is %.1f", b.of, b.measured, b.unit, b.most))
		}
		fmt.Fprintf(&r.text, "| %s | %.1f %s | %.1f %s | %s |\n", b.of, b.most, b.unit, b.measured, b.unit, verdict)
	}
}

// bound is what a measurement must not exceed.
type bound struct {
	of, unit       string
	most, measured float64
}

// bounds are those of the first of all; what is compared with nginx is left out where
// nginx has not been measured.
func bounds(all []footprint, idle int) []bound {
	ours := all[0]
	withIdle := fmt.Sprintf("with %d idle connections", idle)
	stated := []bound{
		{"RSS at rest", "MiB", mebibytes(mostAtRest), mebibytes(ours.rest.rss)},
		{"RSS " + withIdle, "MiB", mebibytes(mostAtRest + int64(idle)*mostPerConnection), mebibytes(ours.idle.rss)},
		{fmt.Sprintf("RSS with %d routes", manyRoutesTotal), "MiB", mebibytes(mostAtRest + manyRoutesTotal*mostPerRoute), mebibytes(ours.routes.rss)},
	}
	for _, f := range all[1:] {
		if f.name == "nginx" && f.absent == "" {
			stated = append(stated, bound{"PSS " + withIdle, "times nginx's", mostToNginx, float64(ours.idle.pss) / float64(f.idle.pss)})
		}
	}
	return stated
}

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB (%.1f)", mebibytes(m.pss), mebibytes(m.rss))
}

// each is what one of n adds to rest.
func (m memory) each(rest memory, n int) string {
	return fmt.Sprintf("%.1f KiB", float64(m.pss-rest.pss)/float64(n)/1024)
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
