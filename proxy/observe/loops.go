package observe

import (
	"strconv"
	"time"
)

// LoopInfo is what one event loop has done so far.
type LoopInfo struct {
	Polls, Events, Exchanges uint64
	// GoroutineOps are ops that goroutines have performed because they block.
	GoroutineOps uint64
	// Taken are connections that came after their TLS handshakes, Tunnels those
	// that went to goroutines after an upgrade.
	Taken, Tunnels uint64
	Busy           time.Duration // outside of polls
	Connections    int64
	// Longest is the longest turn, from one poll to the next, of the last minute;
	// Stage and Script name the longest run of Lua in it, if there was one.
	Longest       time.Duration
	Stage, Script string
}

// writeLoops tells how the event loops fare, and how much they serve.
func (m *Metrics) writeLoops(e *exposition) {
	src := m.sources.Load()
	if src == nil || src.Loops == nil {
		return
	}
	loops := src.Loops()
	e.family("perigee_driver_exchanges_total", "counter", "Exchanges begun, by the driver that moves them.")
	var total uint64
	for i := range loops {
		total += loops[i].Exchanges
	}
	e.labels("driver", "loop")
	e.count(total)
	e.labels("driver", "goroutine")
	e.integer(m.GoroutineExchanges.Value())
	for _, f := range [...]struct {
		name, help string
		value      func(*LoopInfo) uint64
	}{
		{"perigee_loop_polls_total", "Wake-ups of an event loop.", func(l *LoopInfo) uint64 { return l.Polls }},
		{"perigee_loop_events_total", "Events that an event loop was woken for.", func(l *LoopInfo) uint64 { return l.Events }},
		{"perigee_loop_exchanges_total", "Exchanges that an event loop has begun.", func(l *LoopInfo) uint64 { return l.Exchanges }},
		{"perigee_loop_goroutine_ops_total", "Ops of a loop's exchanges that goroutines have performed because they block.", func(l *LoopInfo) uint64 { return l.GoroutineOps }},
	} {
		e.family(f.name, "counter", f.help)
		for i := range loops {
			e.labels("loop", strconv.Itoa(i))
			e.count(f.value(&loops[i]))
		}
	}
	e.family("perigee_loop_handovers_total", "counter", "Connections that changed between an event loop and goroutines: they came after the TLS handshake, or went to be a tunnel after an upgrade.")
	for i := range loops {
		e.labels("loop", strconv.Itoa(i), "reason", "handshake")
		e.count(loops[i].Taken)
		e.labels("loop", strconv.Itoa(i), "reason", "upgrade")
		e.count(loops[i].Tunnels)
	}
	e.family("perigee_loop_busy_seconds_total", "counter", "Time that an event loop was not in a poll.")
	for i := range loops {
		e.labels("loop", strconv.Itoa(i))
		e.float(loops[i].Busy.Seconds())
	}
	e.family("perigee_loop_connections", "gauge", "Client connections of an event loop.")
	for i := range loops {
		e.labels("loop", strconv.Itoa(i))
		e.integer(loops[i].Connections)
	}
	e.family("perigee_loop_longest_turn_seconds", "gauge", "The longest time between two polls in the last minute, and the longest run of Lua in it.")
	for i := range loops {
		e.labels("loop", strconv.Itoa(i), "stage", loops[i].Stage, "script", loops[i].Script)
		e.float(loops[i].Longest.Seconds())
	}
}
