package proxy

import (
	"io"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// WriteMetrics writes all metrics in Prometheus' text format.
func (s *Server) WriteMetrics(w io.Writer) error { return s.state.Metrics.WritePrometheus(w) }

// Config is the running configuration with secrets masked.
func (s *Server) Config() (masked []byte, err error) {
	if snap := s.gateway.current.Load(); snap != nil {
		return snap.File.Masked()
	}
	return nil, nil
}

// Digest identifies the running configuration; "" while there is none.
func (s *Server) Digest() string {
	if snap := s.gateway.current.Load(); snap != nil {
		return snap.File.Digest()
	}
	return ""
}

// Reloaded counts the outcome of a reload, applied or refused, or a start with
// the last good configuration: last_good.
func (s *Server) Reloaded(outcome string) {
	s.state.Metrics.Reloads.With(outcome).Inc()
	stale := int64(1)
	if outcome == "applied" {
		stale = 0
	}
	s.state.Metrics.ConfigStale.Set(stale)
}

// Reopen opens log files anew, after they were moved away.
func (s *Server) Reopen() {
	if err := s.state.Log.Reopen(); err != nil {
		s.state.problem("reopen log: " + err.Error())
	}
	if err := s.state.logs.reopen(); err != nil {
		s.state.problem("reopen access log: " + err.Error())
	}
}

// Routes describes the routes of the running configuration.
func (s *Server) Routes() []observe.RouteInfo {
	snap := s.gateway.current.Load()
	if snap == nil {
		return nil
	}
	infos := make([]observe.RouteInfo, 0, len(snap.routes))
	for i, r := range snap.routes {
		c := &snap.File.Routes[i]
		info := observe.RouteInfo{
			Name: r.Name, Methods: c.Match.Methods, Priority: c.Priority, Internal: r.Internal,
			Upstream: c.Upstream, Requests: r.Metrics.Requests(),
		}
		for _, h := range c.Match.Hosts {
			info.Hosts = append(info.Hosts, h.String())
		}
		for _, p := range c.Match.Paths {
			info.Paths = append(info.Paths, p.String())
		}
		for stage := range exchange.StageCount {
			for _, f := range r.Steps[stage] {
				info.Filters = append(info.Filters, stage.String()+"/"+f.Name())
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// Upstreams describes the upstreams of the running configuration.
func (s *Server) Upstreams() []observe.UpstreamInfo {
	snap := s.gateway.current.Load()
	if snap == nil {
		return nil
	}
	var infos []observe.UpstreamInfo
	for name, g := range snap.groups {
		info := observe.UpstreamInfo{Name: name, Balance: string(snap.File.Upstreams[name].Balance)}
		for _, e := range g.Info() {
			state := "up"
			if e.Avoided {
				state = "failing"
			}
			info.Endpoints = append(info.Endpoints, observe.EndpointInfo{
				Address: e.Address, Weight: e.Weight, Healthy: !e.Avoided, State: state,
				InFlight: e.InFlight, Idle: e.Idle, Failures: e.Failed,
				Requests: s.state.Metrics.Endpoint(name, e.Address).Requests(),
			})
		}
		infos = append(infos, info)
	}
	return infos
}

// Lua describes VMs, scripts and shared dictionaries.
func (s *Server) Lua() observe.LuaInfo {
	info := observe.LuaInfo{Version: luavm.Build(), Hardened: luavm.Hardened()}
	snap := s.gateway.current.Load()
	if snap == nil {
		return info
	}
	stats := snap.pool.Stats()
	for _, vm := range stats.VMs {
		info.VMs = append(info.VMs, observe.VMInfo{
			Worker: vm.Worker, State: "running", MemoryBytes: int64(vm.Memory),
			Pinned: int64(vm.Slots), Suspended: int64(vm.Suspended),
		})
	}
	for _, sc := range stats.Scripts {
		var errors uint64
		for _, n := range sc.Errors {
			errors += n
		}
		info.Scripts = append(info.Scripts, observe.ScriptInfo{
			Name: sc.Name, Runs: sc.Runs, Errors: errors, TotalSeconds: sc.Seconds,
		})
	}
	for _, d := range s.state.Dicts.Stats() {
		info.Dicts = append(info.Dicts, observe.DictInfo{
			Name: d.Name, CapacityBytes: int64(d.Capacity), FreeBytes: int64(d.Free), Keys: int64(d.Items), Evictions: d.Evicted,
		})
	}
	return info
}

// Crossings is how often Go has entered C to run scripts of the running
// configuration.
func (s *Server) Crossings() (n uint64) {
	for _, vm := range s.gateway.current.Load().pool.Stats().VMs {
		n += vm.Crossings
	}
	return n
}

// Limits describes the limits of the running configuration.
func (s *Server) Limits() observe.LimitsInfo {
	info := observe.LimitsInfo{Table: s.state.Limits.Table(), Stores: s.state.Limits.Stores(), Limits: []observe.LimitInfo{}}
	if snap := s.gateway.current.Load(); snap != nil {
		for _, f := range snap.limits {
			info.Limits = append(info.Limits, f.Infos()...)
		}
	}
	return info
}

// ResetLimit lets a key of a limit start afresh; id is as Limits has it.
func (s *Server) ResetLimit(name, id string) (found bool) {
	if snap := s.gateway.current.Load(); snap != nil {
		for _, f := range snap.limits {
			found = f.Reset(name, id) || found
		}
	}
	return found
}

// limitErrors are the error ratios of limits that are leased, by name.
func (s *Server) limitErrors() map[string]float64 {
	ratios := map[string]float64{}
	if snap := s.gateway.current.Load(); snap != nil {
		for _, f := range snap.limits {
			f.ErrorRatios(ratios)
		}
		for _, a := range snap.askers {
			a.ErrorRatios(ratios)
		}
	}
	return ratios
}
