package proxy

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/mapping"
	"perigee/proxy/observe"
	"perigee/proxy/trace"
	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// accessLog is an access_log block: what becomes of an exchange's line. Blocks
// that name the same file share its writer.
type accessLog struct {
	out      *observe.AccessLog // nil: lines go nowhere
	config   *config.AccessLog
	format   observe.AccessFormat
	template unit.Template // if not empty, instead of format
	escape   exchange.Escape
	when     unit.Condition
	maps     mapping.Set
}

// newAccessLog makes a block that writes nothing yet; nil for one that never
// will.
func newAccessLog(c *config.AccessLog) *accessLog {
	if c.Format == config.AccessLogOff {
		return nil
	}
	a := &accessLog{config: c, template: c.Template, when: c.If, escape: c.Escape.Escape()}
	if c.Format == config.AccessLogText {
		a.format = observe.AccessText
	}
	return a
}

// write writes the line of a finished exchange.
func (a *accessLog) write(ex *exchange.Exchange) {
	if a == nil || a.out == nil || !a.when.IsZero() && !ex.Holds(&a.when) {
		return
	}
	if a.template.IsZero() {
		a.out.Write(&ex.Record, a.format)
		return
	}
	a.out.Append(func(line []byte) []byte {
		return append(ex.AppendEscapedTemplate(line, a.template, a.escape), '\n')
	})
}

// newSecrets are what logs and traces do not show; nil: they show all.
func newSecrets(file *config.File) exchange.Secrets {
	if !file.Redact.Credentials {
		return nil
	}
	names := slices.Clone(file.Redact.Names)
	for i := range file.Routes {
		if a := file.Routes[i].Auth; a != nil {
			names = append(names, a.Credentials()...)
		}
	}
	return exchange.NewSecrets(names)
}

// writeRefused writes the line of a request that never became an exchange.
func (a *accessLog) writeRefused(conn *exchange.Conn, rec *observe.Record) {
	if a == nil {
		return
	}
	ex := exchange.Acquire(nil, conn)
	ex.Head = wire.RequestHead{} // of whom the exchange belonged to before
	ex.Record, ex.Maps = *rec, a.maps
	a.write(ex)
	exchange.Release(ex)
}

// logFiles are the open files of access logs by path, with the number of
// snapshots that write to each.
type logFiles struct {
	mu  sync.Mutex
	all map[string]*logFile
}

type logFile struct {
	*observe.AccessLog
	users int
}

// logKey names where the lines of a block go: those that name the same share a
// writer.
func logKey(c *config.AccessLog) string {
	switch {
	case c.Syslog != nil:
		return fmt.Sprintf("syslog:%+v", *c.Syslog)
	case c.OTLP != nil:
		return "otlp:" + c.OTLP.Digest()
	}
	return c.File
}

// openLog opens where the lines of a block go.
func openLog(c *config.AccessLog, o observe.AccessOptions) (*observe.AccessLog, error) {
	var err error
	switch {
	case c.Syslog != nil:
		o.Out, err = observe.NewSyslog(c.Syslog.Options())
	case c.OTLP != nil:
		o.Out, err = trace.NewLogWriter(c.OTLP)
	default:
		o.File = c.File
	}
	if err != nil {
		return nil, fmt.Errorf("access_log: %w", err)
	}
	return observe.OpenAccessLog(o)
}

// open gives the writer of a block; close must follow, with its logKey.
func (l *logFiles) open(c *config.AccessLog, o observe.AccessOptions) (*observe.AccessLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := logKey(c)
	f := l.all[path]
	if f == nil {
		out, err := openLog(c, o)
		if err != nil {
			return nil, err
		}
		if l.all == nil {
			l.all = make(map[string]*logFile)
		}
		f = &logFile{AccessLog: out}
		l.all[path] = f
	}
	f.users++
	return f.AccessLog, nil
}

// close ends one use of a file.
func (l *logFiles) close(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.all[path]
	if f.users--; f.users == 0 {
		delete(l.all, path)
		go func() { _ = f.Close(closeLimit) }()
	}
}

// closeAll writes what there is and closes every file.
func (l *logFiles) closeAll(limit time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.all {
		_ = f.Close(limit)
	}
}

// reopen opens every file anew.
func (l *logFiles) reopen() (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.all {
		if e := f.Reopen(); e != nil {
			err = e
		}
	}
	return err
}

// openLogs opens the files of the snapshot's access logs, which closeLogs ends.
func (s *Snapshot) openLogs() error {
	logs := append([]*accessLog{s.access}, s.routeLogs...)
	for _, a := range logs {
		if a == nil || a.out != nil {
			continue
		}
		out, err := s.state.logs.open(a.config, observe.AccessOptions{
			Dropped: &s.state.Metrics.AccessDropped,
			Report:  func(err error) { s.state.problem("access log: " + err.Error()) },
		})
		if err != nil {
			return err
		}
		a.out = out
		s.logFiles = append(s.logFiles, logKey(a.config))
	}
	return nil
}

func (s *Snapshot) closeLogs() {
	for _, path := range s.logFiles {
		s.state.logs.close(path)
	}
	s.logFiles = nil
}
