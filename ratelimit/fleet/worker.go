package fleet

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

const (
	// askTimeout bounds an ask: who waits for it has given up before.
	askTimeout = 100 * time.Millisecond
	batchSize  = 256
)

// work asks for leases, says that this instance lives, and finds out when the
// store is back, until the fleet is closed.
func (f *Fleet) work() {
	beat := time.NewTimer(0)
	defer beat.Stop()
	batch := make([]*lease, 0, batchSize)
	for {
		select {
		case l := <-f.queue:
			batch = f.gather(append(batch[:0], l))
			f.renew(batch)
		case c := <-f.laters:
			f.charge(c)
		case <-beat.C:
			beat.Reset(f.beat())
		case <-f.stop:
			f.leave()
			return
		}
	}
}

// gather takes what else is in the queue.
func (f *Fleet) gather(batch []*lease) []*lease {
	for len(batch) < batchSize {
		select {
		case l := <-f.queue:
			batch = append(batch, l)
		default:
			return batch
		}
	}
	return batch
}

// beat connects if there is no connection, says that this instance lives, and
// tells when to do so again.
func (f *Fleet) beat() time.Duration {
	if f.client.Load() == nil {
		if err := f.dial(); err != nil {
			f.outcome(err)
			f.goDown(err)
			return probeEvery
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	r, err := f.run(ctx, instancesScript, f.options.Prefix+"instances", []string{f.instance, milliseconds(liveFor)})
	if err == nil {
		var n int64
		if n, err = r.AsInt64(); err == nil {
			f.counted(n)
		}
	}
	f.outcome(err)
	if err != nil {
		return probeEvery
	}
	if f.down.CompareAndSwap(true, false) && f.options.Report != nil {
		f.options.Report(true, nil)
	}
	f.forgetIdle()
	return liveEvery
}

// counted notes how many instances the store knows. A store that failed a moment
// ago may have forgotten those that have not told it since.
func (f *Fleet) counted(n int64) {
	if at := f.lastFail.Load(); at != 0 && f.clock.Now()-at < int64(liveFor) {
		n = max(n, f.live.Load())
	}
	f.live.Store(max(n, 1))
}

// forgetIdle drops leases that nobody has used for a while, and that hold
// nothing.
func (f *Fleet) forgetIdle() {
	now := f.clock.Now()
	for _, s := range f.all() {
		s.each(func(h uint64, l *lease) {
			switch {
			case now-l.used.Load() < int64(LeaseTime) || l.busy.Load():
			case l.tokens.Load() != 0 && now > l.until.Load():
				l.ask() // it gives back what is void
			case now-l.used.Load() > int64(idleAfter):
				sh := &s.shards[h%uint64(len(s.shards))]
				sh.mu.Lock()
				delete(sh.keys, h)
				sh.mu.Unlock()
			}
		})
	}
}

func (f *Fleet) all() []*Leases {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*Leases, 0, len(f.sets))
	for _, s := range f.sets {
		list = append(list, s)
	}
	return list
}

// renew asks for the leases of a batch in one pipeline.
func (f *Fleet) renew(batch []*lease) {
	if f.down.Load() || f.client.Load() == nil {
		for _, l := range batch {
			l.done()
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	c := *f.client.Load()
	now := f.clock.Now()
	wants := make([]int64, len(batch))
	commands := make(rueidis.Commands, len(batch))
	for i, l := range batch {
		wants[i] = l.want(now, f.live.Load())
		commands[i] = c.B().Evalsha().Sha1(bucketScript.sha).Numkeys(1).Key(l.key).Arg(f.bucketArgs(&l.set.limit, wants[i], grantSome)...).Build()
	}
	f.commands.Add(uint64(len(batch)))
	for i, r := range c.DoMulti(ctx, commands...) {
		l := batch[i]
		if e, is := rueidis.IsRedisErr(r.Error()); is && e.IsNoScript() {
			r, _ = f.run(ctx, bucketScript, l.key, f.bucketArgs(&l.set.limit, wants[i], grantSome))
		}
		n, err := readNumbers(r)
		f.outcome(err)
		if err == nil {
			l.granted(wants[i], n, f.clock.Now())
		} else {
			l.tokens.Add(l.back) // void, until it can be given back
		}
		l.done()
	}
}

// want is how many tokens to ask for: what will be needed until the next ask,
// less what is held. Below 0: what is held is not needed.
func (l *lease) want(now, live int64) int64 {
	asked := l.asked.Swap(0)
	if span := now - l.askedAt; l.askedAt != 0 && span > 0 {
		// Half of what is known is forgotten with every mostPeriod.
		weight := min(float64(span)/float64(mostPeriod), 1)
		l.demand += weight * (float64(asked)/float64(span) - l.demand)
	} else {
		l.demand = float64(asked) / float64(leastPeriod)
	}
	l.askedAt = now
	need := max(l.need(live), l.largest.Swap(0))
	if now <= l.until.Load() {
		l.back = 0
		return max(need-l.tokens.Load(), 0)
	}
	// What is left is void here, but still charged there.
	if l.back = l.tokens.Swap(0); asked == 0 {
		need = 0
	}
	return need - l.back
}

// need is the size of a slice.
func (l *lease) need(live int64) int64 {
	most := float64(mostPeriod) / l.set.limit.Interval() // of the limit in that time
	if live > 1 {
		most = min(most, float64(max(l.set.limit.Spec().Burst, live))/float64(live)+most/float64(live))
	}
	l.slice = int64(min(l.demand*l.period()*1.25, most)) + 1
	return l.slice
}

// period is the time between two asks.
func (l *lease) period() float64 {
	if l.demand <= 0 {
		return float64(mostPeriod)
	}
	return min(max(AskEvery/l.demand, float64(leastPeriod)), float64(mostPeriod))
}

// granted notes the store's answer.
func (l *lease) granted(want int64, n [5]int64, now int64) {
	l.ahead.Store(n[1] * int64(time.Microsecond))
	l.until.Store(now + int64(LeaseTime))
	l.tokens.Add(n[0] + l.back)
	if n[0] < want {
		// There was not enough: no other ask before this instance's turn.
		l.refused.Store(now + int64(l.period()))
		l.lowWater.Store(-1 << 62)
		return
	}
	l.refused.Store(0)
	l.lowWater.Store(l.slice / 3)
}

// done lets those go on who wait for the answer.
func (l *lease) done() {
	l.busy.Store(false)
	if p := l.answered.Swap(nil); p != nil {
		close(*p)
	}
}

// leave gives back what is held, and takes the instance out of the list.
func (f *Fleet) leave() {
	p := f.client.Load()
	if p == nil || f.down.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c := *p
	var commands rueidis.Commands
	for _, s := range f.all() {
		s.each(func(_ uint64, l *lease) {
			if held := l.tokens.Swap(0); held > 0 {
				commands = append(commands, c.B().Evalsha().Sha1(bucketScript.sha).Numkeys(1).Key(l.key).Arg(f.bucketArgs(&s.limit, -held, grantAll)...).Build())
			}
		})
	}
	if len(commands) > 0 {
		f.commands.Add(uint64(len(commands)))
		c.DoMulti(ctx, commands...)
	}
	_, _ = f.run(ctx, instancesScript, f.options.Prefix+"instances", []string{f.instance, "0"})
}
