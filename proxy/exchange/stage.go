package exchange

// Stage names a point in an exchange's life where filters run, in nginx's
// order of phases.
type Stage uint8

// The stages in their order. Body runs once per chunk; Header, Body and Log run
// over the route's filters backwards.
const (
	ServerRewrite Stage = iota // what it makes of the path decides the route
	Rewrite
	Access
	Content
	Balancer
	Header
	Body
	Log
	StageCount
)

var stageNames = [StageCount]string{"server_rewrite", "rewrite", "access", "content", "balancer", "header_filter", "body_filter", "log"}

// String returns nginx's name of the stage.
func (s Stage) String() string {
	if s < StageCount {
		return stageNames[s]
	}
	return "unknown"
}

// Verdict is what a filter answers when it has run at a stage.
type Verdict uint8

const (
	// Continue: the next filter of the stage, or the next stage, may run.
	Continue Verdict = iota
	// Respond: the answer is complete in Exchange.Resp and Exchange.Out, or
	// Exchange.File if it is open; the remaining request stages are skipped.
	Respond
	// Wait: at least one op was posted; the filter is called again with the
	// same stage when one of its ops has completed.
	Wait
	// Emit: Exchange.Out holds bytes of an answer that goes on: they are sent
	// (with the head, if it has not left), then the filter is called again.
	Emit
	// Restart: the request's target was replaced; match again and run the
	// request stages of the new route.
	Restart
	// Fail: the gateway answers with Exchange.FailStatus, or cuts the answer if
	// its head has left.
	Fail
	// Hangup: the connection closes without an answer (nginx's 444).
	Hangup
)

// Filter is one feature's part in a route. A filter is shared by all exchanges
// of its route: what it knows of one exchange lives in the exchange.
type Filter interface {
	// Name is the feature's name in explain, errors and traces.
	Name() string
	// Step runs the filter at a stage. It must not block, start goroutines or
	// keep memory of the exchange past its verdict. Header, Body and Log steps
	// may answer Continue, Wait and Fail only, Header also Hangup.
	Step(ex *Exchange, stage Stage) Verdict
}
