package proxy

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"perigee/luavm"
	"perigee/proxy/auth"
	"perigee/proxy/exchange"
	"perigee/proxy/limit"
	"perigee/proxy/observe"
	"perigee/proxy/script"
	"perigee/proxy/sockets"
	"perigee/proxy/trace"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// State is what outlives a reload: numbers, logs, shared dictionaries and the
// connections to endpoints, each found again by name. A snapshot borrows from
// it.
type State struct {
	Metrics   *observe.Metrics
	Upstreams *upstream.Registry
	Dicts     *luavm.Dicts
	Auth      *auth.Registry
	Limits    *limit.Store
	Log       *observe.Log
	// Listen binds a listener's address; nil: the network's. Set, as Clock,
	// before NewServer: for tests.
	Listen func(address string) (net.Listener, error)
	// Sockets are listening sockets that the process was started with; nil: none.
	// Set before the first Apply.
	Sockets *sockets.Set
	// Clock is what scripts take the time from; nil: the machine's.
	Clock luavm.Clock
	// Dial connects scripts' sockets; nil: the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	logs   logFiles
	traces trace.Exporters
	// access is the log of requests that never became exchanges.
	access atomic.Pointer[accessLog]
}

// NewState makes the state of a process. log is where it reports to.
func NewState(build observe.BuildInfo, log *observe.Log) *State {
	s := &State{
		Metrics: observe.NewMetrics(build), Upstreams: upstream.NewRegistry(),
		Dicts: luavm.NewDicts(), Limits: limit.NewStore(), Log: log,
	}
	s.Limits.Report = s.problem
	s.Upstreams.SetMetrics(s.Metrics)
	s.Auth = auth.NewRegistry(s.Metrics, func(level observe.Level, message string) { log.Print(level, nil, message) })
	return s
}

// observe counts what the record says beyond route and endpoints.
func (s *State) observe(ex *exchange.Exchange) {
	rec := &ex.Record
	if rec.Abort == observe.AbortClientGone || rec.Abort == observe.AbortClientTimeout {
		s.Metrics.ClientAborts.Inc()
	}
}

// refused notes a request that never became an exchange, in metrics and access
// log as one without a route.
func (s *State) refused(conn *exchange.Conn, why *wire.Error) {
	rec := observe.Record{
		Start: time.Now(), Connection: conn.ID, Serial: uint32(conn.Requests + 1),
		Peer: conn.Peer, Client: conn.Peer, Listener: conn.Listener,
		Status: why.Status, Abort: observe.AbortClientProtocol,
	}
	s.Metrics.Route("").Observe(&rec, nil)
	s.access.Load().writeRefused(conn, &rec)
	if s.Log.Enabled(observe.LevelInfo) {
		s.Log.Print(observe.LevelInfo, &rec, "client sent a request that was refused: "+why.Text)
	}
}

func (s *State) failed(ex *exchange.Exchange, status int, why string) {
	if status >= 500 && s.Log.Enabled(observe.LevelWarn) {
		s.Log.Print(observe.LevelWarn, &ex.Record, "answered "+strconv.Itoa(status)+" by the gateway itself: "+why)
	}
}

func (s *State) attemptFailed(ex *exchange.Exchange, err error) {
	level := observe.LevelError
	if errors.Is(err, upstream.ErrUnserved) {
		level = observe.LevelInfo // the way of endpoints to end a shared connection
	}
	if ex.Aborted() || !s.Log.Enabled(level) {
		return
	}
	s.Log.Print(level, &ex.Record, err.Error())
}

// report writes what a filter has to say of an exchange.
func (s *State) report(level observe.Level, ex *exchange.Exchange, message string) {
	if s.Log.Enabled(level) {
		s.Log.Print(level, &ex.Record, message)
	}
}

// fileFailed notes that a file ended before its time or could not be read.
func (s *State) fileFailed(ex *exchange.Exchange, err error) {
	s.Log.Print(observe.LevelError, &ex.Record, "a file could not be read to its end while it was sent: "+err.Error())
}

// problem reports what concerns no exchange.
func (s *State) problem(message string) { s.Log.Print(observe.LevelError, nil, message) }

// close ends what the state holds; the log stays open for those who report
// after it.
func (s *State) close() {
	s.Upstreams.Close()
	s.Limits.Close()
	s.Auth.Close()
	s.logs.closeAll(closeLimit)
}

// Scripts is how scripts report to the state.
func (s *State) Scripts() script.Report {
	return script.Report{
		Metrics: s.Metrics.Script,
		Failed: func(ex *exchange.Exchange, err *luavm.ScriptError) string {
			id := string(ex.Record.ID[:])
			s.countAbort(err)
			s.Log.Print(observe.LevelError, &ex.Record, err.Error()+"\n"+err.Traceback+"\nid: "+id)
			return id
		},
		Handshake: func(err *luavm.ScriptError) {
			s.problem("TLS handshake: " + err.Error() + "\n" + err.Traceback)
		},
		Refused: func(ex *exchange.Exchange, err error) {
			s.Log.Print(observe.LevelError, &ex.Record, err.Error())
		},
	}
}

// countAbort counts a script that was stopped.
func (s *State) countAbort(err *luavm.ScriptError) {
	switch err.Kind {
	case luavm.ErrBudget, luavm.ErrMemory, script.KindTotalTime:
		s.Metrics.LuaAborts.With(string(err.Kind)).Inc()
	case luavm.ErrLost:
		s.Metrics.LuaAborts.With("jump").Inc()
	}
}

// failedOutside counts a script that failed outside of exchanges.
func (s *State) failedOutside(err *luavm.ScriptError) {
	s.Metrics.Script(err.Script).Errors.With(string(err.Kind)).Inc()
	s.countAbort(err)
}
