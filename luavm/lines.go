package luavm

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"
)

// lines is log text on its way from a VM to Options.Log: copied while the VM
// is locked, sent when it no longer is.
type lines struct {
	text []byte
	lost uint32
}

var linePool = sync.Pool{New: func() any { return new(lines) }}

// takeLines empties the VM's log buffer; nil when nothing was logged.
func (vm *VM) takeLines() *lines {
	text := vm.state.Lines()
	if text == nil {
		return nil
	}
	l := linePool.Get().(*lines)
	l.text = append(l.text[:0], text...)
	l.lost = vm.state.DropLines()
	return l
}

// send gives each line to the sink. The layout is State.Lines'.
func (l *lines) send(p *Pool, s *Slot) {
	if l == nil {
		return
	}
	for b := l.text; len(b) >= 8; {
		level := int(int32(binary.NativeEndian.Uint32(b)))
		n := int(binary.NativeEndian.Uint32(b[4:]))
		p.options.Log(s, level, b[8:8+n])
		b = b[(8+n+7)&^7:]
	}
	if l.lost > 0 {
		p.options.Log(s, LevelWarn, strconv.AppendUint([]byte("log lines of one run dropped: "), uint64(l.lost), 10))
	}
	if cap(l.text) <= 64<<10 {
		linePool.Put(l)
	}
}

// Captures tells whether the pool keeps log lines: Options.Capture.
func (p *Pool) Captures() bool { return p.ring != nil }

// Capture gives a line that was not logged by a script to those who read
// ngx.errlog.get_logs. line is as the log file has it.
func (p *Pool) Capture(level int, line []byte) {
	if p.ring != nil {
		p.ring.Put(level, float64(time.Now().UnixMilli())/1000, line)
	}
}
