package nginxconf

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// threadPool carries a thread_pool over, with nginx's numbers where it gives
// none.
func (m *importer) threadPool(d *directive) {
	pool := threadPool{name: d.arg(0)}
	if pool.name == "" {
		m.leave(d, "a thread pool needs a name")
		return
	}
	for _, arg := range d.args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseUint(value, 10, 24)
		switch {
		case key == "threads" && err == nil && n > 0:
			pool.numbers = append(pool.numbers, pair{"threads", value})
		case key == "max_queue" && err == nil:
			pool.numbers = append(pool.numbers, pair{"queue", value})
		default:
			m.leave(d, "%q is no number of threads or of waiting tasks", arg)
			return
		}
	}
	if len(pool.numbers) == 0 {
		pool.numbers = []pair{{"threads", "32"}}
	}
	m.out.threadPools = append(m.out.threadPools, pool)
}

// threadVMs carries the number of states for functions over.
func (m *importer) threadVMs(d *directive) {
	if n, err := strconv.ParseUint(d.arg(0), 10, 10); err != nil || n == 0 {
		m.leave(d, "%q is no number for lua.threads.vms", d.arg(0))
		return
	}
	m.out.threadVMs = d.arg(0)
}

type threadPool struct {
	name    string
	numbers []pair
}

// threads writes lua.threads, or nothing where no pool is named.
func (o *output) threads() *yaml.Node {
	t, pools := newMapping(), newMapping()
	for _, p := range o.threadPools {
		numbers := newMapping()
		numbers.node.Style = yaml.FlowStyle
		for _, n := range p.numbers {
			numbers.plain(n.name, n.value)
		}
		pools.add(p.name, numbers.node)
	}
	t.add("pools", pools.node)
	if len(o.threadPools) > 0 {
		t.plain("vms", o.threadVMs)
	}
	return t.node
}
