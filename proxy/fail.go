package proxy

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"perigee/luavm"
	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/route"
)

// fail answers with a status of the gateway's own. why is for log and metrics;
// the client is told nothing internal. If the head has left, the answer is cut.
func (g *Gateway) fail(ex *exchange.Exchange, status int, why string) bool {
	if ex.Place.HeadSent {
		g.cut(ex, observe.AbortInternal)
		return true
	}
	g.state.failed(ex, status, why)
	ex.Place.HeadDone = false
	ex.Place.Answer = 0
	ex.Resp.Reset()
	ex.Resp.SetStatusCode(status)
	if g.errorPage(ex, status) {
		return true
	}
	localError(ex, status)
	ex.Place.Source = exchange.FromOut
	ex.Place.Step = stepHeader
	return true
}

// localError makes the plain answer for a status.
func localError(ex *exchange.Exchange, status int) {
	ex.Place.Stock, ex.Scripted = true, false
	if ex.Parent != nil {
		ex.Out = ex.Out[:0]
		return
	}
	if ex.Place.Status != 0 {
		status = ex.Place.Status // the error is a redirect
	}
	ex.Scripted = false
	if ex.Out = ex.Out[:0]; status < 300 || status == 444 {
		return // these have no name; nginx says nothing either
	}
	if snap, _ := ex.Snapshot.(*Snapshot); snap != nil && snap.File.ErrorFormat == config.ErrorHTML {
		ex.Resp.SetType("text/html")
		ex.Out = append(ex.Out, "<html>\r\n<head><title>"...)
		ex.Out = appendStatus(ex.Out, status)
		ex.Out = append(ex.Out, "</title></head>\r\n<body>\r\n<center><h1>"...)
		ex.Out = appendStatus(ex.Out, status)
		ex.Out = append(ex.Out, "</h1></center>\r\n</body>\r\n</html>\r\n"...)
		return
	}
	ex.Resp.SetType("text/plain")
	ex.Out = append(appendStatus(ex.Out, status), '\n')
}

// appendStatus appends a status with its name.
func appendStatus(dst []byte, status int) []byte {
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	return append(dst, fasthttp.StatusMessage(status)...)
}

// errorPage turns to what the configuration has for a status. A page that fails
// itself is not replaced again.
func (g *Gateway) errorPage(ex *exchange.Exchange, status int) bool {
	ex.Place.Status = 0 // of a page that has failed
	exited := ex.Exited
	ex.Exited = false
	pages := ex.Snapshot.(*Snapshot).errorPages
	if ex.Route != nil {
		pages = ex.Route.ErrorPages
	}
	page, ok := pages[status]
	if !ok || ex.Place.ErrorPage != 0 || ex.Parent != nil {
		return false
	}
	ex.Place.ErrorPage = status
	switch page.Status {
	case 0:
		ex.Place.Status = status
	case exchange.OwnStatus:
		if !exited {
			ex.Resp.SetStatusCode(200) // unless it says another
		}
	default:
		ex.Place.Status = page.Status
	}
	switch {
	case !page.Redirect.IsZero():
		redirectPage(ex, page)
		return false
	case page.Route != "":
		ex.Jump = page.Route
	default:
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], page.Path)
		path, query, _ := bytes.Cut(ex.Scratch, []byte{'?'})
		ex.Path = append(ex.Path[:0], path...)
		ex.SetQuery(query)
		if !ex.Req.IsHead() {
			ex.Req.SetMethod("GET")
		}
	}
	if ex.Lua != nil {
		ex.Lua.ClearFlags(luavm.FlagStatusSet)
		status := ex.Place.Status
		if exited && page.Status == exchange.OwnStatus {
			status = ex.Resp.StatusCode()
		}
		ex.Lua.SetStatus(status)
		ex.Lua.LeaveContext()
	}
	ex.Stale = true
	ex.Tried.Reset()
	ex.Place.Step = stepBefore
	if ex.Jump != "" {
		ex.Place.Step = stepMatch
	}
	return true
}

// redirectPage makes the error a redirect.
func redirectPage(ex *exchange.Exchange, page exchange.ErrorPage) {
	if page.Status <= 0 {
		ex.Place.Status = 302
	}
	ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], page.Redirect)
	ex.Resp.Set("Location", ex.Scratch)
}

// hangup closes the connection without an answer.
func (g *Gateway) hangup(ex *exchange.Exchange) bool {
	ex.Record.Status = ex.Resp.StatusCode()
	ex.Fatal = ex.Record.Status
	ex.Down.Close()
	ex.Place.Step = stepEnd
	return true
}

// failMethod answers 405 with the methods that would have found a route (RFC
// 9110 §15.5.6).
func (g *Gateway) failMethod(ex *exchange.Exchange) bool {
	more := g.fail(ex, 405, "method")
	allowed := ex.Snapshot.(*Snapshot).tables.serve.Allowed(asked{ex}, route.Outside)
	ex.Resp.Set("Allow", []byte(strings.Join(allowed, ", ")))
	return more
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
