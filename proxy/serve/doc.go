// Package serve is the goroutine driver: it accepts connections, reads requests
// strictly, and moves each exchange along on the goroutine of its connection,
// performing the ops that the exchange waits for in place.
//
//	         Server
//	accept -> conn (one goroutine each)
//	            |  wait for bytes (no buffer held), scan the head
//	            |  exchange.Acquire, Options.Begin
//	            |  +-> Options.Advance(ex) -- true: finished ---------+
//	            |  |        | false: it waits for ops                 |
//	            |  |        v                                         |
//	            |  +-- perform them: the last in place, others beside |
//	            |                                                     |
//	            +<-- keep-alive, or linger and close <----------------+
//
//	watch  one thread in epoll_wait: tells an exchange at once that its client
//	       has gone, without reading from the connection
//	sweep  one ticker: ends connections whose deadline has passed, so that no
//	       request pays for arming a timer
//
// fasthttp.Server is not used: it cannot hand an exchange to another driver,
// buffers what a slow upstream sends under Content-Length, answers
// Expect: 100-continue before a filter has spoken, keeps answers to pipelined
// requests back, and tells nobody that a client has left.
package serve
