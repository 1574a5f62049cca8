//go:build cgo && luajit

package luavm

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The lua-cjson of this program has patches for speed (.ci/cjson). Here it is
// compared with the distribution's, in one VM: every value, every text, every
// error message is the same.

// stockCJSON is the distribution's module, a file of the package lua-cjson.
func stockCJSON(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/lua/5.1/cjson.so")
	if len(found) == 0 {
		t.Skip("lua-cjson is not installed (make deps-test)")
	}
	return found[0]
}

// comparing returns a function that gives a check of testdata/cjson_compare.lua
// an input and reports what differs.
func comparing(tb testing.TB, check string) func(t *testing.T, input []byte) {
	path := stockCJSON(tb)
	p, scripts := dataPool(tb, Options{Path: "testdata/?.lua;;", CPUBudget: time.Minute}, fmt.Sprintf(`
		local same = require "cjson_compare"(%q, %q)
		ngx.print(same(ngx.var.input or ""))`, check, path))
	return func(t *testing.T, input []byte) {
		t.Helper()
		s, err := p.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		if err := s.SetExtra("input", input); err != nil {
			t.Fatal(err)
		}
		out := s.Start(scripts[0], PhaseContent, nil)
		if out.Kind != Done {
			t.Fatalf("%.200q: %+v: %v", input, out, out.Err)
		}
		if got := string(s.Output()); got != "same" {
			t.Fatalf("%.200q: %s", input, got)
		}
	}
}

func TestCJSONValues(t *testing.T) {
	comparing(t, "values")(t, nil)
}

// numberTexts are numbers as texts may have them, and what only looks so.
var numberTexts = strings.Fields(`0 -0 00 01 -01 0.0 -0.0 0. .5 -.5 1. 1.e5 1e5 1E5 1e+5 1e-5 1e 1e+ 1e- 0e1 0e 0x10 0X1p3 -0x1
	0x 0xg 1x 1.5x 1.5.3 1-2 0-2 0+2 1+ + +1 - -- -a --1 1e400 -1e400 1e-400 4.9e-324 2.2250738585072011e-308
	9007199254740991 9007199254740992 9007199254740993 9007199254740994 -9007199254740993 9007199254740993.0
	99999999999999 100000000000000 99999999999999.5 99999999999999.9 123456789012345678 1234567890123456789
	18446744073709551615 18446744073709551616 0.1 0.01 0.001 0.0001 0.00001 0.000001 0.30000000000000004
	0.000099999999999999999 1.7976931348623157e308 0.1234567890123456789 12345678901234567890.5 000000000000000000000001
	1.00000000000000000000000 0.00000000000000000000001 inf Inf INF infinity -inf -Infinity nan NaN -nan nan(1) nul
	null true false tru falsey nulll truefalse`)

// escapeTexts are contents of strings.
var escapeTexts = []string{
	"", "a", `\"`, `\\`, `\/`, `\b\f\n\r\t`, `\u0041`, `\u00e9`, `\u20AC`, `\ud83d\ude00`, `\ud83d`, `\ude00`, `\ud83d\u0041`,
	`\ud83dx`, `\ud83d\n`, `\ud83d\ud83d`, `\u`, `\u1`, `\u12`, `\u123`, `\u123g`, `\u0000`, `\x`, `\`, `\U0041`, `\'`, "\x00", "\x01\x1f\x7f",
	"\xff\xfe", "\xc3\xa9", "\xed\xa0\x80", "tab\there", "line\nbreak", `exactly fifteen`, `exactly sixteen!`, `sixteen and one \n`,
	`a longer text of more than thirty-two bytes, plain`, `a longer text of more than thirty-two bytes \u00e9 with \"escapes\" \\ in it`,
}

func cjsonTexts() []string {
	texts := []string{
		"", " ", "{", "}", "[", "]", ",", ":", "{}", "[]", "[[]]", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{1:2}", "{a:1}",
		"[1", "[1,", "[1,]", "[,1]", "[1 2]", "[]]", "{}}", "1 2", "\"a\" \"b\"", "[\"a\" \"b\"]", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{null:1}",
		" \t\r\n[ 1 , 2 ] \n", "[1]\x00", "[\x00]", "\x00\x00", "a\x00", "1\x00", "\xef\xbb\xbf[]", "/**/1", "[1]//", "'a'", "\x0b1",
		`{"a":1,"a":2,"":3}`, `[{"a":1,"b":2,"c":3},{"a":1},{},{"x":[1,2,3],"y":[],"z":[1]},[1,2,3],[4]]`,
		strings.Repeat("[", 1000) + strings.Repeat("]", 1000), strings.Repeat("[", 1001), strings.Repeat(`{"a":`, 1001), strings.Repeat(`{"a":`, 1000),
		strings.Repeat("[", 8100), strings.Repeat(`{"a":`, 4100), strings.Repeat(`{"\n":`, 4100), strings.Repeat(`["\n",{"a":`, 2800),
		strings.Repeat("[[1,2,3],", 40) + "0" + strings.Repeat("]", 40),
		"[" + strings.Repeat("1,", 300) + "[2,3],[4]]",
	}
	for _, n := range numberTexts {
		texts = append(texts, n, "["+n+"]", "["+n+","+n+" ]", `{"k":`+n+`}`)
	}
	for _, s := range escapeTexts {
		texts = append(texts, `"`+s+`"`, `"`+s, `["`+s+`","`+s+`"]`, `{"`+s+`":"x`+s+`"}`, strings.Repeat(" ", 13)+`"`+s+`"`)
	}
	return texts
}

func TestCJSONTexts(t *testing.T) {
	same := comparing(t, "texts")
	for _, text := range cjsonTexts() {
		same(t, []byte(text))
	}
}

// document appends a random document, not always a right one.
func document(b []byte, r *rand.Rand, depth int) []byte {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	text := func(b []byte) []byte {
		b = append(b, '"')
		for range r.IntN(3) {
			b = append(b, pick(escapeTexts)...)
		}
		return append(b, '"')
	}
	kind := r.IntN(8)
	if depth > 6 {
		kind = r.IntN(4)
	}
	switch kind {
	case 0:
		return append(b, pick(numberTexts)...)
	case 1:
		return fmt.Appendf(b, "%.*f", r.IntN(8), r.NormFloat64()*1000)
	case 2, 3:
		return text(b)
	case 4, 5:
		b = append(b, '[')
		for i := range r.IntN(6) {
			if i > 0 {
				b = append(b, ',')
			}
			b = document(b, r, depth+1)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i := range r.IntN(7) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(text(b), ':')
		b = document(b, r, depth+1)
	}
	return append(b, '}')
}

func TestCJSONDocuments(t *testing.T) {
	same := comparing(t, "texts")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const wrong = "\"\\/{}[],:0.-eu \x00\xffn"
	for range 3000 {
		text := document(nil, r, 0)
		same(t, text)
		same(t, text[:r.IntN(len(text)+1)])
		for range 3 {
			text[r.IntN(len(text))] = wrong[r.IntN(len(wrong))]
			same(t, text)
		}
	}
}

func FuzzCJSON(f *testing.F) {
	for _, text := range cjsonTexts() {
		f.Add([]byte(text))
	}
	same := comparing(f, "texts")
	f.Fuzz(func(t *testing.T, text []byte) { same(t, text) })
}

// double is a random double of one of the shapes that matter to conversions.
func double(r *rand.Rand) float64 {
	switch r.IntN(6) {
	case 0:
		n := math.Float64frombits(r.Uint64())
		if n != n {
			return math.Inf(1)
		}
		return n
	case 1: // what is printed without an exponent
		return math.Ldexp(1+r.Float64(), r.IntN(64)-15)
	case 2: // few decimals
		return float64(r.Int64N(1<<r.IntN(50)+1)) / math.Pow10(r.IntN(10))
	case 3: // integers, with the largest that are exact
		return float64(int64(1)<<(40+r.IntN(23)) + r.Int64N(9) - 4)
	case 4: // around powers of ten
		return math.Pow10(r.IntN(24)-6) * (1 + float64(r.IntN(9)-4)*math.Pow10(-r.IntN(17)))
	}
	return -float64(r.Int64N(1e15)) / 1024 // ties
}

func TestCJSONNumbers(t *testing.T) {
	same := comparing(t, "numbers")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rounds := 1000
	if testing.Short() || raceEnabled {
		rounds = 50
	}
	for range rounds {
		var b []byte
		for range 256 {
			b = binary.NativeEndian.AppendUint64(b, math.Float64bits(double(r)))
		}
		same(t, b)
	}
}

// order is a document of 4 KB as a shop's front end sends it.
func order() []byte {
	b := []byte(`{"items":[`)
	for i := range 34 {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"price":%g,"qty":%d,"sku":"SKU-%05d","tags":["a","b","stock"],"title":"An item of the order, number %d"}`,
			0.5+1.25*float64(i), i%5+1, i*37, i)
	}
	return append(b, `],"note":"`+strings.Repeat("n", 100)+
		`","user":{"email":"Ada@Example.COM","id":4711,"name":"Ada Example","password":"secret"}}`...)
}

// BenchmarkCJSON decodes and encodes, with the program's module and with the
// distribution's.
func BenchmarkCJSON(b *testing.B) {
	for _, doc := range []struct {
		name string
		text []byte
	}{
		{"order", order()},
		{"small", []byte(`{"ok":true,"method":"GET","path":"/w4","args":{"a":"1","b":"two"},"agent":"wrk/4.1","host":"127.0.0.1","items":[1,2,3]}`)},
	} {
		for _, c := range []struct{ name, lua string }{
			{"quick", `require "cjson"`},
			{"stock", fmt.Sprintf(`package.loadlib(%q, "luaopen_cjson")()`, stockCJSON(b))},
		} {
			for _, call := range []string{"decode", "encode"} {
				b.Run(doc.name+"/"+call+"/"+c.name, func(b *testing.B) {
					benchmarkCJSON(b, doc.text, c.lua, call)
				})
			}
		}
	}
}

func benchmarkCJSON(b *testing.B, text []byte, module, call string) {
	p, scripts := dataPool(b, Options{CPUBudget: time.Hour}, fmt.Sprintf(`
		local c, text = %s, ngx.var.input
		local v, f = c.decode(text), c.%s
		if f == c.decode then v = text end
		for _ = 1, ngx.var.rounds do f(v) end`, module, call))
	s, err := p.Pin(0)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Release()
	for name, value := range map[string][]byte{"input": text, "rounds": fmt.Append(nil, b.N)} {
		if err := s.SetExtra(name, value); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(text)))
	b.ResetTimer()
	if out := s.Start(scripts[0], PhaseContent, nil); out.Kind != Done {
		b.Fatal(out.Err)
	}
}
