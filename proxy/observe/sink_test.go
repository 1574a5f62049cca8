package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// page is a file in memory whose writes can be made to wait or fail.
type page struct {
	mu     sync.Mutex
	text   bytes.Buffer
	refuse error         // what Write fails with
	limit  int           // bytes taken before refuse, of each Write
	hold   chan struct{} // Write waits for it when not nil
	closed bool
}

func (p *page) Write(b []byte) (int, error) {
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		n := min(p.limit, len(b))
		p.text.Write(b[:n])
		return n, p.refuse
	}
	return p.text.Write(b)
}

func (p *page) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

func (p *page) set(refuse error, limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.limit = refuse, limit
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func mustClose(t *testing.T, c interface{ Close(time.Duration) error }) {
	t.Helper()
	if err := c.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestLinesArriveInOrderAndOnce(t *testing.T) {
	out := &page{}
	dropped := new(Counter)
	l := newAccessLog(out, "", AccessOptions{Dropped: dropped})
	const workers, each = 8, 3000
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range each {
				l.Write(&Record{Consumer: fmt.Sprintf("%d/%d", w, i)}, AccessText)
				if i%100 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
	mustClose(t, l)
	last := make([]int, workers)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, line := range lines {
		var w, i int
		if _, err := fmt.Sscanf(line, "- - %d/%d [", &w, &i); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if i+1 <= last[w] {
			t.Fatalf("worker %d: line %d after line %d", w, i, last[w]-1)
		}
		last[w] = i + 1
	}
	if got := uint64(len(lines)) + dropped.Value(); got != workers*each {
		t.Errorf("%d lines and %d drops of %d", len(lines), dropped.Value(), workers*each)
	}
	if !out.closed {
		t.Error("file left open")
	}
}

func TestALineIsWrittenSoonWithoutClose(t *testing.T) {
	out := &page{}
	l := newAccessLog(out, "", AccessOptions{})
	for i := range 3 {
		l.Write(&Record{Status: 200 + i}, AccessJSON)
		eventually(t, "line written", func() bool { return strings.Count(out.String(), "\n") == i+1 })
		time.Sleep(2 * gatherTime) // the writer sleeps again
	}
	mustClose(t, l)
}

func TestStuckWriterDropsAndNeverBlocks(t *testing.T) {
	out := &page{hold: make(chan struct{})}
	dropped := new(Counter)
	l := newAccessLog(out, "", AccessOptions{Dropped: dropped})
	const sent = accessLines + 1000
	start := time.Now()
	for range sent {
		l.Write(&Record{Status: 200}, AccessJSON)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("writes took %v", took)
	}
	if dropped.Value() == 0 {
		t.Error("nothing dropped")
	}
	if err := l.Close(10 * time.Millisecond); !errors.Is(err, ErrStuck) {
		t.Errorf("Close: %v", err)
	}
	l.Write(&Record{Status: 200}, AccessJSON) // after Close: counted
	close(out.hold)
	mustClose(t, l)
	if got := uint64(strings.Count(out.String(), "\n")) + dropped.Value(); got != sent+1 {
		t.Errorf("%d lines and drops, want %d", got, sent+1)
	}
}

func TestFailingFileIsReportedOnceAndCounted(t *testing.T) {
	out := &page{refuse: syscall.ENOSPC}
	var reports atomic.Int32
	dropped := new(Counter)
	l := newAccessLog(out, "", AccessOptions{Dropped: dropped, Report: func(err error) {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("reported %v", err)
		}
		reports.Add(1)
	}})
	for i := range uint64(3) {
		l.Write(&Record{Status: 200}, AccessJSON)
		eventually(t, "drop counted", func() bool { return dropped.Value() == i+1 })
	}
	if n := reports.Load(); n != 1 {
		t.Errorf("%d reports of one row of failures", n)
	}
	out.set(syscall.ENOSPC, 10)
	l.Write(&Record{Status: 201}, AccessJSON)
	eventually(t, "drop counted", func() bool { return dropped.Value() == 4 })
	out.set(nil, 0)
	l.Write(&Record{Status: 202}, AccessJSON)
	eventually(t, "line written", func() bool { return strings.HasSuffix(out.String(), "}\n") })
	if first, _, _ := strings.Cut(out.String(), "\n"); len(first) != 10 {
		t.Errorf("the line after a torn one is not on its own: %q", out.String())
	}
	out.set(syscall.ENOSPC, 0)
	l.Write(&Record{Status: 203}, AccessJSON)
	eventually(t, "second report", func() bool { return reports.Load() == 2 })
	mustClose(t, l)
}

func TestReopenAfterRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := OpenAccessLog(AccessOptions{File: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(&Record{Status: 201}, AccessJSON)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write(&Record{Status: 202}, AccessJSON)
	mustClose(t, l)
	for name, status := range map[string]string{path + ".1": "201", path: "202"} {
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), `"status":`+status) || strings.Count(string(text), "\n") != 1 {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Reopen after Close: %v", err)
	}
}

func TestReopenKeepsTheOldFileWhenItCannot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := OpenAccessLog(AccessOptions{File: filepath.Join(dir, "access.log")})
	if err != nil {
		t.Fatal(err)
	}
	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("reopened in a folder that is gone")
	}
	l.Write(&Record{Status: 204}, AccessJSON)
	mustClose(t, l)
	if text, err := os.ReadFile(filepath.Join(moved, "access.log")); err != nil || !strings.Contains(string(text), "204") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestReopenOfAStuckWriterGivesUp(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for Reopen's limit")
	}
	out := &page{hold: make(chan struct{})}
	l := newAccessLog(out, "/nonexistent", AccessOptions{})
	l.Write(&Record{}, AccessJSON)
	time.Sleep(10 * time.Millisecond)
	if err := l.Reopen(); !errors.Is(err, ErrStuck) {
		t.Errorf("Reopen: %v", err)
	}
	close(out.hold)
	mustClose(t, l)
}

func TestOpenRefuses(t *testing.T) {
	for name, file := range map[string]string{"empty": "", "no folder": "/nonexistent/access.log"} {
		if _, err := OpenAccessLog(AccessOptions{File: file}); err == nil || !strings.Contains(err.Error(), "access_log.file") {
			t.Errorf("access log, %s: %v", name, err)
		}
		if _, err := OpenLog(LogOptions{File: file}); err == nil || !strings.Contains(err.Error(), "log.file") {
			t.Errorf("process log, %s: %v", name, err)
		}
	}
}

func TestBrokenStandardOutputDoesNotEndTheProcess(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := openTarget(target{path: "-", std: int(w.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Close()
	if _, err := out.Write([]byte("x\n")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a pipe nobody reads: %v", err)
	}
	out.Close()
}

func TestLongLinesLeaveNoLargeBuffersBehind(t *testing.T) {
	l := newAccessLog(&page{}, "", AccessOptions{})
	long := &Record{Path: bytes.Repeat([]byte("x"), 100_000)}
	for range 100 {
		l.Write(long, AccessJSON)
	}
	mustClose(t, l)
	for i := range l.ring.cells {
		if n := cap(l.ring.cells[i].buf); n > keptBytes {
			t.Fatalf("cell %d keeps %d bytes", i, n)
		}
	}
}

func TestFormatterPanicLeavesAHoleNotADeadRing(t *testing.T) {
	out := &page{}
	l := newAccessLog(out, "", AccessOptions{})
	func() {
		defer func() { _ = recover() }()
		c, p := l.reserve()
		defer l.commit(c, p)
		panic("formatter")
	}()
	l.Write(&Record{Status: 200}, AccessJSON)
	mustClose(t, l)
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %q", out.String())
	}
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

func TestLogsAllocateNothing(t *testing.T) {
	rec := fullRecord()
	rec.UserAgent = []byte("hostile \xff \u2028 \" agent")
	message := []byte("message\x1b")
	access := newAccessLog(discard{io.Discard}, "", AccessOptions{})
	text := newAccessLog(discard{io.Discard}, "", AccessOptions{})
	process := NewLog(discard{io.Discard}, LevelInfo)
	for name, write := range map[string]func(){
		"json":     func() { access.Write(rec, AccessJSON) },
		"text":     func() { text.Write(rec, AccessText) },
		"process":  func() { process.Write(LevelError, rec, message) },
		"filtered": func() { process.Write(LevelDebug, rec, message) },
	} {
		// Every cell's buffer grows to the line's length in the first lap.
		for range 3 * accessLines {
			write()
			if name != "filtered" {
				runtime.Gosched()
			}
		}
		time.Sleep(10 * time.Millisecond)
		if n := testing.AllocsPerRun(1000, write); n != 0 {
			t.Errorf("%s: %v allocations a line", name, n)
		}
	}
	mustClose(t, access)
	mustClose(t, text)
	mustClose(t, process)
}

func BenchmarkAccessLog(b *testing.B) {
	for name, format := range map[string]AccessFormat{"json": AccessJSON, "text": AccessText} {
		b.Run(name, func(b *testing.B) {
			dropped := new(Counter)
			l := newAccessLog(discard{io.Discard}, "", AccessOptions{Dropped: dropped})
			rec := fullRecord()
			b.ReportAllocs()
			for b.Loop() {
				l.Write(rec, format)
			}
			b.ReportMetric(float64(dropped.Value())/float64(b.N), "drops/op")
			l.Close(time.Second)
		})
	}
}
