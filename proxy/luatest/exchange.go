package luatest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"

	"perigee/luavm"
)

// An exchange is a request that a spec makes up, for a function that it calls
// as a phase would: the function has the real ngx, whose request, response and
// variables are the made up ones. What became of them the function's VM shows
// itself, in a log phase: lua/exchange.lua.

// phases by the names that configurations and nginx's directives have for them.
var phases = map[string]luavm.Phase{
	"rewrite": luavm.PhaseRewrite, "access": luavm.PhaseAccess, "content": luavm.PhaseContent,
	"header_filter": luavm.PhaseHeaderFilter, "body_filter": luavm.PhaseBodyFilter, "log": luavm.PhaseLog,
}

// exchange is the verb exchange: {id, phase, head, method, uri, args, host,
// from, variables, response, body}. The reply is {kind, status, output}: how the
// function ended.
func (h *host) exchange(op *luavm.Op, command *table) (any, error) {
	phase, ok := phases[command.text("phase")]
	if !ok {
		return nil, fmt.Errorf("perigee.exchange knows no phase %q: it can be rewrite, access, content, header_filter, body_filter or log", command.text("phase"))
	}
	slot, err := op.Slot().Beside()
	if err != nil {
		return nil, err
	}
	defer slot.Release()
	e := &madeUp{host: h, slot: slot, command: command}
	if err := e.fill(); err != nil {
		return nil, err
	}
	reply, err := e.run(phase)
	if err != nil {
		return nil, err
	}
	// The second handler tells the spec what the first has left.
	e.in.Data = nil
	out := slot.Start(h.vm.observe, luavm.PhaseLog, &e.in)
	if out.Kind == luavm.Failed {
		return nil, out.Err
	}
	return reply, nil
}

// madeUp is an exchange under way.
type madeUp struct {
	host    *host
	slot    *luavm.Slot
	command *table
	in      luavm.Input
	output  strings.Builder
	giveUp  func()
	refused atomic.Uint32 // an op that cannot be performed here
}

func (e *madeUp) fill() error {
	c := e.command
	client, err := clientAddr(c.text("from"))
	if err != nil {
		return err
	}
	remote, port, _ := strings.Cut(client.String(), ":")
	uri, err := url.PathUnescape(c.text("path"))
	if err != nil {
		return fmt.Errorf("path %q: %w", c.text("path"), err)
	}
	scheme := "http"
	if c.is("tls") {
		scheme = "https"
		e.slot.SetFlags(luavm.FlagTLS)
	}
	values := map[luavm.Variable]string{
		luavm.VarURI: uri, luavm.VarArgs: c.text("query"), luavm.VarRequestURI: c.text("target"),
		luavm.VarMethod: c.text("method"), luavm.VarHost: c.text("host"), luavm.VarScheme: scheme,
		luavm.VarProtocol: "HTTP/1.1", luavm.VarRemoteAddr: remote, luavm.VarRemotePort: port,
		luavm.VarServerAddr: "127.0.0.1", luavm.VarServerPort: "8080", luavm.VarServerName: c.text("host"),
		luavm.VarRequestID: strings.Repeat("0", 32), luavm.VarRoute: "spec",
	}
	for variable, value := range values {
		err = errors.Join(err, e.slot.SetVarString(variable, value))
	}
	for name, value := range c.sub("variables").all() {
		text, known := value.(string)
		if !known {
			text = fmt.Sprint(value)
		}
		err = errors.Join(err, e.slot.SetExtra(strings.ToLower(name), []byte(text)))
	}
	err = errors.Join(err, e.slot.SetExtra("perigee_spec", fmt.Append(nil, c.integer("id"))))
	e.slot.SetNumbers(&luavm.Numbers{
		StartNS: 1, Connection: 1, ConnectionRequests: 1, HTTPMinor: 1,
	})
	e.in.Head = []byte(c.text("head"))
	if response := c.sub("response"); response != nil {
		e.in.Resp = []byte(response.text("head"))
		e.in.Data = []byte(response.text("body"))
		e.slot.SetStatus(response.integer("status"))
	}
	return err
}

// all are the fields of a table; none when t is nil.
func (t *table) all() map[string]any {
	if t == nil {
		return nil
	}
	return t.fields
}

func (e *madeUp) run(phase luavm.Phase) (any, error) {
	vm := e.host.vm
	ctx, cancel := vm.bounded()
	defer cancel()
	if phase == luavm.PhaseBodyFilter {
		e.slot.BeginChunk(true)
	}
	out := e.slot.Start(vm.exchange, phase, &e.in)
	chunk := e.in.Data
	e.in.Data = nil
	e.giveUp = cancel
	d := driven{perform: e.perform, resuming: e.resuming, in: &e.in}
	out, err := vm.drive(ctx, e.slot, out, d)
	if kind := e.refused.Load(); kind != 0 {
		return nil, fmt.Errorf("the function waits for something that only a gateway has (op %d, such as a subrequest): stub it, or use perigee.gateway", kind)
	}
	if err != nil {
		return nil, err
	}
	if phase == luavm.PhaseBodyFilter {
		chunk, _ = e.slot.EndChunk(chunk)
		e.output.Write(chunk)
		e.slot.ClearOutput()
	}
	e.takeOutput()
	switch out.Kind {
	case luavm.Failed:
		return nil, errors.New(out.Err.Message + "\n" + out.Err.Traceback)
	case luavm.Exit:
		return newTable("exit", int(out.Status), "output", e.output.String()), nil
	}
	return newTable("output", e.output.String()), nil
}

// takeOutput gathers what was printed.
func (e *madeUp) takeOutput() {
	e.output.Write(e.slot.Output())
	e.slot.ClearOutput()
}

// perform carries out what the function waits for; what concerns the request is
// done when it goes on.
func (e *madeUp) perform(op *luavm.Op) {
	switch op.Kind {
	case luavm.OpReadBody, luavm.OpDiscardBody, luavm.OpFlush, luavm.OpEOF, luavm.OpSendHeaders:
		return
	}
	defer func() {
		if recover() != nil { // luavm knows no such op
			e.refused.Store(uint32(op.Kind))
			e.giveUp()
		}
	}()
	e.host.vm.perform(op)
}

func (e *madeUp) resuming(op *luavm.Op) {
	switch op.Kind {
	case luavm.OpReadBody, luavm.OpDiscardBody:
		if op.Kind == luavm.OpReadBody {
			e.in.Body = []byte(e.command.text("body"))
		}
		e.slot.SetFlags(luavm.FlagBodyRead)
	case luavm.OpFlush, luavm.OpEOF, luavm.OpSendHeaders:
		e.takeOutput()
		e.slot.SetFlags(luavm.FlagHeadersSent)
	}
}
