//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// replaced is what ngx.re.sub puts in for text when its groups, from 0 on, are
// as given; false: it refuses the text.
func replaced(text string, groups ...string) (string, bool) {
	var b strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, "$") {
			b.WriteByte('$')
			text = after[1:]
			continue
		}
		digits, braced := strings.CutPrefix(after, "{")
		text = strings.TrimLeft(digits, "0123456789")
		number := digits[:len(digits)-len(text)]
		if braced {
			var closed bool
			if text, closed = strings.CutPrefix(text, "}"); !closed {
				return "", false
			}
		}
		if number == "" {
			return "", false
		}
		if n, err := strconv.Atoi(number); err == nil && n < len(groups) {
			b.WriteString(groups[n])
		}
	}
	return b.String(), true
}

func FuzzReplacement(f *testing.F) {
	for _, s := range []string{"", "x", "$", "$$", "$0", "${1}$2", "${1", "$a", "${}", "${a}", "$10", "$00001", "a$1$b", "$99999999999999999999", "$$1", "${1}}", "\x00$1\xff"} {
		f.Add([]byte(s))
	}
	run := echo(f, `local s, n, err = ngx.re.gsub("-ab-a-", "(a)(b)?", input, "jo") ngx.print(n or "", ":", s or err)`)
	f.Fuzz(func(t *testing.T, input []byte) {
		want := ":failed to compile the replacement template"
		if first, ok := replaced(string(input), "ab", "a", "b"); ok {
			second, _ := replaced(string(input), "a", "a", "")
			want = "2:-" + first + "-" + second + "-"
		}
		if got := run(t, input); got != want {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
	})
}

func FuzzRegexOptions(f *testing.F) {
	for _, s := range []string{"", "jo", "adDijJmosuUx", "H", "oH", "o o", "\x00", "é"} {
		f.Add([]byte(s))
	}
	run := echo(f, `local ok, m, err = pcall(ngx.re.find, "ab", "b", input) ngx.print(ok, " ", m, " ", err)`)
	f.Fuzz(func(t *testing.T, input []byte) {
		want := "true 2 2"
		if strings.Contains(string(input), "a") {
			want = "true nil nil"
		}
		if bad := strings.Trim(string(input), "adDijJmosuUx"); bad != "" {
			want = fmt.Sprintf("unknown flag \"%s\" (flags \"%s\")", bad[:1], input)
		}
		if got := run(t, input); got != want && !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
	})
}

// tokens make patterns that are mostly right, and some that are not.
var tokens = []string{
	"a", "b", "é", ".", "(", ")", "|", "*", "+", "?", "*?", "*+", "{2}", "{0,3}", "[ab]", "[^a]", "[\\w-.]", "\\w", "\\b", "\\y",
	"^", "$", "(?:", "(?=", "(?!", "(?<=", "(?>", "(?<n>", "(?|", "\\K", "\\1", "\\k<n>", "(?1)", "(?i)", "\\x{e9}", "\\pL", "\xff", "\\R", "(*SKIP)", "[",
}

// FuzzRegex looks for crashes, endless loops and disagreement of the functions
// with each other. Options are bits, a pattern is a list of tokens.
func FuzzRegex(f *testing.F) {
	for _, pattern := range []string{"\x00\x07", "\x04\x00\x05\x06\x01\x07", "\x1b\x00\x05\x16\x01\x05\x09", "\x14", "\x00\x1d\x01", "\x17\x04\x00\x05\x05", "\x02\x0f", "\x10\x08", "\x16\x04\x00\x05\x05\x06"} {
		for _, opts := range []uint16{0, 1 << 4, 1 << 9, 1<<10 | 1<<4, 1 << 1} {
			f.Add(opts, []byte(pattern), []byte("aab bé\xffab\n"))
		}
	}
	run := echo(f, `
local re = ngx.re
local opts, regex, subj = input:match("^([adDijJmosuUx]*)%z(.-)%z(.*)$")
local from, to, err = re.find(subj, regex, opts)
local m, err2 = re.match(subj, regex, opts)
assert(err == err2 and (from == nil) == (m == nil), "find and match")
assert(not m or m[0] == subj:sub(from, to), "what find found")
local n, it = 0, re.gmatch(subj, regex, opts)
for c in it or function() end do n = n + 1 assert(n < 1000, "endless gmatch") end
local same, count, err3 = re.gsub(subj, regex, "$0", opts)
local other, count2 = re.gsub(subj, regex, function(c) return c[0] end, opts)
assert(same == other and count == count2, "gsub with text and function")
if err3 == nil then
  assert(count == n, "gsub and gmatch")
  assert(same == subj or regex:find("\\K", 1, true), "gsub by itself")
end
require "ngx.re".split(subj, regex, opts)`)
	f.Fuzz(func(t *testing.T, opts uint16, pattern, subject []byte) {
		if len(pattern) > 100 || len(subject) > 200 {
			return
		}
		var input strings.Builder
		for i, letter := range "adDijJmosuUx" {
			if opts>>i&1 == 1 {
				input.WriteRune(letter)
			}
		}
		input.WriteByte(0)
		open := 0
		for _, b := range pattern {
			token := tokens[int(b)%len(tokens)]
			input.WriteString(token)
			open += strings.Count(token, "(") - strings.Count(token, ")")
		}
		input.WriteString(strings.Repeat(")", max(open, 0)))
		input.WriteByte(0)
		input.Write(subject)
		run(t, []byte(input.String()))
	})
}
