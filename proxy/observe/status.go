package observe

import (
	"errors"
	"time"
)

// ErrReloading says that a reload did not start because another one is running
// or the gateway is draining. Any other error of a reload is about the
// configuration.
var ErrReloading = errors.New("another reload is running or the gateway is draining: try again when it is done")

// RouteInfo describes one route of the running snapshot for the admin listener.
type RouteInfo struct {
	Name     string   `json:"name"`
	Hosts    []string `json:"hosts,omitempty"`
	Paths    []string `json:"paths,omitempty"`
	Methods  []string `json:"methods,omitempty"`
	Priority int      `json:"priority,omitempty"`
	Internal bool     `json:"internal,omitempty"`
	// Filters are "stage/name" in the order in which they run.
	Filters []string `json:"filters,omitempty"`
	// Upstream is the upstream's name; "" when the route answers by itself.
	Upstream string `json:"upstream,omitempty"`
	Requests uint64 `json:"requests"`
}

// UpstreamInfo describes one upstream and its endpoints.
type UpstreamInfo struct {
	Name      string         `json:"name"`
	Balance   string         `json:"balance"`
	Endpoints []EndpointInfo `json:"endpoints"`
}

// EndpointInfo describes one address of an upstream.
type EndpointInfo struct {
	Address string `json:"address"`
	Weight  int    `json:"weight"`
	Healthy bool   `json:"healthy"`
	// State says more than Healthy: "up", "failing", "ejected", "backup", ...
	State    string `json:"state,omitempty"`
	InFlight int64  `json:"inflight"`
	Idle     int    `json:"idle_connections"`
	Requests uint64 `json:"requests"`
	Failures uint64 `json:"failures"`
	// LastError is the newest failure's text, LastFailure its time.
	LastError   string    `json:"last_error,omitempty"`
	LastFailure time.Time `json:"last_failure,omitzero"`
}

// LuaInfo describes the Lua side: VMs of all living generations, the running
// snapshot's scripts, the shared dictionaries.
type LuaInfo struct {
	Version string `json:"version"`
	// Hardened tells whether the linked LuaJIT can stop a compiled loop.
	Hardened   bool         `json:"hardened"`
	Generation uint64       `json:"generation"`
	VMs        []VMInfo     `json:"vms"`
	Scripts    []ScriptInfo `json:"scripts"`
	Dicts      []DictInfo   `json:"shared_dicts"`
}

// VMInfo describes one VM.
type VMInfo struct {
	Worker     int    `json:"worker"`
	Generation uint64 `json:"generation"`
	// State is "running", "draining", "retired" or "spare".
	State       string `json:"state"`
	MemoryBytes int64  `json:"memory_bytes"`
	LimitBytes  int64  `json:"limit_bytes"`
	// Pinned counts the exchanges that belong to the VM, Suspended those of
	// them that wait for something right now.
	Pinned    int64  `json:"pinned"`
	Suspended int64  `json:"suspended"`
	Timers    int64  `json:"timers"`
	Runs      uint64 `json:"runs"`
	Errors    uint64 `json:"errors"`
	Aborts    uint64 `json:"aborts"`
}

// ScriptInfo describes one script; the admin listener sorts them slowest first.
type ScriptInfo struct {
	Name   string `json:"name"`
	Route  string `json:"route,omitempty"`
	Stage  string `json:"stage"`
	Digest string `json:"digest"`
	Runs   uint64 `json:"runs"`
	Errors uint64 `json:"errors"`
	// TotalSeconds is time spent running Lua, waits excluded; P99Seconds is
	// the upper bound of the histogram's bucket.
	TotalSeconds float64 `json:"total_seconds"`
	P99Seconds   float64 `json:"p99_seconds"`
}

// DictInfo describes one shared dictionary.
type DictInfo struct {
	Name          string `json:"name"`
	CapacityBytes int64  `json:"capacity_bytes"`
	FreeBytes     int64  `json:"free_bytes"`
	Keys          int64  `json:"keys"`
	Evictions     uint64 `json:"evictions"`
}
