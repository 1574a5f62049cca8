package exchange

import (
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"perigee/luavm"
	"perigee/proxy/wire"
)

func TestOps(t *testing.T) {
	ex := Acquire(nil, &Conn{})
	if ex.Next() != nil || ex.Pending() || ex.Completed() || ex.Fresh() != 0 || ex.Take(OpWrite) != nil {
		t.Fatal("an exchange waits for something from the start")
	}
	write, pump, sleep := ex.Post(OpWrite), ex.Post(OpPump), ex.Post(luavm.OpSleep)
	if ex.Fresh() != 3 || !ex.Waiting(OpPump) || ex.Waiting(OpSend) {
		t.Fatal("posted ops are not waited for")
	}
	if ex.Next() != pump || ex.Next() != write || ex.Next() != sleep || ex.Next() != nil {
		t.Fatal("the pump goes first, the others in their order, each once")
	}
	sleep.Err = io.EOF
	ex.Performed(sleep)
	if ex.Take(OpWrite) != nil || !ex.Completed() {
		t.Fatal("what was not performed must not be taken")
	}
	if op := ex.Take(luavm.OpSleep); op != sleep || op.Err != io.EOF {
		t.Fatal("a completion carries its outcome")
	}
	if ex.Take(luavm.OpSleep) != nil || ex.Completed() {
		t.Fatal("a completion is taken once")
	}
	ex.Complete(pump)
	ex.Complete(write)
	<-ex.Completions()
	ex.Discard()
	if ex.Pending() || ex.Completed() {
		t.Fatal("discarded completions are still there")
	}
	if again := ex.Post(OpWrite); again.Err != nil || again.Owner != luavm.Owner(ex) {
		t.Fatal("an op is posted with leftovers")
	}
	ex.Performed(ex.Next())
	ex.Discard()
	Release(ex)
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestMisuseIsABug(t *testing.T) {
	ex, other := Acquire(nil, &Conn{}), Acquire(nil, &Conn{})
	op := ex.Post(OpSend)
	mustPanic(t, "release while an op is posted", func() { Release(ex) })
	mustPanic(t, "completion of another exchange's op", func() { other.Complete(op) })
	for range maxOps - 1 {
		ex.Post(OpSend)
	}
	mustPanic(t, "too many ops", func() { ex.Post(OpSend) })
	for op := ex.Next(); op != nil; op = ex.Next() {
		ex.Performed(op)
	}
	mustPanic(t, "release while completions are not taken", func() { Release(ex) })
	ex.Discard()
	Release(ex)
	Release(other)
}

// TestOpsOfManyThreads completes ops from goroutines in any order while the
// exchange is advanced, released and used again.
func TestOpsOfManyThreads(t *testing.T) {
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Add(1)
		go func() {
			defer all.Done()
			r := rand.New(rand.NewPCG(worker, 3))
			for range 300 {
				oneExchange(t, r)
			}
		}()
	}
	all.Wait()
}

func oneExchange(t *testing.T, r *rand.Rand) {
	ex := Acquire(nil, &Conn{})
	kinds := []luavm.OpKind{OpReadBody, OpConnect, OpPump, OpReceiveHead, OpWrite, luavm.OpSleep}
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	kinds = kinds[:1+r.IntN(len(kinds))]
	for _, kind := range kinds {
		ex.Post(kind)
	}
	for op := ex.Next(); op != nil; op = ex.Next() {
		pause := time.Duration(r.IntN(20)) * time.Microsecond
		go func() {
			time.Sleep(pause)
			op.Err = io.ErrUnexpectedEOF
			ex.Complete(op)
		}()
	}
	go ex.Abort() // may also come after the release: it is told so by others then
	for taken := 0; taken < len(kinds); {
		if !ex.Completed() {
			<-ex.Completions()
		}
		for _, kind := range kinds {
			if op := ex.Take(kind); op != nil {
				taken++
				if !errors.Is(op.Err, io.ErrUnexpectedEOF) {
					t.Error("an outcome was lost")
				}
			}
		}
	}
	if ex.Pending() {
		t.Error("ops are left")
	}
	// Not released here: the Abort above may still be on its way.
}

// A completion that was seen must not wake the next user of the exchange.
func TestNoWakeUpIsInherited(t *testing.T) {
	for range 3000 {
		ex := Acquire(nil, &Conn{})
		op := ex.Post(OpWrite)
		ex.Next()
		completed := make(chan struct{})
		go func() { ex.Complete(op); close(completed) }()
		for ex.Take(OpWrite) == nil {
			continue
		}
		Release(ex)
		<-completed
		select {
		case <-ex.Completions():
			t.Fatal("a released exchange was woken")
		default:
		}
	}
}

// TestReleaseLeavesNothing fills every exported field that holds no memory for
// later and looks at what a release leaves of it.
func TestReleaseLeavesNothing(t *testing.T) {
	ex := &Exchange{wake: make(chan struct{}, 1)}
	v := reflect.ValueOf(ex).Elem()
	var names []string
	for _, name := range reflect.VisibleFields(v.Type()) {
		if !name.IsExported() {
			continue
		}
		switch f := v.FieldByIndex(name.Index); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(7)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 3, 3))
		case reflect.Pointer:
			if name.Name != "Up" && name.Name != "Lua" {
				f.Set(reflect.New(f.Type().Elem()))
			}
		default:
			continue
		}
		names = append(names, name.Name)
	}
	ex.AttemptStart = 1
	ex.Place = Place{Step: 3, Left: 9, BodyFrame: wire.BodyChunked, ErrorPage: 404}
	ex.Send = Send{Head: true, Data: []byte("x")}
	ex.LuaRun(Access).Until, ex.LuaRun(Access).Running = time.Second, true
	ex.SetSeat(nil)
	ex.Early().Add("X-A", []byte("a"))
	ex.Abort()
	Release(ex)
	for _, name := range append(names, "AttemptStart", "Place", "Send", "scripts") {
		f := v.FieldByName(name)
		if f.Kind() == reflect.Slice && f.Len() == 0 || f.IsZero() {
			continue
		}
		t.Errorf("%s is left: %v", name, f)
	}
	if ex.LuaUntil(Access) != 0 || ex.Running(Access) || ex.HasEarly() {
		t.Errorf("a script runs until %v: %t; early fields: %t", ex.LuaUntil(Access), ex.Running(Access), ex.HasEarly())
	}
	if ex.Aborted() {
		t.Error("still aborted")
	}
}

// A pooled exchange does not hold on to what one large request needed.
func TestReleaseLetsLargeMemoryGo(t *testing.T) {
	ex := &Exchange{wake: make(chan struct{}, 1)}
	large := make([]byte, 1<<20)
	ex.SetQuery(large)
	for _, b := range []*[]byte{&ex.Path, &ex.Out, &ex.Body, &ex.UpHead, &ex.Target, &ex.Scratch, &ex.HeadText, &ex.RespText, &ex.Host} {
		*b = append((*b)[:0], large...)
	}
	Release(ex)
	v := reflect.ValueOf(ex).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Uint8 && f.Cap() > keep {
			t.Errorf("%s keeps %d bytes", v.Type().Field(i).Name, f.Cap())
		}
	}
}
