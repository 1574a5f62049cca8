package luatest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"perigee/luavm"
)

// specVM runs one spec file: a pool with a single VM.
type specVM struct {
	pool *luavm.Pool
	// The handlers: a step of a test, a stub's answer, a function in an
	// exchange that is made up, and what that has left.
	step, answer, exchange, observe *luavm.Script
	dicts                           []*luavm.Dict
	// ask performs what only the host can do and returns the encoded reply.
	ask   func(op *luavm.Op) []byte
	clock *clock
	// timeout bounds a step, in real time.
	timeout time.Duration
}

// vmOptions is what a spec's VM takes from outside.
type vmOptions struct {
	luavm.Options
	timeout time.Duration
	clock   *clock
	ask     func(op *luavm.Op) []byte
}

func openVM(o vmOptions) (*specVM, error) {
	o.Modules = luaModules()
	o.MemoryLimit = 1 << 30
	pool, err := luavm.NewPool(o.Options)
	if err != nil {
		return nil, err
	}
	vm := &specVM{pool: pool, ask: o.ask, timeout: o.timeout, clock: o.clock, dicts: o.Dicts}
	for name, script := range map[string]**luavm.Script{
		"step": &vm.step, "answer": &vm.answer, "exchange": &vm.exchange, "observe": &vm.observe,
	} {
		*script, err = pool.Add(luavm.Source{Name: name, Chunk: "=perigee/spec/" + name, Text: handlers[name]})
		if err != nil {
			panic("BUG: a handler of specs: " + err.Error())
		}
	}
	if err = pool.Start(); err != nil {
		pool.Close()
		return nil, err
	}
	return vm, nil
}

func (vm *specVM) close() {
	vm.pool.Close()
	<-vm.pool.Done()
	for _, d := range vm.dicts {
		d.Release()
	}
}

// luaPath is where a spec's modules are looked for: beside it, in the folders
// that projects keep them in, then where the configuration says.
func luaPath(spec, configured string) string {
	dir := filepath.Dir(spec)
	var b strings.Builder
	for _, root := range []string{dir, filepath.Join(dir, ".."), ".", "lua", "src"} {
		fmt.Fprintf(&b, "%s/?.lua;%s/?/init.lua;", root, root)
	}
	if configured == "" {
		configured = ";;"
	}
	return b.String() + configured
}

// errTimeout is the end of a step that took longer than it may.
var errTimeout = errors.New("the test took longer than -timeout allows")

// do runs a step of a test.
func (vm *specVM) do(verb string, argument any) (any, error) {
	ctx, cancel := vm.bounded()
	defer cancel()
	return vm.call(ctx, vm.step, newTable(verb, argument), vm.clock)
}

func (vm *specVM) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), vm.timeout)
}

// call runs a handler with a command for it, and returns what it answered. actor
// is the clock that its waits are actors of, nil for none.
func (vm *specVM) call(ctx context.Context, script *luavm.Script, command *table, actor *clock) (any, error) {
	slot, err := vm.pool.Pin(0)
	if err != nil {
		return nil, err
	}
	defer slot.Release()
	out := slot.Start(script, luavm.PhaseTimer, &luavm.Input{Data: encode(nil, command)})
	out, err = vm.drive(ctx, slot, out, driven{perform: vm.perform, in: &luavm.Input{}, clock: actor})
	switch {
	case err != nil:
		return nil, err
	case out.Kind == luavm.Failed:
		return nil, out.Err
	case out.Kind == luavm.Exit:
		return nil, fmt.Errorf("ngx.exit(%d) was called by the spec itself: call it within perigee.exchange", out.Status)
	}
	return decode(slot.Output())
}

// driven is what a handler's driver does for it.
type driven struct {
	in *luavm.Input // lent again each time it goes on
	// perform carries out an op, on any goroutine.
	perform func(op *luavm.Op)
	// resuming is called before a thread goes on, nil if nobody cares.
	resuming func(op *luavm.Op)
	// clock has an actor for each op; nil: somebody else is the actor already.
	clock *clock
}

func (d *driven) act() (leave func()) {
	if d.clock == nil {
		return func() {}
	}
	return d.clock.act()
}

// drive brings a handler to its end, performing what its threads wait for. The
// error is errTimeout: then the handler has been given up.
func (vm *specVM) drive(ctx context.Context, slot *luavm.Slot, out luavm.Outcome, d driven) (luavm.Outcome, error) {
	back := make(chan *luavm.Op)
	away := map[*luavm.Op]func(){}
	end := luavm.Outcome{End: luavm.End{Kind: luavm.Gone}}
	for {
		switch out.Kind {
		case luavm.Wait:
			for op := out.Op; op != nil; op = op.Next() {
				away[op] = d.act()
				go func() {
					d.perform(op)
					back <- op
				}()
			}
		case luavm.Gone:
		default:
			end = out
		}
		if len(away) == 0 {
			return end, nil
		}
		var op *luavm.Op
		select {
		case op = <-back:
		case <-ctx.Done():
			for op := range away {
				op.Cancel()
			}
			for range away {
				away[<-back]()
			}
			return luavm.Outcome{}, errTimeout
		}
		leave := away[op]
		delete(away, op)
		if d.resuming != nil {
			d.resuming(op)
		}
		out = slot.Resume(op, d.in)
		leave()
	}
}

func (vm *specVM) perform(op *luavm.Op) {
	if op.Kind == luavm.OpSpec {
		op.Reply = vm.ask(op)
		return
	}
	luavm.Perform(op)
}
