package proxy

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"perigee/luavm"
	"perigee/proxy/auth"
	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/limit"
	"perigee/proxy/mapping"
	"perigee/proxy/observe"
	"perigee/proxy/script"
	"perigee/proxy/trace"
	"perigee/proxy/unit"
	"perigee/proxy/upstream"
	"perigee/ratelimit"
	"perigee/ratelimit/fleet"
)

// Snapshot is the immutable product of one configuration. Exchanges enter it at
// their start and leave it at their end; when it has been replaced and the last
// one has left, what it borrowed is given back.
//
//	reload:  build B aside ---> current = B ---> A.retire: no more entries
//	                                              A's last exchange leaves
//	                                              A.close: groups, VMs
type Snapshot struct {
	File          *config.File
	tables        tables
	routes        []*exchange.Route
	errorPages    map[int]exchange.ErrorPage
	inflightLimit int64
	variables     []variable
	maps          mapping.Set
	groups        map[string]*upstream.Group
	open          []*upstream.Group // of routes with a target
	access        *accessLog        // of routes that have none of their own
	routeLogs     []*accessLog
	logFiles      []string         // that are open
	secrets       exchange.Secrets // what logs and traces do not show
	balancers     map[string]exchange.Filter
	handshakes    map[string]*script.Handshake // by listener address
	pool          *luavm.Pool
	dicts         []*luavm.Dict
	auth          *auth.Parts
	tracer        *trace.Tracer // nil: nothing is traced
	unmatched     *observe.RouteMetrics
	counters      *ratelimit.Table // nil: no route has limits
	limits        []*limit.Filter
	askers        []*limit.Asker          // limits of scripts that instances share
	fleets        map[string]*fleet.Fleet // stores of limits, by name
	state         *State

	retired atomic.Bool
	holds   [holdShards]hold
}

// hold counts the exchanges of a shard; each has a cache line of its own, so
// that entering on many cores does not meet at one counter.
type hold struct {
	n atomic.Int64
	_ [56]byte
}

const holdShards = 16

// enter holds the current snapshot for ex. A snapshot that is retired between
// the load and the count is left again: its closing has not looked yet, or sees
// this count.
func (g *Gateway) enter(ex *exchange.Exchange) *Snapshot {
	if ex.Record.Shard == 0 {
		ex.Record.Shard = g.state.Metrics.NextShard() | 1<<31
		if ex.Worker > 0 {
			ex.Record.Shard = uint32(ex.Worker) | 1<<31 // all of a loop's in one
		}
	}
	return g.hold(ex.Record.Shard)
}

// hold holds the current snapshot; Leave with the same shard ends it.
func (g *Gateway) hold(shard uint32) *Snapshot {
	for {
		snap := g.current.Load()
		snap.holds[shard%holdShards].n.Add(1)
		if !snap.retired.Load() {
			return snap
		}
		snap.Leave(shard)
	}
}

// Leave implements exchange.Snapshot.
func (s *Snapshot) Leave(shard uint32) { s.holds[shard%holdShards].n.Add(-1) }

// held is how many exchanges are in the snapshot.
func (s *Snapshot) held() (n int64) {
	for i := range s.holds {
		n += s.holds[i].n.Load()
	}
	return n
}

// retire closes the snapshot once its last exchange has left.
func (s *Snapshot) retire() {
	s.retired.Store(true)
	if s.pool != nil {
		s.pool.SetExiting()
	}
	go func() {
		for s.held() > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		s.close()
	}()
}

func (s *Snapshot) close() {
	s.state.Limits.Release(s.fleets)
	for _, g := range s.groups {
		g.Close()
	}
	for _, g := range s.open {
		g.Close()
	}
	s.closeLogs()
	if s.tracer != nil {
		s.state.traces.Return(s.tracer.Exporter)
	}
	s.auth.Close()
	if s.pool != nil {
		s.pool.Close()
		<-s.pool.Done()
	}
	for _, d := range s.dicts {
		d.Release()
	}
}

// build makes a snapshot of a checked configuration. Nothing of the running one
// changes; on error everything borrowed is given back.
func build(file *config.File, state *State) (_ *Snapshot, err error) {
	if unknown := file.CheckVariables(exchange.KnownVariable); len(unknown) > 0 {
		return nil, unknown
	}
	s := &Snapshot{
		File: file, state: state, groups: map[string]*upstream.Group{},
		errorPages:    config.Pages(file.ErrorPages),
		inflightLimit: int64(file.Limits.Inflight),
		variables:     variables(file),
		maps:          newMaps(file),
		secrets:       newSecrets(file),
		access:        newAccessLog(&file.AccessLog),
		unmatched:     state.Metrics.Route(""),
	}
	if s.access != nil {
		s.access.maps = s.maps
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for name, c := range file.Upstreams {
		g, err := upstream.NewGroup(state.Upstreams, name, c)
		if err != nil {
			return nil, err
		}
		s.groups[name] = g
	}
	if s.tracer, err = newTracer(file, state); err != nil {
		return nil, err
	}
	if s.auth, err = newAuth(file, state); err != nil {
		return nil, err
	}
	if s.dicts, err = declareDicts(file, state); err != nil {
		return nil, err
	}
	if file.Limited() {
		if s.counters, err = state.Limits.Prepare(int64(file.Limits.Counters)); err != nil {
			return nil, file.NewError("limits.counters", err.Error(), "use less memory")
		}
	}
	if s.fleets, err = state.Limits.Fleets(file.LimitStores()); err != nil {
		return nil, file.NewError("redis", err.Error(), "")
	}
	scriptLimits, askers, err := limit.ForScripts(file.RateLimits, s.limitBuild(""))
	if err != nil {
		return nil, err
	}
	s.askers = askers
	if s.pool, err = newPool(file, state, shared{s.dicts, scriptLimits}); err != nil {
		return nil, err
	}
	b := &builder{snapshot: s}
	if err := b.balancers(); err != nil {
		return nil, err
	}
	if err := b.handshakes(); err != nil {
		return nil, err
	}
	for i := range file.Routes {
		r, err := b.route(&file.Routes[i])
		if err != nil {
			return nil, placed(file, fmt.Sprintf("routes[%d]", i), err)
		}
		s.routes = append(s.routes, r)
		log := s.access
		if own := file.Routes[i].AccessLog; own != nil {
			log = newAccessLog(own)
		}
		s.routeLogs = append(s.routeLogs, log)
		r.Index = i
	}
	s.tables = newTables(file)
	if err := s.pool.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// placed gives an error of a script in the lua block at path its position in
// the file.
func placed(file *config.File, path string, err error) error {
	var syntax *script.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	var lua *luavm.ScriptError
	message := syntax.Err.Error()
	if errors.As(syntax.Err, &lua) {
		message = lua.Message
	}
	at := syntax.Path
	if at == "" {
		at = "lua." + syntax.Key
	}
	return file.NewError(path+"."+at, "Lua: "+message, "")
}

// builder makes the routes of a snapshot.
type builder struct{ snapshot *Snapshot }

// balancers makes the filters of upstreams whose endpoints a script chooses.
func (b *builder) balancers() error {
	s := b.snapshot
	s.balancers = make(map[string]exchange.Filter)
	for name, c := range s.File.Upstreams {
		if c.BalancerScript() == nil {
			continue
		}
		f, err := script.NewBalancer(s.pool, name, c.Lua, b.scripts())
		if err != nil {
			return placed(s.File, unit.Join("upstreams", name), err)
		}
		s.balancers[name] = f
	}
	return nil
}

func (b *builder) route(c *config.Route) (*exchange.Route, error) {
	s := b.snapshot
	r := &exchange.Route{
		Name: c.Name, Internal: c.Internal,
		BodyLimit:       int64(s.File.Limits.BodyBytes),
		BodyBuffer:      int64(s.File.Limits.BodyBuffer),
		IfModifiedSince: c.IfModifiedSince.Policy(),
		DocumentRoot:    c.DocumentRoot,
		Metrics:         s.state.Metrics.Route(c.Name),
		DefaultType:     s.File.DefaultType, ErrorPages: s.errorPages,
	}
	if c.DefaultType != nil {
		r.DefaultType = *c.DefaultType
	}
	if c.ErrorPages != nil {
		r.ErrorPages = config.Pages(c.ErrorPages)
	}
	if c.BodyBytes != nil {
		r.BodyLimit = int64(*c.BodyBytes)
	}
	if c.BodyBuffer != nil {
		r.BodyBuffer = int64(*c.BodyBuffer)
	}
	if r.DocumentRoot == "" {
		r.DocumentRoot = filepath.Join(s.File.Root(), "html")
	}
	switch {
	case c.Upstream != "":
		r.Outlet = b.outlet(c, c.Upstream)
	case !c.Proxy.Target.IsZero():
		if err := b.target(r, c); err != nil {
			return nil, err
		}
	}
	return r, b.filters(r, c)
}

// outlet joins a route with an upstream.
func (b *builder) outlet(c *config.Route, name string) exchange.Outlet {
	s := b.snapshot
	group := s.groups[name]
	return exchange.Outlet{
		Group: group, Endpoints: len(group.Info()), Balancer: s.balancers[name],
		Proxy: proxyPolicy(c, s.File.Upstreams[name]),
	}
}

// target gives a route all the outlets that its target may name.
func (b *builder) target(r *exchange.Route, c *config.Route) error {
	s := b.snapshot
	var settings upstream.Config
	settings.SetDefaults()
	// A colon keeps the name apart from those of upstreams.
	group, err := upstream.NewOpenGroup(s.state.Upstreams, "route:"+c.Name, &settings, c.Proxy.TLS)
	if err != nil {
		return err
	}
	s.open = append(s.open, group)
	r.Outlet = exchange.Outlet{Group: group, Proxy: proxyPolicy(c, &settings)}
	if c.Proxy.Host.IsZero() {
		r.Outlet.Proxy.Host = exchange.HostTarget
	}
	r.Target = &exchange.Target{Text: c.Proxy.Target, Named: make(map[string]*exchange.Outlet)}
	for name := range s.File.Upstreams {
		o := b.outlet(c, name)
		r.Target.Named[name] = &o
	}
	return nil
}

// proxyPolicy joins what upstream and route say about sending on.
func proxyPolicy(c *config.Route, u *upstream.Config) exchange.Proxy {
	p := exchange.Proxy{
		Intercept: c.Proxy.InterceptErrors,
		Via:       c.Proxy.Via,
		Close:     c.Proxy.Close, Buffering: c.Proxy.Buffering,
		PassForwarded: c.Proxy.Forwarded == config.ForwardedPass,
		Path:          escapedPath(c.Proxy.Path),
		Replaces:      c.Match.Paths,
		Hide:          c.Proxy.Hide,
		Timeouts:      u.Timeouts.Timeouts().Override(c.Timeouts),
	}
	for _, r := range c.Proxy.Redirects {
		p.Redirects = append(p.Redirects, exchange.Redirect{From: r.From, Match: r.Match.Regexp, To: r.To})
	}
	host := u.Host
	if !c.Proxy.Host.IsZero() {
		host = c.Proxy.Host
	}
	switch text, literal := host.Literal(); {
	case literal && text == upstream.HostPass, host.IsZero():
		p.Host = exchange.HostPass
	case literal && text == upstream.HostEndpoint:
		p.Host = exchange.HostEndpoint
	default:
		p.Host, p.HostValue = exchange.HostTemplate, host
	}
	retry := &u.Retry
	if c.Retry != nil {
		retry = c.Retry
	}
	p.Attempts, p.RetryWithin, p.RetryAny = retry.Attempts, retry.Within.Std(), retry.AnyMethod
	for _, on := range retry.On {
		p.Retry |= retryFlags[on]
	}
	for name, value := range c.Proxy.Headers {
		p.SetHeaders = append(p.SetHeaders, exchange.HeaderTemplate{Name: name, Value: value})
	}
	return p
}

// escapedPath is a path as it is sent.
func escapedPath(path string) string { return string(exchange.AppendEscaped(nil, []byte(path))) }

var retryFlags = map[upstream.RetryCondition]exchange.RetryOn{
	upstream.RetryConnect: exchange.RetryConnect,
	upstream.RetryReset:   exchange.RetryBroken,
	upstream.RetryTimeout: exchange.RetryTimeout,
	upstream.Retry403:     exchange.Retry403,
	upstream.Retry404:     exchange.Retry404,
	upstream.Retry429:     exchange.Retry429,
	upstream.Retry500:     exchange.Retry500,
	upstream.Retry502:     exchange.Retry502,
	upstream.Retry503:     exchange.Retry503,
	upstream.Retry504:     exchange.Retry504,
}

// observe counts a finished exchange and writes its access line.
func (s *Snapshot) observe(ex *exchange.Exchange) {
	rec := &ex.Record
	if rec.Status == 0 {
		rec.Status = ex.Resp.StatusCode()
	}
	metrics, log := s.unmatched, s.access
	if ex.Route != nil {
		metrics, log = ex.Route.Metrics, s.routeLogs[ex.Route.Index]
	}
	metrics.Observe(rec, ex.Tally)
	s.state.observe(ex)
	log.write(ex)
}
