//go:build cgo && luajit

package luavm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// headScript does what the variable ops says, line by line, and then shows
// every field and, for each name in ops, the answers of single reads.
const headScript = `
local add = require("ngx.req").add_header
local names = {}
for line in ngx.var.ops:gmatch("[^\n]+") do
	local op, name, value = line:match("^(%a+) ([^ ]+) ?(.*)$")
	names[name] = true
	if op == "set" then ngx.req.set_header(name, value)
	elseif op == "add" then add(name, value)
	elseif op == "clear" then ngx.req.clear_header(name)
	elseif op == "read" then local _ = ngx.var["http_" .. name:gsub("-", "_")]
	end
end
local shown = {}
for name, value in pairs(ngx.req.get_headers(0)) do
	if type(value) == "table" then value = table.concat(value, "|") end
	shown[#shown + 1] = name .. "=" .. value
end
for name in pairs(names) do
	shown[#shown + 1] = "var " .. name:lower() .. "=" .. tostring(ngx.var["http_" .. name:gsub("-", "_")])
end
table.sort(shown)
ngx.print(table.concat(shown, "\n"))
`

type modelField struct{ name, value string }

// modelHead is the list of fields as nginx would keep it.
type modelHead []modelField

func (h *modelHead) clear(name string) {
	*h = slices.DeleteFunc(*h, func(f modelField) bool { return strings.EqualFold(f.name, name) })
}

func (h *modelHead) set(name, value string) {
	if value == "" {
		h.clear(name)
		return
	}
	at := slices.IndexFunc(*h, func(f modelField) bool { return strings.EqualFold(f.name, name) })
	if at < 0 {
		*h = append(*h, modelField{name, value})
		return
	}
	first := (*h)[at].name
	rest := modelHead((*h)[at+1:])
	rest = slices.Clone(rest)
	rest.clear(name)
	*h = append(append((*h)[:at], modelField{first, value}), rest...)
}

func (h modelHead) values(name string) (all []string) {
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			all = append(all, f.value)
		}
	}
	return all
}

// show is what headScript prints.
func (h modelHead) show(names map[string]bool) string {
	var lines []string
	for i, f := range h {
		if !slices.ContainsFunc(h[:i], func(e modelField) bool { return strings.EqualFold(e.name, f.name) }) {
			lines = append(lines, strings.ToLower(f.name)+"="+strings.Join(h.values(f.name), "|"))
		}
	}
	for name := range names {
		value := "nil"
		if all := h.values(name); all != nil {
			value = strings.Join(all, ", ")
		}
		lines = append(lines, "var "+strings.ToLower(name)+"="+value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// randomHead makes a head, the edits of a script and what the script must see.
func randomHead(r *rand.Rand) (head, ops, want string) {
	names := []string{"A", "Abcd", "Abce", "X-Long-Name-1", "X-Long-Name-2", "X-Long", "Accept", "x-y", "x-z", "B1"}
	pick := func() string {
		name := names[r.IntN(len(names))]
		if r.IntN(3) == 0 {
			name = strings.ToUpper(name)
		}
		return name
	}
	var model modelHead
	var b, o strings.Builder
	b.WriteString("GET / HTTP/1.1\r\n")
	for range r.IntN(12) {
		f := modelField{pick(), fmt.Sprint("v", r.IntN(100))}
		if r.IntN(10) == 0 {
			f.value = ""
		}
		model = append(model, f)
		b.WriteString(f.name + ":" + strings.Repeat(" ", r.IntN(3)) + f.value + strings.Repeat("\t", r.IntN(2)) + "\r\n")
	}
	b.WriteString("\r\n")
	asked := map[string]bool{}
	for range r.IntN(15) {
		name, value := pick(), strings.Repeat("w", r.IntN(40))
		asked[name] = true
		switch r.IntN(4) {
		case 0:
			model.set(name, value)
			fmt.Fprintf(&o, "set %s %s\n", name, value)
		case 1:
			model = append(model, modelField{name, value})
			fmt.Fprintf(&o, "add %s %s\n", name, value)
		case 2:
			model.clear(name)
			fmt.Fprintf(&o, "clear %s\n", name)
		default:
			fmt.Fprintf(&o, "read %s\n", name)
		}
	}
	return b.String(), o.String(), model.show(asked)
}

func TestHeadersAgainstModel(t *testing.T) {
	pool, scripts := requestScripts(t, new(strings.Builder), headScript)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	buf := make([]byte, 0, 4096) // one address for all heads, as a server's buffers have
	for round := range 3000 {
		head, ops, want := randomHead(r)
		slot, err := pool.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := slot.SetExtra("ops", []byte(ops)); err != nil {
			t.Fatal(err)
		}
		buf = append(buf[:0], head...)
		out := slot.Start(scripts[0], PhaseContent, &Input{Head: buf})
		if out.Kind != Done {
			t.Fatalf("seed %d round %d: %v", seed, round, out.Err)
		}
		if got := string(slot.Output()); got != want {
			t.Fatalf("seed %d round %d\nhead %q\nops\n%s\ngot\n%s\nwant\n%s", seed, round, head, ops, got, want)
		}
		slot.Release()
	}
}

// simpleHead reads a head as the C reader must, in the plainest way.
func simpleHead(head string) (model modelHead) {
	lines := strings.SplitAfter(head, "\n")
	for i, line := range lines {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == lines[i] {
			line = strings.TrimSuffix(line, "\r")
		}
		if i == 0 {
			continue
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if ok && name != "" {
			model = append(model, modelField{name, strings.Trim(value, " \t")})
		}
	}
	return model
}

func FuzzHead(f *testing.F) {
	for _, head := range []string{
		"", "\n", "\r\n\r\n", "GET / HTTP/1.1", "GET / HTTP/1.1\r\n", testHead, testResp,
		"G\r\nA: b", "G\nA:b\nB:c\n\nC:d", "G\r\n:\r\n: x\r\nA:\r\n\r\n", "G\r\nA: \t \r\n b: c\r\n\r", "G\r\n\x00:\x00\r\n",
	} {
		f.Add([]byte(head), "A")
	}
	pool, scripts := requestScripts(f, new(strings.Builder), `
		local n = ngx.var.name
		ngx.print(#ngx.req.raw_header(), "\n")
		local h = ngx.req.get_headers(0)
		local v = h[n:lower()]
		if type(v) == "table" then v = table.concat(v, "|") end
		ngx.print(v, "\n", ngx.header[n] ~= nil, ngx.var["http_" .. n] ~= nil, ngx.var["cookie_" .. n] ~= nil,
			ngx.var["sent_http_" .. n] ~= nil, ngx.var.request ~= nil, ngx.resp.get_headers(0).connection ~= nil)`)
	f.Fuzz(func(t *testing.T, head []byte, name string) {
		slot, err := pool.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		defer slot.Release()
		if err := slot.SetExtra("name", []byte(name)); err != nil {
			t.Fatal(err)
		}
		// an exact copy: a read past the end is a read past the allocation
		head = slices.Clip(slices.Clone(head))
		out := slot.Start(scripts[0], PhaseContent, &Input{Head: head, Resp: head})
		if out.Kind != Done {
			t.Fatal(out.Err)
		}
		want := "nil"
		var all []string
		for _, f := range simpleHead(string(head)) {
			if asciiLower(f.name) == asciiLower(name) {
				all = append(all, f.value)
			}
		}
		if all != nil {
			want = strings.Join(all, "|")
		}
		_, got, _ := strings.Cut(string(slot.Output()), "\n")
		if !strings.HasPrefix(got, want+"\n") {
			t.Errorf("head %q, name %q: got %q, want %q", head, name, got, want)
		}
	})
}

// asciiLower, because field names know no other letters.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// simpleArgs is the plain reading of a query: name=value pairs, decoded.
func simpleArgs(query string) string {
	var order []string
	values := map[string][]string{}
	for _, pair := range strings.Split(query, "&") {
		name, value, ok := strings.Cut(pair, "=")
		name, value = simpleUnescape(name), simpleUnescape(value)
		if name == "" {
			continue
		}
		if !ok {
			value = "true"
		}
		if values[name] == nil {
			order = append(order, name)
		}
		values[name] = append(values[name], value)
	}
	slices.Sort(order)
	var lines []string
	for _, name := range order {
		lines = append(lines, name+"="+strings.Join(values[name], "|"))
	}
	return strings.Join(lines, "\n")
}

func simpleUnescape(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		var c byte
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && hexPair(s[i+1:i+3], &c):
			b = append(b, c)
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func hexPair(s string, c *byte) bool {
	if strings.ContainsAny(s, "+-_ ") {
		return false
	}
	n, err := fmt.Sscanf(s, "%02x", c)
	return err == nil && n == 1 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func FuzzQuery(f *testing.F) {
	for _, query := range []string{"", "&", "=", "a=1&a=2&b", "a=%41%4&%", "%=%&+=+", "a==b&&c=%00", "a=1;b=2", "é=ü"} {
		f.Add([]byte(query))
	}
	pool, scripts := requestScripts(f, new(strings.Builder), `
		local function show(t)
			local l = {}
			for k, v in pairs(t) do
				if type(v) == "table" then
					for i = 1, #v do v[i] = tostring(v[i]) end
					v = table.concat(v, "|")
				end
				l[#l + 1] = k .. "=" .. tostring(v)
			end
			table.sort(l)
			return table.concat(l, "\n")
		end
		local query = ngx.var.args or ""
		local args = ngx.req.get_uri_args(0)
		local decoded = ngx.decode_args(ngx.encode_args(args), 0)
		local shown = show(args)
		assert(show(decoded) == shown, "encode_args")
		assert(show(ngx.decode_args(query, 0)) == shown, "decode_args")
		assert(ngx.unescape_uri(ngx.escape_uri(query)) == query, "escape_uri")
		ngx.req.set_uri_args(query)
		ngx.req.get_uri_args(3)
		ngx.print(shown)`)
	f.Fuzz(func(t *testing.T, query []byte) {
		slot, err := pool.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		defer slot.Release()
		if err := slot.SetVar(VarArgs, query); err != nil {
			t.Fatal(err)
		}
		out := slot.Start(scripts[0], PhaseContent, &Input{Head: []byte(testHead)})
		if out.Kind != Done {
			t.Fatalf("query %q: %v", query, out.Err)
		}
		// tables are sorted by Lua line by line; compare them the same way
		got := strings.Split(string(slot.Output()), "\n")
		want := strings.Split(simpleArgs(string(query)), "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("query %q: got %q, want %q", query, got, want)
		}
	})
}
