package luavm

import "time"

// Complete runs the handler sc in phase and performs what it waits for, until
// it has ended and all its ops have come back: for hosts that have a goroutine
// to spare. Its waits end at until; zero: no bound.
func (s *Slot) Complete(sc *Script, phase Phase, until time.Time) Outcome {
	s.until = until
	return s.drive(s.Start(sc, phase, nil))
}

// drive performs what the handler of out waits for until it has ended and all
// its ops have come back: for handlers outside of exchanges. A single op is
// performed on the caller's goroutine, several each on one of their own.
func (s *Slot) drive(out Outcome) Outcome { return s.driveUntil(out, nil) }

// driveUntil is drive that gives up when stop is closed, with Gone: what is
// left of the handler goes with the slot's Release.
func (s *Slot) driveUntil(out Outcome, stop <-chan struct{}) Outcome {
	var (
		done = make(chan *Op)
		away int
		in   *Op // performed here
	)
	for {
		if out.Kind == Wait {
			for op := out.Op; op != nil; op = op.Next() {
				op.Until = s.until
				if away == 0 && op.Next() == nil && stop == nil {
					in = op
					break
				}
				away++
				go func() {
					Perform(op)
					done <- op
				}()
			}
		}
		var op *Op
		switch {
		case in != nil:
			op, in = in, nil
			Perform(op)
		case away > 0:
			select {
			case op = <-done:
				away--
			case <-stop:
				s.Cancel()
				for ; away > 0; away-- {
					<-done
				}
				return Outcome{End: End{Kind: Gone}}
			}
		default:
			return out
		}
		if next := s.Resume(op, nil); next.Kind != Gone {
			out = next
		} else {
			out.Op = nil
		}
	}
}
