package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The plot of a drill: above what was admitted, in per cent of the limit and
// over the second before each point; below the 99th percentile of the decisions
// of each tenth of a second, on a logarithmic scale. The fault is grey.

const (
	plotWidth  = 760
	plotLeft   = 64
	plotRight  = 16
	panelTall  = 150
	panelGap   = 44
	plotTop    = 46
	shortest   = 1e-3 // ms
	longest    = 100.0
	percentTop = 160.0
)

var plotColors = [2]string{"#3b6ea5", "#c2571a"}

// svg draws a course.
func (c *course) svg(caption string) string {
	length := c.length()
	x := func(at time.Duration) float64 {
		return plotLeft + at.Seconds()/length.Seconds()*(plotWidth-plotLeft-plotRight)
	}
	var b strings.Builder
	height := plotTop + 2*panelTall + panelGap + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="18" font-size="14">%s</text>`+"\n", caption)
	for i, k := range kinds {
		fmt.Fprintf(&b, `<text x="%d" y="36" fill="%s">%s, %.1f times that offered</text>`+"\n", plotLeft+i*280, plotColors[i], k.name, k.offered)
	}
	for panel := range 2 {
		top := plotTop + panel*(panelTall+panelGap)
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#ddd"/>`+"\n", x(c.fault[0]), top, x(c.fault[1])-x(c.fault[0]), panelTall)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="black"/>`+"\n", plotLeft, top, plotWidth-plotLeft-plotRight, panelTall)
		for s := 0; s <= int(length.Seconds()); s++ {
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(time.Duration(s)*time.Second), top+panelTall+16, s)
		}
	}
	percent := func(v float64) float64 { return plotTop + panelTall*(1-min(v, percentTop)/percentTop) }
	for _, v := range []float64{0, 50, 100, 150} {
		gridLine(&b, percent(v), fmt.Sprintf("%.0f %%", v), v == 100)
	}
	base := float64(plotTop + panelTall + panelGap)
	logarithm := func(ms float64) float64 {
		return base + panelTall*(1-math.Log10(min(max(ms, shortest), longest)/shortest)/math.Log10(longest/shortest))
	}
	for _, v := range []float64{0.001, 0.01, 0.1, 1, 10, 100} {
		gridLine(&b, logarithm(v), fmt.Sprintf("%v ms", v), false)
	}
	budget := logarithm(float64(drillBudget) / 1e6)
	gridLine(&b, budget, "", true)
	fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">budget, %v</text>`+"\n", plotWidth-plotRight-6, budget-4, drillBudget)
	for k := range kinds {
		rates, waits := c.series(k)
		polyline(&b, plotColors[k], rates, x, percent)
		polyline(&b, plotColors[k], waits, x, logarithm)
	}
	return b.String() + "</svg>\n"
}

func gridLine(b *strings.Builder, y float64, label string, strong bool) {
	style := `stroke="#ccc"`
	if strong {
		style = `stroke="black" stroke-dasharray="4 3"`
	}
	fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" %s/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
		plotLeft, plotWidth-plotRight, y, y, style, plotLeft-6, y+4, label)
}

// point is a value at the end of its tenth of a second.
type point struct {
	at    time.Duration
	value float64
}

func polyline(b *strings.Builder, color string, points []point, x func(time.Duration) float64, y func(float64) float64) {
	fmt.Fprintf(b, `<polyline fill="none" stroke-width="1.5" stroke="%s" points="`, color)
	for _, p := range points {
		fmt.Fprintf(b, "%.1f,%.1f ", x(p.at), y(p.value))
	}
	b.WriteString(`"/>` + "\n")
}

func (c *course) length() (d time.Duration) {
	for _, samples := range c.samples {
		for _, s := range samples {
			d = max(d, s.at)
		}
	}
	return d
}

// series are what was admitted in the second up to each tenth, in per cent, and
// the 99th percentile of each tenth's waits in milliseconds.
func (c *course) series(kind int) (rates, waits []point) {
	bins := int(c.length()/drillBin) + 1
	passed, took := make([]int, bins), make([][]time.Duration, bins)
	for _, s := range c.samples[kind] {
		bin := int(s.at / drillBin)
		took[bin] = append(took[bin], s.wait)
		if s.admitted {
			passed[bin]++
		}
	}
	second := int(time.Second / drillBin)
	sum := 0
	for bin := range bins - 1 {
		end := time.Duration(bin+1) * drillBin
		sum += passed[bin]
		if bin >= second {
			sum -= passed[bin-second]
		}
		if bin >= second-1 {
			rates = append(rates, point{end, 100 * float64(sum) / float64(kinds[kind].rate)})
		}
		if n := len(took[bin]); n > 0 {
			slices.Sort(took[bin])
			waits = append(waits, point{end, float64(took[bin][n*99/100]) / 1e6})
		}
	}
	return rates, waits
}
