package exchange

import "github.com/valyala/fasthttp"

// earlyHead holds response fields that are set before there is an answer.
type earlyHead struct {
	fasthttp.ResponseHeader
	used bool
}

// Early is for response fields that are set before the upstream's head has
// arrived; they are laid over it, or over what is answered instead. Who asks for
// it sets some.
func (ex *Exchange) Early() *fasthttp.ResponseHeader {
	if ex.early == nil {
		ex.early = &earlyHead{}
		ex.early.reset()
	}
	ex.early.used = true
	return &ex.early.ResponseHeader
}

// HasEarly tells whether Early may hold anything.
func (ex *Exchange) HasEarly() bool { return ex.early != nil && ex.early.used }

// LayEarly lays what Early holds over the answer's head, once.
func (ex *Exchange) LayEarly() {
	if !ex.HasEarly() {
		return
	}
	for name, value := range ex.early.All() {
		ex.Resp.AddBytesKV(name, value)
	}
	ex.dropEarly()
}

func (ex *Exchange) dropEarly() {
	if ex.HasEarly() {
		ex.early.reset()
	}
}

// reset empties the head; fasthttp forgets these settings with it.
func (e *earlyHead) reset() {
	e.Reset()
	e.DisableNormalizing()
	e.SetNoDefaultContentType(true)
	e.used = false
}
