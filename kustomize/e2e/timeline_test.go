package e2e

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// moment is the fleet at one second of a run.
type moment struct {
	at            time.Time
	wanted, ready int
	cpu           float64 // of the request, mean of the pods
	saturation    float64 // mean of the pods
	perSecond     float64 // that reach pods
}

// timeline is a run, a moment each second.
type timeline struct {
	mu    sync.Mutex
	all   []moment
	marks []mark
	stop  chan struct{}
	done  sync.WaitGroup
}

type mark struct {
	at   time.Time
	text string
}

// record follows the fleet until end is called.
func (f *fleet) record(t *testing.T) *timeline {
	l := &timeline{stop: make(chan struct{})}
	var before int64 = f.service.requests()
	last := time.Now()
	l.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
			}
			m, err := f.moment(t)
			if err != nil { // a busy API server: the next second is looked at
				continue
			}
			n := f.service.requests()
			m.perSecond = float64(n-before) / m.at.Sub(last).Seconds()
			before, last = n, m.at
			l.mu.Lock()
			l.all = append(l.all, m)
			l.mu.Unlock()
		}
	})
	t.Cleanup(l.end)
	return l
}

func (f *fleet) moment(t *testing.T) (m moment, err error) {
	m.at = time.Now()
	if m.wanted, err = f.wanted(t); err != nil {
		return m, err
	}
	used := 0
	for _, p := range f.agent.gateways() {
		if !p.isReady() {
			continue
		}
		m.ready++
		if u, ok := p.samples.usage(); ok {
			used++
			m.cpu += u.cores / p.spec().Resources.Requests.Cpu().AsApproximateFloat64()
			m.saturation += u.saturation
		}
	}
	if used > 0 {
		m.cpu /= float64(used)
		m.saturation /= float64(used)
	}
	return m, nil
}

func (l *timeline) mark(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, mark{time.Now(), fmt.Sprintf(format, args...)})
}

func (l *timeline) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.done.Wait()
}

// last is the latest moment.
func (l *timeline) last() (m moment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.all); n > 0 {
		m = l.all[n-1]
	}
	return m
}

// since are the moments that are not older than age.
func (l *timeline) since(age time.Duration) []moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.all)
	for first > 0 && time.Since(l.all[first-1].at) < age {
		first--
	}
	return slices.Clone(l.all[first:])
}

// most is the largest of a value.
func (l *timeline) most(value func(moment) float64) (most float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.all {
		most = max(most, value(m))
	}
	return most
}

// svg draws requests, pods and what the autoscaler looks at, one below the other.
func (l *timeline) svg(title string, target float64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const width, height, left, top = 760, 110, 60, 40
	var b strings.Builder
	panels := []panel{
		{"requests/s", 0, []curve{{"#3b6ea5", "", func(m moment) float64 { return m.perSecond }}}},
		{"pods", 0, []curve{
			{"#999999", "wanted", func(m moment) float64 { return float64(m.wanted) }},
			{"#2e7d32", "ready", func(m moment) float64 { return float64(m.ready) }}}},
		{"% per pod", target, []curve{
			{"#c0392b", "CPU of the request", func(m moment) float64 { return 100 * m.cpu }},
			{"#8e44ad", "saturation", func(m moment) float64 { return 100 * m.saturation }}}},
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`, width+left+20, top+len(panels)*(height+30)+20)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="20" font-size="14">%s</text>`, title)
	if len(l.all) < 2 {
		return b.String() + "</svg>\n"
	}
	begin, length := l.all[0].at, l.all[len(l.all)-1].at.Sub(l.all[0].at).Seconds()
	x := func(at time.Time) float64 { return left + at.Sub(begin).Seconds()/length*width }
	for i, p := range panels {
		p.draw(&b, l.all, x, float64(top+i*(height+30)), height)
	}
	bottom := float64(top + len(panels)*(height+30) - 15)
	for s := 0.0; s <= length; s += 20 {
		at := left + s/length*width
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="middle" fill="#666">%.0f s</text>`, at, bottom+10, s)
	}
	for i, m := range l.marks {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%.0f" stroke="#d68910" stroke-dasharray="3,3"/><text x="%.1f" y="%d" fill="#9c640c" font-size="10">%s</text>`,
			x(m.at), x(m.at), top-8, bottom-15, x(m.at)+2, top-2+10*(i%3), m.text)
	}
	return b.String() + "</svg>\n"
}

// panel is a plot of curves over the same seconds.
type panel struct {
	unit   string
	target float64
	curves []curve
}

type curve struct {
	colour, name string
	value        func(moment) float64
}

func (p panel) draw(b *strings.Builder, all []moment, x func(time.Time) float64, top, height float64) {
	most := p.target * 1.2
	for _, c := range p.curves {
		for _, m := range all {
			most = max(most, c.value(m))
		}
	}
	most = max(1, math.Ceil(most*1.05))
	y := func(v float64) float64 { return top + height - v/most*height }
	right := x(all[len(all)-1].at)
	left := x(all[0].at)
	fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="none" stroke="#ccc"/><text x="%.0f" y="%.0f" text-anchor="end">%.0f</text><text x="%.0f" y="%.0f" text-anchor="end">0</text><text x="%.0f" y="%.0f" fill="#666">%s</text>`,
		left, top, right-left, height, left-4, top+10, most, left-4, top+height, left+4, top+height-4, p.unit)
	if p.target > 0 {
		fmt.Fprintf(b, `<line x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f" stroke="#666" stroke-dasharray="6,4"/>`, left, right, y(p.target), y(p.target))
	}
	for i, c := range p.curves {
		var points strings.Builder
		for _, m := range all {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(m.at), y(c.value(m)))
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.6" points="%s"/><text x="%.0f" y="%.0f" text-anchor="end" fill="%s">%s</text>`,
			c.colour, points.String(), right-6, top+14+float64(i)*14, c.colour, c.name)
	}
}
