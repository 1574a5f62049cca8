package luavm

import (
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"time"

	"perigee/luavm/shim"
)

// SocketOptions are what scripts' sockets of one route do unless told
// otherwise. The zero value of a field means the default named there.
type SocketOptions struct {
	ConnectTimeout time.Duration // 60 s, once the address is known
	SendTimeout    time.Duration // 60 s; of each wait for room
	ReadTimeout    time.Duration // 60 s; of each wait for bytes
	Keepalive      time.Duration // 60 s; how long an unused connection is kept, negative: for ever
	PoolSize       int           // 30; unused connections kept under one name
	BufferSize     int           // 4096; bytes asked for at once, at first
	Quiet          bool          // failures are not logged

	Resolve        Resolve       // nil: the system's
	ResolveTimeout time.Duration // 30 s
	TLS            SocketTLS
}

// SocketTLS is how sslhandshake speaks and whom it trusts.
type SocketTLS struct {
	Trusted     *x509.CertPool // nil: the system's
	VerifyDepth int            // certificates between the peer's and a trusted one; 1 when 0, none when negative
	Revoked     []*x509.RevocationList
	MinVersion  uint16   // TLS 1.2 when 0
	MaxVersion  uint16   // no bound when 0
	Ciphers     []uint16 // Go's when nil
}

// SocketSettings are checked SocketOptions, ready for scripts. They may be
// shared by any number of slots and pools.
type SocketSettings struct {
	options SocketOptions
	c       *shim.SocketConf
	config  *tls.Config
}

// NewSocketSettings prepares options.
func NewSocketSettings(o SocketOptions) *SocketSettings {
	def := func(p *time.Duration) {
		if *p == 0 {
			*p = time.Minute
		}
	}
	def(&o.ConnectTimeout)
	def(&o.SendTimeout)
	def(&o.ReadTimeout)
	def(&o.Keepalive)
	if o.PoolSize <= 0 {
		o.PoolSize = 30
	}
	if o.BufferSize <= 0 {
		o.BufferSize = 4096
	}
	if o.Resolve == nil {
		o.Resolve = systemResolver
	}
	if o.ResolveTimeout <= 0 {
		o.ResolveTimeout = 30 * time.Second
	}
	if o.TLS.VerifyDepth == 0 {
		o.TLS.VerifyDepth = 1
	}
	if o.TLS.MinVersion == 0 {
		o.TLS.MinVersion = tls.VersionTLS12
	}
	s := &SocketSettings{options: o, c: shim.NewSocketConf(shim.SocketConf{
		ConnectMS: milliseconds(o.ConnectTimeout), SendMS: milliseconds(o.SendTimeout),
		ReadMS: milliseconds(o.ReadTimeout), KeepaliveMS: milliseconds(max(0, o.Keepalive)),
		PoolSize: int32(o.PoolSize), BufferSize: int32(o.BufferSize), LogErrors: 1,
	})}
	if o.Quiet {
		s.c.LogErrors = 0
	}
	s.config = &tls.Config{
		// What is checked depends on each handshake: see handshake.verify.
		InsecureSkipVerify: true,
		MinVersion:         o.TLS.MinVersion, MaxVersion: o.TLS.MaxVersion,
		CipherSuites: o.TLS.Ciphers,
	}
	runtime.AddCleanup(s, shim.FreeSocketConf, s.c)
	return s
}

func milliseconds(d time.Duration) int32 {
	return int32(min(max(d.Milliseconds(), 0), 1<<31-1))
}

var defaultSockets = NewSocketSettings(SocketOptions{})

// UseSockets sets how the sockets of scripts that run next in this slot
// behave; nil: as the pool's options say. The settings must live as long as
// the slot is pinned. Connected sockets keep their TLS, not their timeouts.
func (s *Slot) UseSockets(settings *SocketSettings) {
	if settings == nil {
		settings = s.vm.pool.options.Sockets
	}
	if settings == s.sockets {
		return
	}
	s.sockets = settings
	s.c.Sockets = settings.c
}
