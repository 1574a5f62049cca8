package proxy

import (
	"sync"
	"time"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/mapping"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// accessLog is an access_log block: what becomes of an exchange's line. Blocks
// that name the same file share its writer.
type accessLog struct {
	out      *observe.AccessLog // nil: lines go nowhere
	file     string
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
	a := &accessLog{file: c.File, template: c.Template, when: c.If, escape: c.Escape.Escape()}
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

// open gives the writer of a file; close must follow.
func (l *logFiles) open(path string, o observe.AccessOptions) (*observe.AccessLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.all[path]
	if f == nil {
		o.File = path
		out, err := observe.OpenAccessLog(o)
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
		out, err := s.state.logs.open(a.file, observe.AccessOptions{
			Dropped: &s.state.Metrics.AccessDropped,
			Report:  func(err error) { s.state.problem("access log: " + err.Error()) },
		})
		if err != nil {
			return err
		}
		a.out = out
		s.logFiles = append(s.logFiles, a.file)
	}
	return nil
}

func (s *Snapshot) closeLogs() {
	for _, path := range s.logFiles {
		s.state.logs.close(path)
	}
	s.logFiles = nil
}
