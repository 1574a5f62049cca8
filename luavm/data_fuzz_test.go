//go:build cgo && luajit

package luavm

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
)

// echo returns a function that runs a script with `input` set and gives what
// it prints.
func echo(f *testing.F, script string) func(t *testing.T, input []byte) string {
	p, scripts := dataPool(f, Options{Log: func(*Slot, int, []byte) {}}, "local input = ngx.var.input or ''\n"+script)
	return func(t *testing.T, input []byte) string {
		s, err := p.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		if err := s.SetExtra("input", input); err != nil {
			t.Fatal(err)
		}
		if out := s.Start(scripts[0], PhaseContent, nil); out.Kind != Done {
			t.Fatalf("%q: %+v: %v", input, out, out.Err)
		}
		return string(s.Output())
	}
}

// decodable is s as Go's decoder takes it: up to the first '=', without the
// bits that go nowhere.
func decodable(s string, enc *base64.Encoding) (string, bool) {
	s, _, _ = strings.Cut(s, "=")
	if strings.ContainsAny(s, "\r\n") {
		return "", false
	}
	b, err := enc.WithPadding(base64.NoPadding).DecodeString(s)
	return string(b), err == nil
}

func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "a", "YQ==", "YQ", "YWI=", "Y", "YQ==x", "_-8", "+/8", "\x00\xff\xfe", "YWJj\n", "Y=Q"} {
		f.Add([]byte(s))
	}
	run := echo(f, `
local url = require "ngx.base64"
local function hex(s) return s and (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) or "-" end
ngx.print(ngx.encode_base64(input), " ", ngx.encode_base64(input, true), " ", url.encode_base64url(input),
  " ", hex(ngx.decode_base64(input)), " ", hex(url.decode_base64url(input) or nil))`)
	f.Fuzz(func(t *testing.T, input []byte) {
		text := func(enc *base64.Encoding) string {
			if b, ok := decodable(string(input), enc); ok {
				return hex.EncodeToString([]byte(b))
			}
			return "-"
		}
		want := fmt.Sprint(base64.StdEncoding.EncodeToString(input), " ", base64.RawStdEncoding.EncodeToString(input), " ",
			base64.RawURLEncoding.EncodeToString(input), " ", text(base64.StdEncoding), " ", text(base64.URLEncoding))
		if got := run(t, input); got != want {
			t.Errorf("%q:\n got %s\nwant %s", input, got, want)
		}
	})
}

// unescaped is ngx.unescape_uri in Go.
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(s) {
			if v, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				c = v[0]
				i += 2
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{"", "a%20b+c", "%", "%4", "%zz%41", "%00%ff", "%%41", "~-._'()*!", "\xff &=?"} {
		f.Add([]byte(s))
	}
	run := echo(f, `
for set = 0, 6 do
  local e = ngx.escape_uri(input, set)
  -- without escaping '+' a plus would come back as a blank
  if set == 1 or set == 2 then assert(ngx.unescape_uri(e) == input) end
  assert(#e >= #input and not e:find("[%z\1-\32]"))
end
ngx.print(ngx.unescape_uri(input))`)
	f.Fuzz(func(t *testing.T, input []byte) {
		if got, want := run(t, input), unescaped(string(input)); got != want {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
	})
}

// FuzzArgs compares decode_args with the splitting in Go, pair by pair.
func FuzzArgs(f *testing.F) {
	for _, s := range []string{"", "a=1&b=2&c", "a=1&a=2&a", "=&&=x&y=", "%61=%62+c", "a=b=c", "&", "="} {
		f.Add([]byte(s))
	}
	run := echo(f, `
local t = ngx.decode_args(input, 0)
local function hex(s) return s == true and "true" or (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local lines = {}
for k, v in pairs(t) do
  for _, one in ipairs(type(v) == "table" and v or {v}) do
    lines[#lines + 1] = hex(k) .. "=" .. hex(one)
  end
end
table.sort(lines)
assert(#input > 300 or #ngx.encode_args(t) >= #lines)
ngx.print(table.concat(lines, "\n"))`)
	f.Fuzz(func(t *testing.T, input []byte) {
		var want []string
		for pair := range strings.SplitSeq(string(input), "&") {
			key, value, ok := strings.Cut(pair, "=")
			if key = unescaped(key); key == "" {
				continue
			}
			text := "true"
			if ok {
				text = hex.EncodeToString([]byte(unescaped(value)))
			}
			want = append(want, hex.EncodeToString([]byte(key))+"="+text)
		}
		got := strings.Split(run(t, input), "\n")
		if len(want) == 0 {
			want = []string{""}
		}
		counts := map[string]int{}
		for _, line := range want {
			counts[line]++
		}
		for _, line := range got {
			counts[line]--
		}
		for line, n := range counts {
			if n != 0 {
				t.Errorf("%q: %+d of %q", input, -n, line)
			}
		}
	})
}

func FuzzHTTPTime(f *testing.F) {
	for _, s := range []string{"", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994", "Thu, 29 Feb 2000 00:00:00 GMT", "Mon, 31 Dec 9999 23:59:59 GMT",
		", 1", "Sun Nov 16", "Sun, 06 Nov", "Mon Jan 01 00:00:00 0000"} {
		f.Add([]byte(s))
	}
	run := echo(f, `
local sec = ngx.parse_http_time(input)
ngx.print(sec and ("%.0f "):format(sec) .. ngx.http_time(sec) .. " " .. ngx.cookie_time(sec))`)
	f.Fuzz(func(t *testing.T, input []byte) {
		got := run(t, input)
		for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.ANSIC} {
			at, err := time.Parse(layout, string(input))
			if err != nil {
				continue
			}
			cookie := "Mon, 02-Jan-06 15:04:05 GMT"
			if at.Year() > 2037 {
				cookie = "Mon, 02-Jan-2006 15:04:05 GMT"
			}
			shown := at
			if at.Unix() < 0 {
				shown = time.Unix(0, 0).UTC()
			}
			want := fmt.Sprint(at.Unix(), " ", shown.Format("Mon, 02 Jan 2006 15:04:05 GMT"), " ", shown.Format(cookie))
			if at.Unix() == -1 {
				want = "nil" // nginx cannot tell it from an error
			}
			// Go takes one digit where a clock has two; nginx does not
			if got != want && got != "nil" {
				t.Errorf("%q: got %q, want %q", input, got, want)
			}
			if got == "nil" && want != "nil" && string(input) == at.Format(layout) {
				t.Errorf("%q is not understood", input)
			}
		}
	})
}
