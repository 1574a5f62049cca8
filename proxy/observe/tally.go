package observe

import "time"

// A Tally is what one thread has observed and not yet counted where everybody reads
// it. A busy loop observes the same over and over: a route's 200s that took about as
// long. So it holds back one kind of each and how many there were, and counts them
// at once when another kind comes, or its thread says Settle. Six locked
// instructions an exchange become six a wake-up.
//
//	wake-up   200 0.4ms, 200 0.3ms, 200 0.4ms      500 2ms     Settle
//	held      n=1        n=2        n=3            n=1         n=0
//	counted                                        3           1
//
// The zero value is ready. Only its thread may use it; a nil Tally counts at once.
type Tally struct{ route, attempt held }

// held are observations of the same status and bucket of a histogram.
type held struct {
	codes    *codes
	duration *Histogram
	shard    uint32
	status   int
	bucket   int
	above    time.Duration // what the bucket's durations are longer than
	most     time.Duration // and the longest of them
	n        int64
	sum      time.Duration
}

// Settle counts what is held back.
func (t *Tally) Settle() {
	t.route.settle()
	t.attempt.settle()
}

// add observes one more; d is not negative.
func (h *held) add(c *codes, duration *Histogram, shard uint32, status int, d time.Duration) {
	if h.n == 0 || h.codes != c || h.status != status || d <= h.above || d > h.most {
		h.settle()
		h.codes, h.duration, h.shard, h.status = c, duration, shard, status
		h.bucket = duration.bucket(d)
		h.above, h.most = duration.span(h.bucket)
	}
	h.n++
	h.sum += d
}

func (h *held) settle() {
	if h.n == 0 {
		return
	}
	h.codes.add(h.shard, h.status, h.n)
	h.duration.add(h.shard, h.bucket, h.n, h.sum)
	h.n, h.sum = 0, 0
}
