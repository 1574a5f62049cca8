package serve

import (
	"sync"

	"golang.org/x/sys/unix"
)

// watch tells exchanges that their client has gone (closed or half-closed its
// connection) while they wait for an upstream, without a read that would steal
// bytes of a next request.
//
//	conn fd --EPOLLRDHUP, edge--> epoll --one thread--> conn.clientGone
//
// A connection is registered once, when it opens; the kernel forgets it when it
// closes. The event carries the connection's number, never its descriptor,
// which may have been given to another by then.
type watch struct {
	epoll int
	wake  int // eventfd that ends the thread
	conns *connSet
	done  sync.WaitGroup
}

func newWatch(conns *connSet) (*watch, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, err
	}
	w := &watch{epoll: ep, wake: ev, conns: conns}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, ev, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		_ = unix.Close(ep)
		_ = unix.Close(ev)
		return nil, err
	}
	w.done.Add(1)
	go w.run()
	return w, nil
}

// add registers a connection. A failure (out of watches) only means that its
// client's leaving is noticed at the next write.
func (w *watch) add(id uint64, fd int) {
	event := unix.EpollEvent{
		Events: unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(uint32(id)), Pad: int32(id >> 32),
	}
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

func (w *watch) run() {
	defer w.done.Done()
	var events [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(w.epoll, events[:], -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if id == 0 {
				return
			}
			if c := w.conns.get(id); c != nil {
				c.clientGone()
			}
		}
	}
}

func (w *watch) close() {
	one := [8]byte{1}
	_, _ = unix.Write(w.wake, one[:])
	w.done.Wait()
	_ = unix.Close(w.epoll)
	_ = unix.Close(w.wake)
}
