package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// saturationConfig is a gateway with one worker, whose requests cost it half a
// millisecond of Lua: it is full long before whoever asks it is.
const saturationConfig = `
workers: 1
access_log: {format: "off"}
listeners: [{address: %q}]
admin: {address: %q}
routes:
  - name: burn
    match: {paths: ["/"]}
    lua:
      content: |
        local x = 0
        for i = 1, %d do x = x + i %% 7 end
        ngx.print(x)
`

// point is what one offered rate has led to.
type point struct {
	offered    float64 // requests per second
	answered   float64
	saturation float64 // mean
	p50, p99   time.Duration
}

// saturation offers a gateway more and more and writes a report with a plot of
// perigee_saturation_ratio and the latency beside it.
func (b *bed) saturation(out string) error {
	rounds, most, err := b.calibrate()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(saturationConfig, gatewayAddr, adminAddr, rounds)
	gateway, err := b.start(config, []string{"GOMAXPROCS=2"})
	if err != nil {
		return err
	}
	defer end(gateway)
	var points []point
	for _, share := range []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1} {
		p, err := offer(most*share, time.Duration(b.seconds)*time.Second)
		if err != nil {
			return fmt.Errorf("%.0f requests/s: %w", most*share, err)
		}
		points = append(points, p)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Saturation and latency\n\n%s. One worker, requests of Lua alone, offered at fixed times (an open loop) for\n%d s each. Saturation is the mean of `perigee_saturation_ratio`, scraped twice a second.\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"), b.seconds)
	text.WriteString("| offered/s | answered/s | saturation | p50 | p99 |\n|---|---|---|---|---|\n")
	for _, p := range points {
		fmt.Fprintf(&text, "| %.0f | %.0f | %.2f | %v | %v |\n", p.offered, p.answered, p.saturation, p.p50.Round(10*time.Microsecond), p.p99.Round(10*time.Microsecond))
	}
	text.WriteString("\n![Saturation and p99](saturation.svg)\n")
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(out), "saturation.svg"), []byte(curves(points)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(out, []byte(text.String()), 0o644)
}

// calibrate finds how often the script must turn for half a millisecond, and how
// many such requests a second the gateway answers at most.
func (b *bed) calibrate() (rounds int, most float64, err error) {
	rounds = 100000
	for range 3 {
		gateway, err := b.start(fmt.Sprintf(saturationConfig, gatewayAddr, adminAddr, rounds), []string{"GOMAXPROCS=2"})
		if err != nil {
			return 0, 0, err
		}
		p, err := offer(20000, 2*time.Second) // more than it takes
		end(gateway)
		if err != nil {
			return 0, 0, err
		}
		if most = p.answered; most > 1600 && most < 2400 {
			break
		}
		rounds = max(int(float64(rounds)*most/2000), 1000)
	}
	return rounds, most, nil
}

// connections is how many requests may be under way: enough to keep a full gateway
// busy, few enough that what waits is seen as latency.
const connections = 64

// offer sends requests at fixed times, whether earlier ones are answered or not,
// and measures each from the time at which it was due.
func offer(perSecond float64, lasting time.Duration) (point, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: connections,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), lasting)
	defer cancel()
	begin := time.Now()
	due := make(chan time.Time)
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	var workers sync.WaitGroup
	for range connections {
		workers.Go(func() {
			for at := range due {
				err := fetch(client)
				mu.Lock()
				took = append(took, time.Since(at))
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	seen := make(chan float64, 1)
	go func() { seen <- scrape(ctx) }()
	sent := 0
	for ; ctx.Err() == nil; sent++ {
		at := begin.Add(time.Duration(float64(sent) / perSecond * 1e9))
		time.Sleep(time.Until(at))
		select {
		case due <- at:
		case <-ctx.Done():
		}
	}
	close(due)
	workers.Wait()
	if failed != nil || len(took) == 0 {
		return point{}, fmt.Errorf("%d answers, %w", len(took), failed)
	}
	passed := time.Since(begin).Seconds()
	slices.Sort(took)
	return point{
		offered: perSecond, answered: float64(len(took)) / passed, saturation: <-seen,
		p50: took[len(took)/2], p99: took[len(took)*99/100],
	}, nil
}

func fetch(client *http.Client) error {
	res, err := client.Get("http://" + gatewayAddr + "/")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// scrape is the mean of perigee_saturation_ratio, without its first second: it looks
// back one.
func scrape(ctx context.Context) (mean float64) {
	sum, n := 0.0, 0
	for begin := time.Now(); ctx.Err() == nil; {
		time.Sleep(500 * time.Millisecond)
		if time.Since(begin) < 1500*time.Millisecond {
			continue
		}
		res, err := http.Get("http://" + adminAddr + "/metrics")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		_, rest, _ := bytes.Cut(text, []byte("\nperigee_saturation_ratio "))
		line, _, _ := bytes.Cut(rest, []byte{'\n'})
		if v, err := strconv.ParseFloat(string(line), 64); err == nil {
			sum, n = sum+v, n+1
		}
	}
	return sum / float64(max(n, 1))
}

// curves plots saturation and p99 over what was offered. The latency's axis ends
// at twenty times the least: beyond it the curve has left.
func curves(points []point) string {
	const width, height, left, right, top, bottom = 720, 400, 60, 70, 40, 50
	last := points[len(points)-1].offered
	least := points[0].p99
	for _, p := range points {
		least = min(least, p.p99)
	}
	ceiling := 20 * least
	x := func(p point) float64 { return left + p.offered/last*(width-left-right) }
	y := func(share float64) float64 { return height - bottom - min(share, 1)*(height-top-bottom) }
	var saturation, latency strings.Builder
	for _, p := range points {
		fmt.Fprintf(&saturation, "%.1f,%.1f ", x(p), y(p.saturation))
		fmt.Fprintf(&latency, "%.1f,%.1f ", x(p), y(float64(p.p99)/float64(ceiling)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`, width, height)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>`)
	fmt.Fprintf(&b, `<text x="%d" y="22">perigee_saturation_ratio (blue) and p99 (red) over offered load</text>`, left)
	for i := range 6 {
		share := float64(i) / 5
		fmt.Fprintf(&b, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#3b6ea5">%.1f</text><text x="%d" y="%.1f" fill="#b03a2e">%v</text>`,
			left, y(share), width-right, left-8, y(share)+4, share, width-right+8, y(share)+4, time.Duration(share*float64(ceiling)).Round(100*time.Microsecond))
	}
	for _, p := range points {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`, x(p), height-bottom+20, p.offered)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">requests offered per second</text>`, (left+width-right)/2, height-10)
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#3b6ea5" stroke-width="2"/>`, saturation.String())
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#b03a2e" stroke-width="2"/>`, latency.String())
	return b.String() + "</svg>\n"
}
