package luavm

// A Phase is what ngx.get_phase() answers in a handler. The numbers are
// PG_PHASE_* in perigee_ffi.h.
type Phase uint32

// The phases.
const (
	PhaseInit Phase = iota
	PhaseInitWorker
	PhaseSet
	PhaseRewrite
	PhaseAccess
	PhaseContent
	PhaseBalancer
	PhaseHeaderFilter
	PhaseBodyFilter
	PhaseLog
	PhaseTimer
	PhaseSSLCert
	PhaseSSLClientHello
	PhaseServerRewrite
	PhaseExitWorker
	phaseCount
)

var phaseNames = [phaseCount]string{
	"init", "init_worker", "set", "rewrite", "access", "content", "balancer",
	"header_filter", "body_filter", "log", "timer",
	"ssl_cert", "ssl_client_hello", "server_rewrite",
	"exit_worker",
}

// String is the phase's name in Lua.
func (p Phase) String() string {
	if p < phaseCount {
		return phaseNames[p]
	}
	return "unknown"
}
