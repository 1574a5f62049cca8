package serve

import (
	"sync"
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
)

// Subrequests are moved on the goroutine of the exchange whose script waits for
// them, in their order, each until it waits for something that takes time: what
// is made by scripts and from memory alone costs no goroutine, and runs in
// nginx's order. What is left then is moved beside, each on its own goroutine.
//
//	parent's goroutine   child 1 ... waits   child 2 ... ends   parent ...
//	beside                           child 1 ........ ends, op complete

// subrequests begins what op asks for; true: it is complete.
func (s *Server) subrequests(ex *exchange.Exchange, op *luavm.Op) (complete bool) {
	children := s.opt.Subrequests(op)
	op.OnCancel(func() { ex.KillChildren(op) })
	var waiting []*exchange.Exchange
	for _, child := range children {
		child.Record.Start = time.Now()
		child.StartNS = exchange.MonotonicNS(child.Record.Start)
		if !s.advance(child) {
			waiting = append(waiting, child)
		}
	}
	if len(waiting) == 0 {
		return true
	}
	go s.finish(ex, op, waiting)
	return false
}

// finish moves subrequests to their ends and completes op.
func (s *Server) finish(ex *exchange.Exchange, op *luavm.Op, waiting []*exchange.Exchange) {
	stop := killAt(ex, op)
	var others sync.WaitGroup
	for _, child := range waiting[1:] {
		others.Add(1)
		go func() {
			defer others.Done()
			s.guarded(child)
		}()
	}
	s.guarded(waiting[0])
	others.Wait()
	stop()
	op.OnCancel(nil)
	ex.Complete(op)
}

// killAt ends the subrequests of op at its Until, unless stop is called before;
// when stop has returned, nothing of it runs any more.
func killAt(ex *exchange.Exchange, op *luavm.Op) (stop func()) {
	if op.Until.IsZero() {
		return func() {}
	}
	killed := make(chan struct{})
	timer := time.AfterFunc(time.Until(op.Until), func() {
		ex.KillChildren(op)
		close(killed)
	})
	return func() {
		if !timer.Stop() {
			<-killed
		}
	}
}

// guarded moves one subrequest to its end. After a panic nobody may touch it
// again; its parent ends too.
func (s *Server) guarded(child *exchange.Exchange) {
	defer func() {
		if v := recover(); v != nil {
			s.opt.Recovered(v)
			child.Fatal = 500
		}
	}()
	s.await(child)
	s.drive(child)
}
