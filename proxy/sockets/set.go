package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The environment of systemd's protocol (sd_listen_fds(3)) and of ours.
const (
	envPID    = "LISTEN_PID"
	envCount  = "LISTEN_FDS"
	envNames  = "LISTEN_FDNAMES"
	envListen = "PERIGEE_LISTEN"
	envReady  = "PERIGEE_READY"
)

// firstFD is where systemd's descriptors begin.
const firstFD = 3

// Set is the listening sockets that the process was started with. The nil Set is
// empty. Its methods may be called from any goroutine.
type Set struct {
	mu    sync.Mutex
	open  []inherited
	ready *os.File // tells the predecessor; nil: there is none
}

type inherited struct {
	net.Listener
	address string // as the predecessor's configuration has it; "": unknown
	taken   bool
}

// Inherited takes the sockets that the environment speaks of, and clears it so
// that children do not take them too. An error says that a descriptor is no
// listening socket; those that are one are closed then.
func Inherited() (*Set, error) {
	entries, err := readEnvironment(os.Getenv, os.Getpid())
	ready := os.Getenv(envReady)
	for _, name := range []string{envPID, envCount, envNames, envListen, envReady} {
		_ = os.Unsetenv(name)
	}
	if err != nil {
		return nil, err
	}
	s := &Set{}
	if fd, err := strconv.Atoi(ready); err == nil {
		syscall.CloseOnExec(fd)
		s.ready = os.NewFile(uintptr(fd), "ready")
	}
	for _, e := range entries {
		if err := s.adopt(e); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// entry is a descriptor that the environment names.
type entry struct {
	fd      int
	address string
}

// readEnvironment lists the descriptors for the process with that id.
func readEnvironment(getenv func(string) string, pid int) ([]entry, error) {
	if text := getenv(envListen); text != "" {
		return readOurs(text)
	}
	if getenv(envPID) != strconv.Itoa(pid) {
		return nil, nil // meant for another process, or for none
	}
	n, err := strconv.Atoi(getenv(envCount))
	if err != nil || n < 0 || n > 1<<10 {
		return nil, fmt.Errorf("%s=%q is not the number of sockets: start perigee by systemd's socket unit, or unset it", envCount, getenv(envCount))
	}
	entries := make([]entry, n)
	for i := range entries {
		entries[i].fd = firstFD + i
	}
	return entries, nil
}

// readOurs reads "address=fd;address=fd", addresses escaped as in a query.
func readOurs(text string) (entries []entry, err error) {
	for part := range strings.SplitSeq(text, ";") {
		name, number, _ := strings.Cut(part, "=")
		address, bad := url.QueryUnescape(name)
		fd, worse := strconv.Atoi(number)
		if bad != nil || worse != nil || fd < firstFD {
			return nil, fmt.Errorf("%s: %q is not ADDRESS=DESCRIPTOR: only a perigee that hands over sets it, unset it", envListen, part)
		}
		entries = append(entries, entry{fd, address})
	}
	return entries, nil
}

// adopt makes a listener of a descriptor, which is closed either way: the
// listener has a copy of its own.
func (s *Set) adopt(e entry) error {
	syscall.CloseOnExec(e.fd)
	f := os.NewFile(uintptr(e.fd), e.address)
	if f == nil {
		return fmt.Errorf("descriptor %d, said to be a listening socket, is not open", e.fd)
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("descriptor %d is not a listening stream socket (%w): ListenStream= is what perigee takes", e.fd, err)
	}
	s.open = append(s.open, inherited{Listener: ln, address: e.address})
	return nil
}

// Take gives its caller a listener of its own on the socket for a configured
// address; nil: none of the set is for it. Until Rest a socket can be taken
// again, by a configuration that is tried after another one has failed.
func (s *Set) Take(address string) (net.Listener, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fits := range []func(*inherited) bool{
		func(i *inherited) bool { return i.address == address },
		func(i *inherited) bool { return i.address == "" && bound(address, i.Addr()) },
	} {
		for at := range s.open {
			if fits(&s.open[at]) {
				s.open[at].taken = true
				return copied(s.open[at].Listener)
			}
		}
	}
	return nil, nil
}

// copied is another listener on a listener's socket.
func copied(ln net.Listener) (net.Listener, error) {
	f, err := ln.(filer).File()
	if err != nil {
		return nil, fmt.Errorf("inherited socket %s: %w", ln.Addr(), err)
	}
	defer f.Close()
	if ln, err = net.FileListener(f); err != nil {
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	return ln, nil
}

// bound tells whether a configured address is what a socket is bound to. Without
// a host it is all addresses; a name is none of them.
func bound(address string, addr net.Addr) bool {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		u, ok := addr.(*net.UnixAddr)
		return ok && u.Name == path
	}
	t, ok := addr.(*net.TCPAddr)
	host, port, err := net.SplitHostPort(address)
	if !ok || err != nil || port != strconv.Itoa(t.Port) {
		return false
	}
	if host == "" {
		return t.IP.IsUnspecified()
	}
	want, err := netip.ParseAddr(host)
	have := t.AddrPort().Addr()
	return err == nil && want.Unmap() == have.Unmap()
}

// Rest ends the taking, and says where the sockets were bound that nobody took;
// they are closed.
func (s *Set) Rest() (addresses []string) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.open {
		if !i.taken {
			addresses = append(addresses, i.Addr().String())
		}
		_ = i.Close()
	}
	s.open = nil
	return addresses
}

// Successor tells whether the process takes over from one that still serves.
func (s *Set) Successor() bool { return s != nil && s.ready != nil }

// Announce tells the predecessor, if there is one, that this process serves.
func (s *Set) Announce() error {
	if !s.Successor() {
		return nil
	}
	_, err := s.ready.Write([]byte{1})
	err = errors.Join(err, s.ready.Close())
	s.ready = nil
	return err
}

func (s *Set) close() {
	s.Rest()
	if s.ready != nil {
		_ = s.ready.Close()
	}
}
