package upstream

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Errors that an exchange meets while it talks to an endpoint. They come alone
// or wrapped in a *ConnectError or *TransferError; compare with errors.Is.
var (
	// ErrBusy says that the endpoint has max_conns connections in use. Nothing
	// was sent; another endpoint may be tried.
	ErrBusy = errors.New("endpoint has max_conns connections in use")
	// ErrStale says that a connection kept from an earlier exchange failed
	// before the first byte of a response. The endpoint may have closed it while
	// it was idle, so the request may be sent again on a fresh connection when
	// its body can be replayed; a request that is not idempotent may have been
	// seen by the endpoint (RFC 9112 §9.3.1).
	ErrStale = errors.New("kept connection was closed by the endpoint before an answer")
	// ErrUnsent says that no byte of the request was sent: any request may be
	// sent again, whatever its method.
	ErrUnsent = errors.New("nothing of the request was sent")
	// ErrUnserved says that the endpoint will not look at the request: it has
	// said so, or the request stood behind others on a shared connection that
	// has ended. It may be sent again on any connection; requests that are not
	// idempotent never stand behind others.
	ErrUnserved = errors.New("endpoint has left the request aside")
	// ErrCanceled says that Cancel was called: the client left or a deadline of
	// the exchange has passed.
	ErrCanceled = errors.New("exchange was canceled")
	// ErrTruncated says that the connection ended inside a response head or
	// inside a body whose framing promised more.
	ErrTruncated = errors.New("connection ended in the middle of the response")
	// ErrInterim says that the endpoint sent more 1xx responses to one request
	// than the limit of 32.
	ErrInterim = errors.New("more than 32 interim (1xx) responses to one request")
	// ErrClosed says that the registry was closed: the process is ending.
	ErrClosed = errors.New("upstream registry is closed")
)

// ConnectKind is why a connection could not be made. Its text is a bounded set
// for logs and metric labels.
type ConnectKind uint8

// The kinds of connect failure.
const (
	// ConnectOther is what the other kinds do not name, such as no route.
	ConnectOther ConnectKind = iota
	// ConnectRefused says that nobody listens at the address.
	ConnectRefused
	// ConnectTimeout says that connect, resolution or the TLS handshake took
	// longer than the connect timeout.
	ConnectTimeout
	// ConnectTLS says that the handshake failed: certificate, name or version.
	ConnectTLS
	// ConnectName says that the name could not be resolved.
	ConnectName
)

var connectKinds = [...]string{"other", "refused", "timeout", "tls", "name"}

// String gives the kind as a metric label.
func (k ConnectKind) String() string { return connectKinds[k] }

// ConnectError says that no connection to an endpoint could be made. No byte of
// the request was sent, so any request may be tried elsewhere.
type ConnectError struct {
	// Address is the endpoint as the configuration writes it.
	Address string
	Kind    ConnectKind
	Err     error
}

// Error implements error.
func (e *ConnectError) Error() string {
	return "connect to " + e.Address + " (" + e.Kind.String() + "): " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// Timeout says whether the failure is a 504 rather than a 502.
func (e *ConnectError) Timeout() bool { return e.Kind == ConnectTimeout }

// Step is what a connection was doing when it failed.
type Step uint8

// The steps of one exchange on a connection.
const (
	StepSend Step = iota
	StepHead
	StepBody
)

var steps = [...]string{"send request", "read response head", "read response body"}

// String gives the step as a log reads it.
func (s Step) String() string { return steps[s] }

// TransferError says that an exchange failed on a connection that stood.
type TransferError struct {
	Address string
	Step    Step
	// Err is the cause: ErrTruncated, ErrCanceled, a *wire.Error of what the
	// endpoint sent, or an error of the network.
	Err error
	// These make errors.Is true for ErrStale, ErrUnsent and ErrUnserved.
	stale, unsent, unserved bool
}

// Error implements error.
func (e *TransferError) Error() string {
	s := e.Step.String() + " of " + e.Address + ": " + e.Err.Error()
	switch {
	case e.unserved:
		s += " (left aside)"
	case e.stale:
		s += " (kept connection, no answer yet)"
	}
	return s
}

// Unwrap gives the cause.
func (e *TransferError) Unwrap() error { return e.Err }

// Is makes errors.Is answer for ErrStale, ErrUnsent and ErrUnserved.
func (e *TransferError) Is(target error) bool {
	return e.stale && target == ErrStale || e.unsent && target == ErrUnsent || e.unserved && target == ErrUnserved
}

// Timeout says that the send or response timeout has passed: a 504 when no
// response has been passed on yet.
func (e *TransferError) Timeout() bool { return isTimeout(e.Err) }

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// isReset tells a connection that the peer has broken from other failures.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
