package luavm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Ops of child processes, see lualib/ngx/pipe.lua. Int is the process's
// handle. Result 0: it went well; 1: Reply is the error, NUL, and what was read
// before it. PG_OP_PIPE_*.
const (
	OpPipeSpawn    OpKind = 41 // Data, Data2: arguments, environment; Int 1: one pipe for both outputs
	OpPipeRead     OpKind = 42 // Int2: 0 stdout, 1 stderr, plus 2 * how; Number2: bytes; Seconds: between pieces, 0: no bound
	OpPipeWrite    OpKind = 43 // Data; Seconds
	OpPipeWait     OpKind = 44 // Seconds
	OpPipeKill     OpKind = 45 // Int2: signal
	OpPipeShutdown OpKind = 46 // Int2: 0 stdin, 1 stdout, 2 stderr
)

// processes are the children of a VM's scripts. One belongs to the exchange or
// timer that has started it and does not outlive it, as in OpenResty.
//
//	spawned ---> runs ---> exited ---> over: wait() was told, all is closed
//	               '--- its slot is released, or Lua lets go of it: killed --'
type processes struct {
	mu   sync.Mutex
	all  map[uint32]*process
	last uint32
	n    atomic.Int32 // len(all), for who need not lock
}

type process struct {
	slot   *Slot
	cmd    *exec.Cmd // nil: it could not be executed, which is an exit with 1
	merged bool
	ends   [3]*stream // stdin, stdout, stderr
	exited chan struct{}
	reason string // once exited
	status int

	mu      sync.Mutex
	waiting bool
	over    bool
}

var (
	errPipeClosed   = errors.New("closed")
	errPipeTimeout  = errors.New("timeout")
	errPipeAborted  = errors.New("aborted")
	errPipeExited   = errors.New("exited")
	errPipeMerged   = errors.New("merged to stdout")
	errPipeMemory   = errors.New("no memory")
	errPipeSignal   = errors.New("invalid signal")
	errPipeReading  = errors.New("pipe busy reading")
	errPipeWriting  = errors.New("pipe busy writing")
	errPipeWaiting  = errors.New("pipe busy waiting")
	errPipeNoHandle = errPipeClosed // of a process that is gone
)

// performPipe does what a script asks of a child process.
func performPipe(op *Op) {
	op.Reply = op.Reply[:0]
	err := op.VM().processes.perform(op)
	if err == nil {
		return
	}
	op.Result = 1
	said := append([]byte(err.Error()), 0)
	op.Reply = append(said, op.Reply...)
}

func (ps *processes) perform(op *Op) error {
	if op.Kind == OpPipeSpawn {
		return ps.spawn(op)
	}
	p := ps.get(uint32(op.Int))
	if p == nil {
		if op.Kind == OpPipeWait || op.Kind == OpPipeKill {
			return errPipeExited
		}
		return errPipeNoHandle
	}
	switch op.Kind {
	case OpPipeRead:
		return p.read(op)
	case OpPipeWrite:
		if p.isOver() {
			return errPipeClosed
		}
		return p.ends[0].write(op)
	case OpPipeWait:
		return p.wait(op)
	case OpPipeKill:
		return p.kill(syscall.Signal(op.Int2))
	}
	return p.shutdown(int(op.Int2))
}

// spawn starts a process. What cannot be executed is one that has exited with
// 1: in OpenResty the child finds out.
func (ps *processes) spawn(op *Op) error {
	arguments := terminated(op.Data)
	p := &process{slot: op.Slot(), merged: op.Int == 1, exited: make(chan struct{})}
	cmd := exec.Command(arguments[0], arguments[1:]...)
	if errors.Is(cmd.Err, exec.ErrDot) {
		cmd.Err = nil
	}
	if environment := terminated(op.Data2); len(environment) > 0 {
		cmd.Env = environment
	}
	theirs, err := p.connect(cmd)
	if err == nil {
		err = cmd.Start()
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			op.VM().pool.options.Log(op.Slot(), LevelErr,
				[]byte("lua pipe child execvp() failed while executing "+arguments[0]+": "+err.Error()))
			p.reason, p.status = "exit", 1
			close(p.exited)
		} else {
			p.cmd = cmd
			go p.reap()
		}
	} else {
		p.destroy()
		return errors.New("pipe failed: " + err.Error())
	}
	op.Number = float64(ps.add(p))
	if p.cmd != nil {
		op.Reply = strconv.AppendInt(op.Reply, int64(cmd.Process.Pid), 10)
	}
	return nil
}

// connect makes the pipes; theirs are the child's ends.
func (p *process) connect(cmd *exec.Cmd) (theirs []*os.File, err error) {
	for i := range p.ends {
		p.ends[i] = &stream{}
		if i == 2 && p.merged {
			cmd.Stderr = cmd.Stdout
			continue
		}
		r, w, e := os.Pipe()
		if e != nil {
			err = e
			break
		}
		switch i {
		case 0:
			p.ends[i].file, cmd.Stdin = w, r
			theirs = append(theirs, r)
		case 1:
			p.ends[i].file, cmd.Stdout = r, w
			theirs = append(theirs, w)
		default:
			p.ends[i].file, cmd.Stderr = r, w
			theirs = append(theirs, w)
		}
	}
	if err != nil {
		for _, f := range theirs {
			_ = f.Close()
		}
	}
	return theirs, err
}

func (p *process) reap() {
	_ = p.cmd.Wait()
	p.reason, p.status = "exit", p.cmd.ProcessState.ExitCode()
	if w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		p.reason, p.status = "signal", int(w.Signal())
	}
	close(p.exited)
}

func (p *process) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

func (p *process) read(op *Op) error {
	from := op.Int2 & 1
	if p.isOver() {
		return errPipeClosed
	}
	if from == 1 && p.merged {
		return errPipeMerged
	}
	return p.ends[1+from].read(op)
}

func (p *process) wait(op *Op) error {
	p.mu.Lock()
	if p.over || p.waiting {
		defer p.mu.Unlock()
		if p.over {
			return errPipeExited
		}
		return errPipeWaiting
	}
	p.waiting = true
	p.mu.Unlock()
	err := p.awaitExit(op)
	p.mu.Lock()
	p.waiting = false
	p.over = p.over || err == nil
	p.mu.Unlock()
	if err != nil {
		return err
	}
	p.close()
	op.Number = float64(p.status)
	op.Reply = append(op.Reply, p.reason...)
	return nil
}

func (p *process) awaitExit(op *Op) error {
	canceled := make(chan struct{})
	op.OnCancel(func() { close(canceled) })
	defer op.OnCancel(nil)
	var late <-chan time.Time
	if limit := op.patience(); limit >= 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-p.exited:
		return nil
	case <-canceled:
		return errPipeAborted
	case <-late:
		return errPipeTimeout
	}
}

// patience is how long one step of op may take; negative: for ever.
func (op *Op) patience() time.Duration {
	limit := time.Duration(-1)
	if op.Seconds > 0 {
		limit = inDuration(op.Seconds)
	}
	if !op.Until.IsZero() {
		if left := max(0, time.Until(op.Until)); limit < 0 || left < limit {
			limit = left
		}
	}
	return limit
}

func (p *process) kill(signal syscall.Signal) error {
	select {
	case <-p.exited:
		return errPipeExited
	default:
	}
	if p.cmd == nil || p.isOver() {
		return errPipeExited
	}
	err := p.cmd.Process.Signal(signal)
	switch {
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return errPipeExited
	case errors.Is(err, syscall.EINVAL):
		return errPipeSignal
	}
	return err
}

func (p *process) shutdown(end int) error {
	if p.isOver() {
		return errPipeClosed
	}
	if end == 2 && p.merged {
		return errPipeMerged
	}
	p.ends[end].shutdown()
	return nil
}

// close shuts all pipes.
func (p *process) close() {
	for _, s := range p.ends {
		if s != nil {
			s.shutdown()
		}
	}
}

// destroy ends a process that nobody asks for any more.
func (p *process) destroy() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
	}
	p.close()
}

func (ps *processes) add(p *process) (handle uint32) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all == nil {
		ps.all = make(map[uint32]*process)
	}
	ps.last++
	ps.all[ps.last] = p
	ps.n.Store(int32(len(ps.all)))
	return ps.last
}

func (ps *processes) get(handle uint32) *process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.all[handle]
}

// drop ends the process that Lua has let go of.
func (ps *processes) drop(handle uint32) {
	ps.mu.Lock()
	p := ps.all[handle]
	delete(ps.all, handle)
	ps.n.Store(int32(len(ps.all)))
	ps.mu.Unlock()
	if p != nil {
		p.destroy()
	}
}

// leave ends the processes of a slot whose exchange is over.
func (ps *processes) leave(s *Slot) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for handle, p := range ps.all {
		if p.slot == s {
			delete(ps.all, handle)
			p.destroy()
		}
	}
	ps.n.Store(int32(len(ps.all)))
}

// terminated splits a list of texts that each end in NUL.
func terminated(list []byte) (texts []string) {
	for len(list) > 0 {
		text, rest, _ := bytes.Cut(list, []byte{0})
		texts, list = append(texts, string(text)), rest
	}
	return texts
}
