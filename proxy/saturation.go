package proxy

import (
	"context"
	"time"

	"perigee/proxy/observe"
)

// watchSaturation names the parts that perigee_saturation_ratio is the largest
// of, and samples them until the server is closed.
func (s *Server) watchSaturation() {
	m := s.state.Metrics
	m.Saturation.Add(observe.Part{Name: "inflight", Level: func() float64 {
		snap := s.gateway.current.Load()
		if snap == nil || snap.inflightLimit == 0 {
			return 0
		}
		return float64(m.InFlight.Value()) / float64(snap.inflightLimit)
	}})
	m.Saturation.Add(observe.Part{
		Name: "lua",
		Busy: func() time.Duration {
			snap := s.gateway.current.Load()
			if snap == nil {
				return 0
			}
			var seconds float64
			for _, vm := range snap.pool.Stats().VMs {
				seconds += vm.LockedSeconds
			}
			return time.Duration(seconds * float64(time.Second))
		},
		Workers: func() int {
			if snap := s.gateway.current.Load(); snap != nil {
				return snap.pool.Workers()
			}
			return 1
		},
	})
	m.Saturation.Add(observe.Part{
		Name: "loop",
		Busy: func() (busy time.Duration) {
			for _, l := range s.loopStats() {
				busy += l.Busy
			}
			return busy
		},
		Workers: func() int { return max(1, len(s.loopStats())) },
	})
	if part, err := observe.CgroupThrottled(); err == nil {
		m.Saturation.Add(part)
	}
	m.SetSources(observe.Sources{
		Loops:      s.loopStats,
		LimitTable: s.state.Limits.Table, LimitStores: s.state.Limits.Stores, LimitErrors: s.limitErrors,
		Custom: scriptMetrics,
		LuaMemoryBytes: func() (total int64) {
			if snap := s.gateway.current.Load(); snap != nil {
				for _, vm := range snap.pool.Stats().VMs {
					total += int64(vm.Memory)
				}
			}
			return total
		},
		LuaVMs: func() int {
			if snap := s.gateway.current.Load(); snap != nil {
				return snap.pool.Workers()
			}
			return 0
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go m.Saturation.Run(ctx)
}
