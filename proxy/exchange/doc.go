// Package exchange holds what is known of one request and its response while
// it is under way, and the words in which filters and drivers speak of it.
//
// An exchange is moved along by steps that never block. A step that has to
// wait posts one or more ops on the exchange and answers Wait; the driver
// performs them in its own way (in place on a goroutine, or as readiness events
// of a loop), reports each by Complete, and calls the step again. Ops may
// complete in any order and on any thread, as long as only one thread at a
// time advances the exchange.
//
//	            posts ops                     performs ops
//	step  ----------------->  Exchange  <----------------->  driver
//	      <-----------------            ------------------>
//	         Wait / resumed                Complete(op)
//
// Nothing here belongs to one driver: heads are values of an exchange, never
// fasthttp's RequestCtx, and the answer goes to a Downstream. A head that passes
// through is not taken apart: what filters add to it and take from it lies beside
// what arrived (fields.go, response.go). fasthttp's header types copy each field
// twice and look at each name for meanings that a gateway must not act on.
package exchange
