package luatest

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"perigee/luavm"
)

// host is what the specs of one file are given: gateways, connections, a clock.
type host struct {
	suite *suite
	spec  string // path of the spec file
	vm    *specVM
	clock *clock
	pairs pairs

	mu       sync.Mutex
	gateways map[int]*gateway
	spoken   map[int]*spoken
	serial   int
	log      bytes.Buffer // what the spec's VM logged during this test
	ended    string       // what gateways logged that were closed during it
	problems []string     // what went wrong beside the test: in its stubs
}

func newHost(s *suite, spec string) *host {
	return &host{suite: s, spec: spec, clock: newClock(), gateways: map[int]*gateway{}, spoken: map[int]*spoken{}}
}

// close ends what the file has left open.
func (h *host) close() {
	h.closeAll()
	h.pairs.close()
	h.clock.close()
}

func (h *host) closeAll() {
	h.mu.Lock()
	left := h.gateways
	h.gateways = map[int]*gateway{}
	h.mu.Unlock()
	for _, g := range left {
		g.close()
	}
}

// vmOptions are those of the spec's own VM: what -c says, where there is one.
func (h *host) vmOptions() (vmOptions, error) {
	o := vmOptions{timeout: h.suite.Timeout, ask: h.ask, clock: h.clock}
	o.CPUBudget = h.suite.Budget
	o.Clock = h.clock
	o.LogLevel = luavm.LevelInfo
	o.Log = h.logLine
	o.Path = luaPath(h.spec, "")
	if h.suite.config == nil {
		o.Prefix = filepath.Dir(h.spec) + "/"
		return o, nil
	}
	o.Prefix = filepath.Clean(h.suite.config.Root()) + "/"
	o.Path, o.CPath = luaPath(h.spec, h.suite.config.Lua.Path), h.suite.config.Lua.CPath
	dicts := luavm.NewDicts()
	for name, size := range h.suite.config.Lua.SharedDicts {
		d, err := dicts.Declare(name, int64(size))
		if err != nil {
			return o, err
		}
		o.Dicts = append(o.Dicts, d)
	}
	return o, nil
}

// logLine keeps what scripts in the spec's VM log for the test's report.
func (h *host) logLine(_ *luavm.Slot, level int, line []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(&h.log, "[%s] %s\n", levelNames[min(level, len(levelNames)-1)], line)
}

var levelNames = [...]string{"stderr", "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"}

// beginTest forgets what a former test has logged.
func (h *host) beginTest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log.Reset()
	h.problems, h.ended = nil, ""
	for _, g := range h.gateways {
		g.mark()
	}
}

// endTest is what the test has logged; a gateway's log, which is long, only of
// tests that did not pass.
func (h *host) endTest(status Status) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := h.log.String()
	if status == Failed || status == Errored {
		text += h.ended
		for _, g := range h.gateways {
			text += g.sinceMark()
		}
	}
	return text
}

// problem notes what failed where no test could see it.
func (h *host) problem(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems = append(h.problems, text)
}

func (h *host) takeProblems() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := strings.Join(h.problems, "\n")
	h.problems = nil
	return text
}

// verbs are what specs can ask for, by name.
var verbs = map[string]func(h *host, op *luavm.Op, command *table) (any, error){
	"gateway":  (*host).openGateway,
	"reload":   (*host).reloadGateway,
	"close":    (*host).closeGateway,
	"request":  (*host).request,
	"raw":      (*host).raw,
	"log":      (*host).gatewayLog,
	"exchange": (*host).exchange,
	"receive":  (*host).receive,
	"send":     (*host).send,
}

// ask performs an op of a spec and returns {ok = value} or {error = text}.
func (h *host) ask(op *luavm.Op) []byte {
	value, err := h.perform(op)
	if err != nil {
		return encode(nil, newTable("error", err.Error()))
	}
	return encode(nil, newTable("ok", value))
}

func (h *host) perform(op *luavm.Op) (any, error) {
	got, err := decode(op.Data)
	if err != nil {
		return nil, err
	}
	command, ok := got.(*table)
	if !ok {
		return nil, errors.New("a spec asked for something that is not a table")
	}
	verb, ok := verbs[command.text("verb")]
	if !ok {
		return nil, fmt.Errorf("a spec asked for %q, which nobody knows", command.text("verb"))
	}
	return verb(h, op, command)
}

// gateway finds the gateway that a command is about.
func (h *host) gateway(command *table) (*gateway, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.gateways[command.integer("gateway")]; g != nil {
		return g, nil
	}
	return nil, errors.New("this gateway is closed: one that a test has made ends with it; make it in setup, or outside of tests, to use it in several")
}

// until calls f at growing intervals until it says true, for a second at most.
func until(f func() bool) {
	for wait, end := 50*time.Microsecond, time.Now().Add(time.Second); !f() && time.Now().Before(end); {
		time.Sleep(wait)
		wait = min(2*wait, 5*time.Millisecond)
	}
}
