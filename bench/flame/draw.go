package main

import (
	"fmt"
	"hash/fnv"
	"html"
	"math"
	"strings"
)

// Sizes in pixels. A letter of the font is taken to be letter wide.
const (
	width  = 1200.0
	row    = 16
	top    = 40
	letter = 6.6
)

// A picture is an SVG that grows.
type picture struct {
	text  strings.Builder
	total int64
	least int64
	depth int
}

// draw is the graph with callers below.
func draw(root *frame, title string, least float64) string {
	p := &picture{total: root.samples, least: max(1, int64(math.Ceil(least*float64(root.samples))))}
	p.depth = p.height(root)
	height := top + p.depth*row + 6
	fmt.Fprintf(&p.text, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %d" font-family="monospace" font-size="11">
<style>rect{stroke:#fff;stroke-width:.5}text{pointer-events:none}</style>
<rect width="%g" height="%d" fill="#fff"/>
<text x="6" y="16" font-size="14">%s</text>
<text x="6" y="32" fill="#666">%d samples; orange: kernel, green: Go, blue: C and Lua; frames under %.1f %% are left out</text>
`, width, height, width, height, html.EscapeString(title), root.samples, 100*least)
	p.frame(root, 0, 0)
	p.text.WriteString("</svg>\n")
	return p.text.String()
}

func (p *picture) height(f *frame) int {
	deepest := 0
	for _, c := range f.callees {
		if c.samples >= p.least {
			deepest = max(deepest, p.height(c))
		}
	}
	return deepest + 1
}

// frame draws f from x on; level 0 is the lowest row.
func (p *picture) frame(f *frame, x float64, level int) {
	w := width * float64(f.samples) / float64(p.total)
	y := top + (p.depth-1-level)*row
	share := 100 * float64(f.samples) / float64(p.total)
	name := html.EscapeString(f.name)
	fmt.Fprintf(&p.text, `<g><title>%s, %.1f %%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`,
		name, share, x, y, w, row, color(f.name))
	if fits := int((w - 4) / letter); fits >= 3 {
		fmt.Fprintf(&p.text, `<text x="%.1f" y="%d">%s</text>`, x+2, y+12, html.EscapeString(short(f.name, fits)))
	}
	p.text.WriteString("</g>\n")
	for _, c := range f.sorted() {
		if c.samples >= p.least {
			p.frame(c, x, level+1)
		}
		x += width * float64(c.samples) / float64(p.total)
	}
}

// short is the end of a name, where what tells it apart is.
func short(name string, fits int) string {
	if at := strings.LastIndex(name, "/"); at >= 0 && len(name) > fits {
		name = name[at+1:]
	}
	if len(name) <= fits {
		return name
	}
	return name[:fits-2] + ".."
}

// color says whose code it is, in a shade of the name's own: Go's names have a
// package and a dot, the bridge's begin with pg_, LuaJIT's with lj_ and lua.
func color(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	shade := int(h.Sum32() % 40)
	switch {
	case name == "all":
		return "#ddd"
	case strings.HasPrefix(name, "pg_"), strings.HasPrefix(name, "_cgo_"), strings.HasPrefix(name, "lj_"), strings.HasPrefix(name, "lua"),
		name == compiled, name == lost, strings.HasPrefix(name, "json_"), strings.HasPrefix(name, "strbuf_"):
		return fmt.Sprintf("rgb(%d,%d,245)", 110+shade, 165+shade)
	case strings.Contains(name, "."):
		return fmt.Sprintf("rgb(%d,215,%d)", 120+shade, 110+shade)
	}
	return fmt.Sprintf("rgb(250,%d,%d)", 170+shade, 80+shade)
}
