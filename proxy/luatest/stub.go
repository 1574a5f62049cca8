package luatest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stub stands for an upstream. What it answers is decided in Lua, which also
// records what it was asked: lua/upstream.lua.
type stub struct {
	id      int
	name    string // what it stands for
	refuses bool   // connections
	speaks  bool   // by a function of its own, not HTTP
}

func readStub(name string, t *table) *stub {
	return &stub{id: t.integer("id"), name: name, refuses: t.is("refuse"), speaks: t.is("speaks")}
}

// serve answers the requests of a connection, one after the other.
func (h *host) serve(s *stub, c net.Conn) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		h.clock.stir()
		answer, gone, err := h.answer(s, c, r, asked(req, body))
		if gone {
			return
		}
		if err != nil {
			h.problem(fmt.Sprintf("the stub for upstream %s: %v", s.name, err))
			answer = newTable("status", 500, "body", "the stub failed: "+err.Error()+"\n")
		}
		if !write(c, req.Method, answer.(*table)) {
			return
		}
		h.clock.stir()
	}
}

// answer asks the spec for an answer. The asking ends when the gateway hangs up
// (gone): a stub may wait longer than the gateway does.
func (h *host) answer(s *stub, c net.Conn, r *bufio.Reader, request *table) (answer any, gone bool, err error) {
	ctx, cancel := h.vm.bounded()
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if _, err := r.Peek(1); err != nil {
			cancel()
		}
	}()
	answer, err = h.vm.call(ctx, h.vm.answer, newTable("stub", newTable("id", s.id, "request", request)), nil)
	gone = errors.Is(ctx.Err(), context.Canceled)
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-watched
	_ = c.SetReadDeadline(time.Time{})
	return answer, gone, err
}

// asked is a request as the spec sees it.
func asked(req *http.Request, body []byte) *table {
	headers := headerPairs(req.Header)
	headers.list = append(headers.list, &table{list: []any{"Host", req.Host}})
	return newTable(
		"method", req.Method, "target", req.RequestURI, "path", req.URL.Path, "query", req.URL.RawQuery,
		"headers", headers, "host", req.Host, "body", string(body),
		"version", float64(req.ProtoMajor)+float64(req.ProtoMinor)/10,
	)
}

// write sends an answer: {status, headers, body} or {raw}; close ends the
// connection behind it. keep says that the connection goes on.
func write(c net.Conn, method string, answer *table) (keep bool) {
	if raw, given := answer.get("raw").(string); given {
		_, err := io.WriteString(c, raw)
		return err == nil && !answer.is("close")
	}
	status := answer.integer("status")
	if status == 0 { // an answer that never comes
		return false
	}
	body := answer.text("body")
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	framed := false
	for _, item := range answer.sub("headers").items() {
		pair := item.(*table).items()
		name, value := fmt.Sprint(pair[0]), fmt.Sprint(pair[1])
		framed = framed || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	bodiless := status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
	if !framed && !bodiless {
		fmt.Fprintf(&b, "Content-Length: %s\r\n", strconv.Itoa(len(body)))
	}
	b.WriteString("\r\n")
	if method != http.MethodHead && !bodiless {
		b.WriteString(body)
	}
	_, err := io.WriteString(c, b.String())
	return err == nil && !answer.is("close")
}
