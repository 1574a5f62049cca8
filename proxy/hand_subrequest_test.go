package proxy

import (
	"strings"
	"testing"

	"perigee/luavm"
	"perigee/proxy/exchange"
)

const familyConfig = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
routes:
  - name: all
    match: {paths: ["/"]}
    lua:
      content: |
        local t = ngx.thread.spawn(function() ngx.sleep(9) return "thread" end)
        local a, b = ngx.location.capture_multi{{"/a"}, {"/b"}}
        local _, c = ngx.thread.wait(t)
        ngx.print(a.body, ", ", b.body, ", ", c)
  - {name: a, match: {paths: ["= /a"]}, lua: {content: 'ngx.sleep(1) ngx.print("a")'}}
  - name: b
    match: {paths: ["= /b"]}
    lua:
      rewrite: 'ngx.sleep(1)'
      content: 'ngx.print("b ", ngx.location.capture("/a").body)'
`

// family drives exchanges with subrequests: any that can go on is advanced, one
// step of it, the youngest first.
type family struct {
	*hand
	members []*exchange.Exchange
	waits   map[*exchange.Exchange]*luavm.Op // child: its parent's op
	left    map[*luavm.Op]int
	sleeps  []*luavm.Op
}

func newFamily(t *testing.T) (f *family, main *exchange.Exchange) {
	h, _ := newHand(t, familyConfig)
	for stage := range exchange.StageCount { // without the suspender
		r := h.ex.Snapshot.(*Snapshot).routes[0]
		if stage != exchange.Balancer {
			r.Steps[stage] = r.Steps[stage][1:]
		}
	}
	return &family{
		hand: h, members: []*exchange.Exchange{h.ex},
		waits: map[*exchange.Exchange]*luavm.Op{}, left: map[*luavm.Op]int{},
	}, h.ex
}

// step advances every member once; true: the first has finished.
func (f *family) step() bool {
	for i := len(f.members) - 1; i >= 0; i-- {
		ex := f.members[i]
		f.ex = ex
		if f.advance() {
			if i == 0 {
				return true
			}
			f.members = append(f.members[:i], f.members[i+1:]...)
			op := f.waits[ex]
			if f.left[op]--; f.left[op] == 0 {
				op.Owner.Complete(op)
			}
			continue
		}
		f.perform(ex)
	}
	return false
}

func (f *family) perform(ex *exchange.Exchange) {
	for op := ex.Next(); op != nil; op = ex.Next() {
		switch op.Kind {
		case luavm.OpSleep:
			f.sleeps = append(f.sleeps, op)
		case luavm.OpCapture:
			children := f.g.Subrequests(op)
			f.left[op] = len(children)
			for _, child := range children {
				f.members = append(f.members, child)
				f.waits[child] = op
			}
		case exchange.OpWrite:
			op.Err = ex.Down.(interface {
				Write(*exchange.Exchange, exchange.Send) error
			}).Write(ex, ex.Send)
			ex.Performed(op)
		default:
			f.t.Fatalf("op of unexpected kind %d", op.Kind)
		}
	}
}

// TestHandDrivenSubrequests moves an exchange, its subrequests and theirs, each
// call on another OS thread, with sleeps that end in reverse order.
func TestHandDrivenSubrequests(t *testing.T) {
	f, main := newFamily(t)
	for steps := 0; !f.step(); steps++ {
		if steps > 200 {
			t.Fatal("the exchange does not end")
		}
		if n := len(f.sleeps); n > 0 {
			op := f.sleeps[n-1]
			f.sleeps = f.sleeps[:n-1]
			op.Owner.Complete(op)
		}
	}
	if !strings.HasSuffix(f.out.String(), "\r\n\r\na, b a, thread") {
		t.Errorf("answer:\n%s", f.out.String())
	}
	exchange.Release(main)
}

// TestKilledFamily ends an exchange while its subrequests wait: all end, their
// scripts without being asked.
func TestKilledFamily(t *testing.T) {
	f, main := newFamily(t)
	for range 4 {
		f.step()
	}
	if len(f.members) != 3 || len(f.sleeps) == 0 {
		t.Fatalf("%d exchanges, %d sleeps", len(f.members), len(f.sleeps))
	}
	main.Kill()
	for _, op := range f.sleeps {
		if !op.Canceled() {
			t.Error("a sleep goes on")
		}
		luavm.Perform(op)
		op.Owner.Complete(op)
	}
	f.sleeps = nil
	for steps := 0; !f.step(); steps++ {
		if steps > 20 || len(f.sleeps) > 0 {
			t.Fatal("the exchange does not end")
		}
	}
	if f.out.Len() > 0 || main.Record.Status != 499 {
		t.Errorf("status %d, answer %q", main.Record.Status, f.out.String())
	}
	exchange.Release(main)
}
