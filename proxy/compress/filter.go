package compress

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"perigee/proxy/exchange"
)

// Filter decides in the header stage and compresses in the body stage.
//
//	header   status, type, length, client     -> Exchange.Coding, or nothing
//	body     Chunk -> coder -> Chunk            flushed where the answer pauses
//
// What has come of the coder when a piece of the answer was taken may be
// nothing: then nothing is sent. It keeps back up to a few 10 KiB, unless the
// answer is one that trickles; see behind.
type Filter struct {
	config Config
	types  map[string]bool
	all    bool // types
}

// New makes the filter of a checked configuration.
func New(c Config) *Filter {
	f := &Filter{config: c, types: make(map[string]bool, len(c.Types))}
	for _, t := range c.Types {
		f.types[strings.ToLower(t)] = true
	}
	f.all = f.types["*"]
	return f
}

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "compress" }

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if stage == exchange.Header {
		f.head(ex)
		return exchange.Continue
	}
	if c, ok := ex.Coding.(*coder); ok {
		ex.Chunk = c.code(ex.Chunk, behind(ex))
	}
	return exchange.Continue
}

// head decides whether the answer is compressed, and says so in its head.
func (f *Filter) head(ex *exchange.Exchange) {
	if ex.Parent != nil || !f.suits(&ex.Resp) {
		return
	}
	if f.config.Vary {
		vary(&ex.Resp)
	}
	if ex.Req.IsHead() || ex.Head.Minor == 0 || !accepts(ex.RequestHeader("accept-encoding")) || !f.mayPass(ex) {
		return
	}
	h := &ex.Resp
	h.Set("Content-Encoding", []byte("gzip"))
	h.SetLength(-1)
	h.Del("Accept-Ranges")
	weaken(ex)
	ex.Coding = newCoder(f.config.Level)
}

// suits tells whether an answer is worth it.
func (f *Filter) suits(h *exchange.ResponseHead) bool {
	switch h.StatusCode() {
	case fasthttp.StatusOK, fasthttp.StatusForbidden, fasthttp.StatusNotFound:
	default:
		return false
	}
	if h.Peek("Content-Encoding") != nil || lists(h.Peek("Cache-Control"), "no-transform") {
		return false
	}
	if n := h.Length(); n >= 0 && n < int64(f.config.MinLength) {
		return false
	}
	return f.all || f.hasType(h.ContentType())
}

func (f *Filter) hasType(media []byte) bool {
	bare, _, _ := bytes.Cut(media, []byte{';'})
	var lower [64]byte
	name := append(lower[:0], bytes.TrimSpace(bare)...)
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c | 0x20
		}
	}
	return f.types[string(name)]
}

// mayPass tells whether an answer that another proxy has asked for may be
// compressed: nginx's rules of gzip_proxied, in its order.
func (f *Filter) mayPass(ex *exchange.Exchange) bool {
	if ex.RequestHeader("via") == nil {
		return true
	}
	has := func(p Proxied) bool { return slices.Contains(f.config.Proxied, p) }
	switch {
	case has(ProxiedOff) || len(f.config.Proxied) == 0:
		return false
	case has(ProxiedAny), has(ProxiedAuth) && ex.RequestHeader("authorization") != nil:
		return true
	}
	h := &ex.Resp
	if expires := h.Peek("Expires"); expires != nil {
		return has(ProxiedExpired) && isPast(expires)
	}
	if control := h.Peek("Cache-Control"); control != nil {
		for _, p := range []Proxied{ProxiedNoCache, ProxiedNoStore, ProxiedPrivate} {
			if has(p) && lists(control, string(p)) {
				return true
			}
		}
		return false
	}
	return !(has(ProxiedNoLastModified) && h.Peek("Last-Modified") != nil) &&
		!(has(ProxiedNoETag) && h.Peek("ETag") != nil)
}

// isPast tells whether a date is over; one that cannot be read is.
func isPast(date []byte) bool {
	t, err := fasthttp.ParseHTTPDate(date)
	return err != nil || t.Before(time.Now())
}

func vary(h *exchange.ResponseHead) {
	for name, value := range h.All() {
		if exchange.SameName(name, []byte("Vary")) && (lists(value, "Accept-Encoding") || lists(value, "*")) {
			return
		}
	}
	h.Add("Vary", []byte("Accept-Encoding"))
}

// weaken makes an entity tag one of the same meaning, not of the same bytes.
func weaken(ex *exchange.Exchange) {
	tag := ex.Resp.Peek("ETag")
	switch {
	case tag == nil || bytes.HasPrefix(tag, []byte("W/")):
	case tag[0] == '"':
		ex.Scratch = append(append(ex.Scratch[:0], "W/"...), tag...)
		ex.Resp.Set("ETag", ex.Scratch)
	default:
		ex.Resp.Del("ETag")
	}
}

// behind is what follows Chunk: a pause where a script has flushed it, or where
// an endpoint has sent no more and its answer is not one that is passed on in
// larger pieces.
func behind(ex *exchange.Exchange) follow {
	switch {
	case ex.Last:
		return end
	case ex.Place.Source == exchange.FromFilter:
		return pause
	case ex.Place.Source == exchange.FromUpstream && !ex.Place.Buffered && !ex.Up.Buffered():
		return pause
	}
	return more
}
