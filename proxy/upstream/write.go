package upstream

// WriteLast gives the end of a request, or all of it: head, data and end (the
// end of a chunk or of all chunks), any of which may be empty. ReadHead, which
// has to be called next, sends them together in one system call before it
// waits, so an error of sending is ReadHead's, and the memory has to stay as it
// is until ReadHead returns. It implies SentAll.
func (c *Conn) WriteLast(head, data, end []byte) {
	c.last, c.hasLast = [3][]byte{head, data, end}, true
}

// Write sends head, data and end, any of which may be empty, in one system call
// if the socket has room; it waits for room otherwise. end is for a chunk's
// CRLF. The error is a *TransferError; the endpoint may nevertheless have
// answered, so a reader should look for a response before the error is passed
// on, unless it is ErrUnsent.
func (c *Conn) Write(head, data, end []byte) error {
	if c.kept && !c.has(markSent) && !c.quiet() {
		return c.failure(StepSend, errUnasked)
	}
	c.mark(markSent)
	if err := c.send(head, data, end); err != nil {
		if err == errQuiet {
			return err
		}
		return c.failure(StepSend, err)
	}
	return nil
}

// AllSent tells whether the request is complete. Any goroutine may ask.
func (c *Conn) AllSent() bool { return c.has(markSentAll) }

// SentAll says that the request is complete, body included: the Response timeout
// runs from now. Without it, or WriteLast, the connection is not kept.
func (c *Conn) SentAll() {
	c.mark(markSent | markSentAll)
	c.link.startHead()
}

// AwaitHead starts the Response timeout though the request is not complete: its
// sender waits for a 100 (Continue) before it goes on.
func (c *Conn) AwaitHead() { c.link.startHead() }

func (c *Conn) send(a, b, d []byte) error {
	if c.tls == nil {
		return c.link.send(a, b, d)
	}
	if total := len(a) + len(b) + len(d); total <= bufferSize {
		// One record and one system call instead of three.
		joined := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(joined)
		all := append(append(append(joined[:0], a...), b...), d...)
		_, err := c.tls.Write(all)
		return err
	}
	for _, p := range [...][]byte{a, b, d} {
		if len(p) == 0 {
			continue
		}
		if _, err := c.tls.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// receive reads once into p.
func (c *Conn) receive(p []byte) (int, error) {
	if c.tls == nil {
		return c.link.receive(p)
	}
	return c.tls.Read(p)
}

// turn sends what WriteLast was given and reads the first bytes of the answer
// into p. It answers bytes, or an error that failure has made.
func (c *Conn) turn(p []byte) (n int, err error) {
	if c.link.resident != nil {
		return c.turnHome(p)
	}
	pieces := c.last
	c.last, c.hasLast = [3][]byte{}, false
	probe := c.kept && !c.has(markSent)
	if c.tls != nil {
		return c.turnTLS(pieces, p)
	}
	first := turnSend
	if probe {
		first = turnProbe
	}
	n, probed, sendErr, err := c.link.takeTurn(pieces, p, first)
	if probed {
		c.mark(markSent)
	}
	switch {
	case n > 0:
		// An answer, whole request or not. A request that was cut off leaves the
		// connection unusable, because SentAll was not said.
		if sendErr == nil {
			c.mark(markSentAll)
		}
		return n, nil
	case sendErr != nil:
		return 0, c.failure(StepSend, sendErr)
	case !probed:
		return 0, c.failure(StepSend, err)
	}
	return 0, c.failure(StepHead, err)
}

func (c *Conn) turnTLS(pieces [3][]byte, p []byte) (int, error) {
	if err := c.Write(pieces[0], pieces[1], pieces[2]); err != nil {
		return 0, err
	}
	c.SentAll()
	n, err := c.receive(p)
	if n > 0 {
		return n, nil
	}
	return 0, c.failure(StepHead, err)
}
