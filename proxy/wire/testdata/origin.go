package testdata

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
)

// perHop are fields that every connection writes anew, so they are not compared.
// Expect is among them: a gateway may ask for the body itself (RFC 9110 §10.1.1).
var perHop = []string{"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Trailer", "Expect"}

// CheckOrigin compares all bytes that the origin's connections received for one
// case, one element per connection, with what the case states. added are the
// names of fields that the gateway adds of its own (X-Forwarded-For, Via, ...).
//
// Requests are compared in their request line, in every field of the head
// (without order and case of the name) and in their payload; not in trailers. They are read by net/http, so the
// judge shares no code with what it judges.
func (c *Case) CheckOrigin(connections [][]byte, added ...string) error {
	var got []string
	var begun [][]byte
	for _, raw := range connections {
		requests, rest, err := readRequests(raw, added)
		if err != nil {
			return fmt.Errorf("the origin got bytes that are no request: %w: %.200q", err, raw)
		}
		got = append(got, requests...)
		if len(rest) > 0 {
			begun = append(begun, rest)
		}
	}
	var want []string
	for _, raw := range c.Origin {
		request, err := wanted(raw, added)
		if err != nil {
			return err
		}
		want = append(want, request)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the origin got %.600q, want %.600q", got, want)
	}
	for _, rest := range begun {
		if err := c.checkCut(rest); err != nil {
			return err
		}
	}
	return nil
}

// checkCut compares a request that began and did not complete.
func (c *Case) checkCut(rest []byte) error {
	wantLine, _, _ := strings.Cut(c.Cut, "\r\n")
	gotLine, _, whole := strings.Cut(string(rest), "\r\n")
	if c.Cut == "" || whole && gotLine != wantLine || !strings.HasPrefix(wantLine, gotLine) {
		return fmt.Errorf("a request began at the origin: %.300q, allowed is %.300q", rest, c.Cut)
	}
	return nil
}

// wanted reads a request as a case states it: its body is everything behind
// the head.
func wanted(raw string, added []string) (string, error) {
	head, body, ok := strings.Cut(raw, "\r\n\r\n")
	if !ok {
		return "", fmt.Errorf("case states a request without an empty line: %q", raw)
	}
	full := fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
	requests, rest, err := readRequests([]byte(full), added)
	if err != nil || len(requests) != 1 || len(rest) > 0 {
		return "", fmt.Errorf("case states no request: %q (%v)", raw, err)
	}
	return requests[0], nil
}

// readRequests reads all complete requests of one connection, in a form that
// can be compared, and gives the bytes of one that did not complete.
func readRequests(raw []byte, added []string) (requests []string, rest []byte, err error) {
	from := bytes.NewReader(raw)
	in := bufio.NewReader(from)
	for {
		start := len(raw) - from.Len() - in.Buffered()
		if start == len(raw) {
			return requests, nil, nil
		}
		if !bytes.Contains(raw[start:], []byte("\r\n\r\n")) {
			return requests, raw[start:], nil
		}
		request, err := http.ReadRequest(in)
		if cutOff(err) {
			return requests, raw[start:], nil
		}
		if err != nil {
			return nil, nil, err
		}
		body, err := io.ReadAll(request.Body)
		if cutOff(err) {
			return requests, raw[start:], nil
		}
		if err != nil {
			return nil, nil, err
		}
		requests = append(requests, form(request, body, added))
	}
}

func cutOff(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// form writes a request down as one comparable string.
func form(request *http.Request, body []byte, added []string) string {
	for _, name := range slices.Concat(perHop, added) {
		request.Header.Del(name)
	}
	var fields []string
	for name, values := range request.Header {
		for _, value := range values {
			fields = append(fields, name+": "+value)
		}
	}
	sort.Strings(fields)
	return fmt.Sprintf("%s %s\nHost: %s\n%s\n\n%s", request.Method, request.RequestURI, request.Host,
		strings.Join(fields, "\n"), body)
}
