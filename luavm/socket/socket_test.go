package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func noWait(bool) error { return nil }

func TestReadLentTakesMemoryOnlyForBytes(t *testing.T) {
	ours, theirs := pair(t)
	s := New(ours, noWait)
	lent := 0
	buf := make([]byte, 64)
	s.LendReads(func() []byte { lent++; return buf }, func() { lent-- })
	done := make(chan error, 1)
	go func() {
		n, err := s.ReadLent()
		if err == nil && string(buf[:n]) != "hello" {
			err = errors.New("read " + string(buf[:n]))
		}
		done <- err
	}()
	if _, err := theirs.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if lent != 1 {
		t.Errorf("memory lent %d times in balance, want 1", lent)
	}
	theirs.Close()
	if _, err := s.ReadLent(); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestWritePiecesInOrderUnderBackPressure(t *testing.T) {
	ours, theirs := pair(t)
	s := New(ours, noWait)
	a, b, c := bytes.Repeat([]byte("a"), 3), bytes.Repeat([]byte("b"), 8<<20), []byte("c")
	done := make(chan error, 1)
	go func() {
		err := s.Write(a, b, c)
		ours.Close()
		done <- err
	}()
	got, err := io.ReadAll(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := bytes.Join([][]byte{a, b, c}, nil); !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, want %d in the given order", len(got), len(want))
	}
}

func TestWaitRefuses(t *testing.T) {
	ours, _ := pair(t)
	refused := errors.New("refused")
	s := New(ours, func(bool) error { return refused })
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, refused) {
		t.Errorf("read: %v, want the error of wait", err)
	}
	if err := s.Write(nil, bytes.Repeat([]byte("x"), 64<<20), nil); !errors.Is(err, refused) {
		t.Errorf("write: %v, want the error of wait", err)
	}
}

func TestNoAllocation(t *testing.T) {
	ours, theirs := pair(t)
	s := New(ours, noWait)
	go io.Copy(theirs, theirs)
	p := make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Write(p[:4], p[4:8], p[8:]); err != nil {
			t.Fatal(err)
		}
		for read := 0; read < len(p); {
			n, err := s.Read(p[read:])
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
	}); n != 0 {
		t.Errorf("%v allocations for a write and its echo, want 0", n)
	}
}
