package luavm

import (
	"errors"
	"strings"
)

// ErrBusy says that every VM has as many suspended exchanges as
// Options.MaxSuspended allows. The request is to be refused (503).
var ErrBusy = errors.New("luavm: too many exchanges are suspended in Lua (raise the cap or shed load)")

// ErrClosed says that the pool was closed: it belongs to an old configuration.
var ErrClosed = errors.New("luavm: the pool is closed")

// An ErrorKind says why a script failed. The values are label values of
// perigee_lua_errors_total.
type ErrorKind string

// The kinds of script errors.
const (
	ErrSyntax  ErrorKind = "syntax"  // does not compile
	ErrRuntime ErrorKind = "runtime" // error() or a Lua error
	ErrBudget  ErrorKind = "budget"  // used more CPU than Options.CPUBudget between two waits
	ErrMemory  ErrorKind = "memory"  // the VM's memory limit was reached
	ErrLost    ErrorKind = "lost"    // its VM was abandoned, by this script or another
)

// ErrorKinds lists the kinds in a fixed order, for counters.
var ErrorKinds = [...]ErrorKind{ErrSyntax, ErrRuntime, ErrBudget, ErrMemory, ErrLost}

// A ScriptError is a failed script. Nothing in it is fit for a client.
type ScriptError struct {
	Kind      ErrorKind
	Message   string // one line, with chunk name and line as Lua gives it
	Traceback string // "stack traceback:\ncoroutine 0:\n\t..."; may be empty
	Script    string // Source.Name
}

// Error is the message in one line, with the script's name.
func (e *ScriptError) Error() string {
	var b strings.Builder
	b.WriteString("lua ")
	b.WriteString(string(e.Kind))
	b.WriteString(" error")
	if e.Script != "" {
		b.WriteString(" in script ")
		b.WriteString(e.Script)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	return b.String()
}
