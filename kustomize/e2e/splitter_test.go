package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// splitter is the cluster's kube-proxy: it listens on the address of each Service
// and gives every connection to the next ready endpoint.
//
// A pod that ends keeps its connections, and so does one that turns unready, unless
// healthChecks is set.
type splitter struct {
	t      *testing.T
	ctx    context.Context
	dialer net.Dialer
	// redispatch makes it go to another endpoint when one refuses a connection
	// (HAProxy: option redispatch). kube-proxy does not.
	redispatch atomic.Bool
	// healthChecks takes the connections of a pod that turns unready without ending,
	// as a load balancer's health checks do (HAProxy: on-marked-down
	// shutdown-sessions): what is under way there would not be answered either.
	healthChecks atomic.Bool
	refused      atomic.Int64 // connections that an endpoint did not take

	mu       sync.Mutex
	services map[string]*service // by namespace/name
}

type service struct {
	mu       sync.Mutex
	ports    map[string]bool     // listened on
	ready    map[string][]string // by the port's name: addresses
	next     int
	backends map[string]*backend // by address
}

// backend counts what goes to an endpoint.
type backend struct {
	address  string
	requests atomic.Int64
	busy     atomic.Int64 // requests without an answer
	cuts     atomic.Int64 // when it was last out of service, in milliseconds
	mu       sync.Mutex
	sessions map[*session]bool
	dialing  int
}

// session is a connection of a client and one of an endpoint.
type session struct {
	client, server *net.TCPConn
	busy           atomic.Bool
	backend        *backend
}

func startSplitter(t *testing.T, c *cluster) *splitter {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &splitter{t: t, ctx: ctx, dialer: net.Dialer{Timeout: 5 * time.Second}, services: map[string]*service{}}
	factory := informers.NewSharedInformerFactory(c.client, 0)
	_, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { s.listen(o.(*corev1.Service)) },
	})
	if err == nil {
		_, err = factory.Discovery().V1().EndpointSlices().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { s.update(o.(*discoveryv1.EndpointSlice)) },
			UpdateFunc: func(_, o any) { s.update(o.(*discoveryv1.EndpointSlice)) },
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	return s
}

func (s *splitter) service(namespace, name string) *service {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.services[namespace+"/"+name]
	if v == nil {
		v = &service{ports: map[string]bool{}, ready: map[string][]string{}, backends: map[string]*backend{}}
		s.services[namespace+"/"+name] = v
	}
	return v
}

func (s *splitter) listen(object *corev1.Service) {
	if object.Namespace == "default" || net.ParseIP(object.Spec.ClusterIP) == nil {
		return
	}
	v := s.service(object.Namespace, object.Name)
	for _, p := range object.Spec.Ports {
		ln, err := net.Listen("tcp", net.JoinHostPort(object.Spec.ClusterIP, strconv.Itoa(int(p.Port))))
		if err != nil {
			s.t.Errorf("Service %s: %v", object.Name, err)
			return
		}
		context.AfterFunc(s.ctx, func() { _ = ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go s.connect(v, p.Name, conn.(*net.TCPConn))
			}
		}()
	}
}

// update takes over a slice: a Service of the manifests has one.
func (s *splitter) update(slice *discoveryv1.EndpointSlice) {
	v := s.service(slice.Namespace, slice.Labels[discoveryv1.LabelServiceName])
	var down []*backend
	v.mu.Lock()
	for _, p := range slice.Ports {
		var ready []string
		for _, e := range slice.Endpoints {
			address := net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port)))
			switch {
			case *e.Conditions.Ready:
				ready = append(ready, address)
			case s.healthChecks.Load() && !*e.Conditions.Terminating && v.backends[address] != nil:
				down = append(down, v.backends[address])
			}
		}
		v.ready[*p.Name] = ready
	}
	v.mu.Unlock()
	for _, b := range down {
		b.cut()
	}
}

// pick chooses the next endpoint that has not been tried.
func (v *service) pick(port string, tried []string) *backend {
	v.mu.Lock()
	defer v.mu.Unlock()
	ready := v.ready[port]
	for range ready {
		v.next++
		address := ready[v.next%len(ready)]
		if slices.Contains(tried, address) {
			continue
		}
		if v.backends[address] == nil {
			v.backends[address] = &backend{address: address, sessions: map[*session]bool{}}
		}
		return v.backends[address]
	}
	return nil
}

func (s *splitter) connect(v *service, port string, client *net.TCPConn) {
	var tried []string
	for {
		b := v.pick(port, tried)
		if b == nil {
			reset(client)
			return
		}
		cuts := b.cuts.Load()
		b.dial(1)
		server, err := s.dialer.DialContext(s.ctx, "tcp", b.address)
		if err == nil && b.carry(&session{client: client, server: server.(*net.TCPConn), backend: b}, cuts) {
			return
		}
		if err != nil {
			b.dial(-1)
			s.refused.Add(1)
		}
		tried = append(tried, b.address)
		if err != nil && !s.redispatch.Load() {
			reset(client)
			return
		}
	}
}

// reset closes a connection as one that was refused or lost.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// dial counts the connections that are being made.
func (b *backend) dial(n int) {
	b.mu.Lock()
	b.dialing += n
	b.mu.Unlock()
}

// carry moves the bytes of a session that was dialed until it ends; false: the
// backend has gone out of service meanwhile.
func (b *backend) carry(x *session, cuts int64) bool {
	b.mu.Lock()
	b.dialing--
	if b.cuts.Load() != cuts {
		b.mu.Unlock()
		_ = x.server.Close()
		return false
	}
	b.sessions[x] = true
	b.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { x.copy(x.server, x.client, x.asked) })
	both.Go(func() { x.copy(x.client, x.server, x.answered) })
	both.Wait()
	x.answered()
	_ = x.client.Close()
	_ = x.server.Close()
	b.mu.Lock()
	delete(b.sessions, x)
	b.mu.Unlock()
	return true
}

// copy moves bytes one way. An end is passed on as an end, a loss as a loss.
func (x *session) copy(to, from *net.TCPConn, seen func()) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			seen()
			if _, err := to.Write(buffer[:n]); err != nil {
				x.lose(from)
				return
			}
		}
		if err != nil {
			if err.Error() == "EOF" {
				_ = to.CloseWrite()
			} else {
				x.lose(to)
			}
			return
		}
	}
}

// lose resets a connection of the session. What the client has sent but copy has not
// read yet is a request, too, and lost.
func (x *session) lose(c *net.TCPConn) {
	if raw, err := x.client.SyscallConn(); err == nil && c == x.client {
		_ = raw.Control(func(fd uintptr) {
			if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil && n > 0 {
				x.asked()
			}
		})
	}
	reset(c)
}

// asked and answered follow HTTP/1.1 without pipelining: bytes of the client are
// a request until bytes come back.
func (x *session) asked() {
	if x.busy.CompareAndSwap(false, true) {
		x.backend.requests.Add(1)
		x.backend.busy.Add(1)
	}
}

func (x *session) answered() {
	if x.busy.CompareAndSwap(true, false) {
		x.backend.busy.Add(-1)
	}
}

// open is how many connections there are.
func (b *backend) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sessions) + b.dialing
}

func (b *backend) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cuts.Store(time.Now().UnixMilli())
	for x := range b.sessions {
		x.lose(x.client)
		x.lose(x.server)
	}
}

// of is what goes to a pod's port.
func (v *service) of(address string) (*backend, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b := v.backends[address]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("no connection has gone to %s", address)
}

// requests is how many there have been for all endpoints.
func (v *service) requests() (n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, b := range v.backends {
		n += b.requests.Load()
	}
	return n
}
