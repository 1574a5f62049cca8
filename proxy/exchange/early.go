package exchange

// earlyHead holds response fields that are set before there is an answer.
type earlyHead struct {
	ResponseHead
	used bool
}

// Early is for response fields that are set before the upstream's head has
// arrived; they are laid over it, or over what is answered instead. Who asks for
// it sets some.
func (ex *Exchange) Early() *ResponseHead {
	if ex.early == nil {
		ex.early = &earlyHead{}
	}
	ex.early.used = true
	return &ex.early.ResponseHead
}

// HasEarly tells whether Early may hold anything.
func (ex *Exchange) HasEarly() bool { return ex.early != nil && ex.early.used }

// LayEarly lays what Early holds over the answer's head, once.
func (ex *Exchange) LayEarly() {
	if !ex.HasEarly() {
		return
	}
	for name, value := range ex.early.All() {
		ex.Resp.Add(text(name), value)
	}
	ex.dropEarly()
}

func (ex *Exchange) dropEarly() {
	if ex.HasEarly() {
		ex.early.Reset()
		ex.early.used = false
	}
}
