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
// Nothing here belongs to one driver: the two heads are fasthttp's header
// types, never its RequestCtx, and the answer goes to a Downstream.
package exchange
