// Package observe is what the gateway tells about itself: the record of a
// finished exchange, the metrics, the access log and the process log.
//
// One exchange passes through here once, in finish, when its last byte has left
// or its client is gone:
//
//	Record (part of the pooled exchange, filled as the exchange moves)
//	   |
//	   +--> RouteMetrics.Observe       2 atomic adds + the code's counter
//	   +--> EndpointMetrics.Observe    the same, once per attempt
//	   +--> AccessLog.Write            formats into a pooled buffer ...
//	           |
//	           v  bounded ring; full: the line is dropped and counted
//	        one writer goroutine  -->  file or stdout, in batches
//
// Nothing here blocks an exchange and nothing allocates per exchange: handles
// to series are resolved when a snapshot is built (Metrics.Route and its
// siblings), and the lines of both logs are formatted without reflection.
//
// Metrics that perigee counts itself are cells of this package, because the
// Prometheus-style histogram of the metrics library takes a mutex and its
// registry knows no HELP texts; the Go runtime's and the process's metrics are
// written by that library.
package observe
