package transform

import (
	"bytes"
	"sort"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// Filter edits the heads of requests and responses.
type Filter struct {
	request, response edits
	success           []field // added to successes
	charset           string  // "; charset=..." or nothing
}

// edits are Headers in a fixed order.
type edits struct {
	remove   []string
	set, add []field
}

type field struct {
	name  string
	value unit.Template
}

// New makes the filter of a checked configuration.
func New(c Config) *Filter {
	f := &Filter{request: order(c.Request), response: order(c.Response.always()), success: added(c.Response.AddOnSuccess)}
	if c.Charset != "" {
		f.charset = "; charset=" + c.Charset
	}
	return f
}

func order(h Headers) edits {
	return edits{remove: h.Remove, set: sorted(h.Set), add: added(h.Add)}
}

func sorted(m map[string]unit.Template) []field {
	var fields []field
	for name, value := range m {
		fields = append(fields, field{name, value})
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].name < fields[j].name })
	return fields
}

// added are all values of fields, those of a name in their order.
func added(m map[string]unit.Texts) []field {
	var fields []field
	for name, values := range m {
		for _, value := range values.Templates() {
			fields = append(fields, field{name, value})
		}
	}
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].name < fields[j].name })
	return fields
}

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "transform" }

// Edits tells whether the filter does anything at a stage.
func (f *Filter) Edits(stage exchange.Stage) bool {
	e := f.request
	if stage == exchange.Header {
		if e = f.response; f.charset != "" || len(f.success) > 0 {
			return true
		}
	} else if stage != exchange.Rewrite {
		return false
	}
	return len(e.remove)+len(e.set)+len(e.add) > 0
}

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if stage == exchange.Header {
		if ex.Parent == nil { // nobody but a script sees a subrequest's head
			f.editResponse(ex)
		}
		f.addCharset(ex)
	} else {
		f.editRequest(ex)
	}
	return exchange.Continue
}

func (f *Filter) editRequest(ex *exchange.Exchange) {
	for _, name := range f.request.remove {
		ex.DelRequestHeader(name)
	}
	for _, e := range f.request.set {
		ex.SetRequestTemplate(e.name, e.value)
	}
	for _, e := range f.request.add {
		if ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], e.value); len(ex.Scratch) > 0 {
			ex.AddRequestHeader(e.name, ex.Scratch)
		}
	}
	ex.HeadEdited = true
}

func (f *Filter) editResponse(ex *exchange.Exchange) {
	h := &ex.Resp
	for _, name := range f.response.remove {
		h.Del(name)
	}
	for _, e := range f.response.set {
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], e.value)
		if len(ex.Scratch) == 0 {
			h.Del(e.name)
			continue
		}
		h.Set(e.name, ex.Scratch)
	}
	add(ex, f.response.add)
	switch h.StatusCode() {
	case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308:
		add(ex, f.success)
	}
}

func add(ex *exchange.Exchange, fields []field) {
	for _, e := range fields {
		if ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], e.value); len(ex.Scratch) > 0 {
			ex.Resp.Add(e.name, ex.Scratch)
		}
	}
}

// addCharset completes the type of a text that names no charset; which types
// those are is nginx's choice.
func (f *Filter) addCharset(ex *exchange.Exchange) {
	media := ex.Resp.ContentType()
	if f.charset == "" || bytes.Contains(media, []byte("charset=")) {
		return
	}
	bare, _, _ := bytes.Cut(media, []byte{';'})
	switch string(bytes.ToLower(bytes.TrimSpace(bare))) {
	case "text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml":
		ex.Scratch = append(append(ex.Scratch[:0], media...), f.charset...)
		ex.Resp.SetTypeBytes(ex.Scratch)
	}
}
