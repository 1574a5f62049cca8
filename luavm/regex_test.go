//go:build cgo && luajit

package luavm

import (
	"strings"
	"testing"
	"time"
)

// TestRegex compares what scripts print with OpenResty's results; each line of
// a case is "expression => what ngx.say prints of it".
func TestRegex(t *testing.T) {
	for name, lines := range map[string]string{
		"match": `
caps(re.match("hello, 1234", "([0-9])([0-9]+)")) => 1234,1,234
caps(re.match("hello", "x")) => nil
re.match("hello", "(x)|(h)")[1] => false
re.match("hello", "(x)|(h)(e)?(z)?")[4] => false
caps(re.match(1234, "2.")) => 23
caps(re.match(nil, "n.l")) => nil
caps(re.match("a\0b", "\\x00b")) => ` + "\x00b" + `
re.match("abc", "(?<first>a)(?<second>b)").second => b
table.concat(re.match("abc", "(?<x>a)(?<x>b)", "D").x, "-") => a-b
tostring(re.match("c", "(?<x>a)?(?<y>c)", "D").x) => nil
tostring(re.match("c", "(?<x>a)?(?<y>c)").x) => false
select("#", re.match("a", "b")) => 1`,
		"options": `
caps(re.match("HELLO", "hello", "i")) => HELLO
caps(re.match("a\nb", "^b", "m")) => b
caps(re.match("a\nb", "a.b", "s")) => ` + "a\nb" + `
caps(re.match("ab", "a b # both", "x")) => ab
caps(re.match("ab", "b", "a")) => nil
caps(re.match("aaa", "a|aa|aaa", "d")) => aaa
#re.match("aaa", "(a)(a)", "d") => 0
caps(re.match("你好", ".", "u")) => 你
caps(re.match("你好", ".", "")) => ` + "\xe4" + `
caps(re.match("你好", ".", "U")) => 你
caps(re.match("\255你", ".", "U")) => 你
caps(re.match("abc", "a[]c", "J")) => nil
caps(re.match("ab", "ab", "josmixuUaJ")) => ab
caps(re.match("aaaa", "a+", "jo")) => aaaa`,
		"context": `
ctx(re.match, "1234, hello", "[0-9]+", {}) => 1234 5
ctx(re.match, "1234, hello", "[0-9]+", {pos = 3}) => 34 5
ctx(re.match, "1234, hello", "[0-9]+", {pos = -3}) => 1234 5
ctx(re.match, "1234, hello", "x", {pos = 3}) => nil 3
re.match("ab", "b", "", {pos = 4}) => nilpcre_exec() failed: -24
same(re.match("12", "(1)(2)", "", nil, kept), kept) => true
kept[2] => 2`,
		"find": `
re.find("hello, 1234", "([0-9])([0-9]+)") => 811
re.find("hello, 1234", "([0-9])([0-9]+)", "jo", nil, 1) => 88
re.find("hello, 1234", "([0-9])([0-9]+)", "jo", nil, 2) => 911
re.find("hello, 1234", "([0-9])([0-9]+)", "jo", nil, -1) => 811
re.find("hello, 1234", "([0-9])([0-9]+)", "jo", nil, 3) => nilnilnth out of bound
re.find("hello", "(x)|h", nil, nil, 1) => nilnil
re.find("hello", "x") => nil
re.find("hello", "") => 10
re.find("a", "(a") => nilnilpcre_compile() failed: missing ) in "(a"`,
		"gmatch": `
all("hello, world", "[a-z]+") => hello|world
all("hello", "") => |||||
all("hello", "a|") => |||||
all("a1b2", "[0-9]|") => |1||2|
all("你好", "", "u") => ||
all("abc", "b*") => |b||
re.gmatch("a", "(") => nilpcre_compile() failed: missing ) in "("`,
		"sub": `
re.sub("hello, 1234", "([0-9])[0-9]", "[$0][$1]") => hello, [12][1]341
re.sub("hello", "x", "y") => hello0
re.sub("hello", "l", "${0}${0}$$") => hell$lo1
re.sub("hello", "(h)(x)?", "<$2$3$1>") => <h>ello1
re.sub("hello", "l", "$") => nilnilfailed to compile the replacement template
re.sub("hello", "l", "${0") => nilnilfailed to compile the replacement template
re.sub("hello", "l", "$name") => nilnilfailed to compile the replacement template
re.sub("hello", "x", "$-") => nilnilfailed to compile the replacement template
re.sub("hello", "l", function(m) return "<" .. m[0] .. ">" end) => he<l>lo1
re.sub("hello", "l", 7) => he7lo1
re.sub("hello", "", "-") => -hello1`,
		"gsub": `
re.gsub("hello, world", "([a-z])[a-z]+", "[$0,$1]", "i") => [hello,h], [world,w]2
re.gsub("hello", "", "-") => -h-e-l-l-o-6
re.gsub("你好", "", "-", "u") => -你-好-3
re.gsub("", "", "-") => -1
re.gsub("abc", "b*", "x") => xaxxcx4
re.gsub("abc", "b*", function() return "x" end) => xaxxcx4
re.gsub("a,b,c", ",", "$$") => a$b$c2
re.gsub("aaa", "a", "$100000000000000000000") => 3
re.gsub("a.b", "[.]", function(m) return re.gsub(m[0], "[.]", "!", "jo") end, "jo") => a!b1
re.gsub("abc", "(?=b)b", "") => ac1
#re.gsub(("x"):rep(100000), "x", "yz") => 200000`,
		"errors": `
re.match("a", "(abc") => nilpcre_compile() failed: missing ) in "(abc"
re.match("a", "*abc") => nilpcre_compile() failed: nothing to repeat in "*abc" at "*abc"
re.match("\255", "你", "u") => nilpcre_exec() failed: -10
re.gsub("\255", "你", "", "u") => nilnilpcre_exec() failed: -10
re.match("你", "\255", "u") => nilpcre_compile() failed: invalid UTF-8 string in "` + "\xff\" at \"\xff" + `"
raised(re.match, "a", "a", "oH") => unknown flag "H" (flags "oH")
raised(re.gsub, "a", "a", "b", "oH") => unknown flag "H" (flags "oH")`,
		"what PCRE1 takes": `
caps(re.match("a-b", "[\\w-.]+")) => a-b
caps(re.match("x-1", "[[:alpha:]-1]+")) => x-1
caps(re.match("ay", "a\\y")) => ay
re.match("", "[a-\\d]") => nilpcre_compile() failed: invalid range in character class in "[a-\d]" at "d]"
re.match("", "[\\d-z](") => nilpcre_compile() failed: missing ) in "[\d-z]("
re.match("", "x(?<=a+)b") => nilpcre_compile() failed: lookbehind assertion is not fixed length in "x(?<=a+)b" at ")b"
re.match("", "(?<n>a)(?<n>b)") => nilpcre_compile() failed: two named subpatterns have the same name in "(?<n>a)(?<n>b)" at ">b)"
re.match("", "(a)\\2") => nilpcre_compile() failed: reference to non-existent subpattern in "(a)\2"
re.match("", "(?i") => nilpcre_compile() failed: unrecognized character after (? or (?- in "(?i"
re.match("", ("x"):rep(200) .. "(") => nilpcre_compile() failed: missing ) in "` + strings.Repeat("x", 90),
		"split": `
list(split("a,b,c", ",")) => a|b|c
list(split("a,b,c,,", ",")) => a|b|c
list(split("a,b,c,,", ",", nil, nil, 10)) => a|b|c||
list(split("a,b,c", ",", "jo", nil, 2)) => a|b,c
list(split("a,b,c", "(,)")) => a|,|b|,|c
list(split("a,b;c", "(,)|;")) => a|,|b|c
list(split("abc", "")) => a|b|c
list(split("你好", "", "u")) => 你|好
list(split("", ",")) =>
list(split(",a", ",")) => |a
list(split(",,", ",")) =>
list(split("a,b,c", ",", nil, {pos = 3})) => b|c
list(split("a,b,c", ",", nil, {pos = 9})) =>
list(split(1.5, "[.]")) => 1|5
list(split("a,b", ",", nil, nil, nil, {1, 2, 3, 4})) => a|b|nil|4
split("a,b", "(") => nilpcre_compile() failed: missing ) in "("
split("\255", "a", "u") => nilpcre_exec() failed: -10
raised(split, "a", "a", "", nil, 0, "x") => res is not a table
raised(split, "a", "a", "H") => unknown flag "H" (flags "H")`,
		"opt and resty.core.regex": `
raised(opt, "jit") => unrecognized option name
core.is_regex_cache_empty() => true
re.match(long, "(.|b)*c|d", "j") => nilpcre_exec() failed: -27
opt("jit_stack_size", 1048576) =>
re.match(long, "(.|b)*c|d", "j") => nil
caps(re.match("abc", "b", "jo")) => b
core.is_regex_cache_empty() => false
raised(opt, "jit_stack_size", 32768) => changing jit stack size is not allowed when some regexs have already been compiled and cached
core.re_match_compile("(a)(b)").ncaptures => 2
select(2, core.re_match_compile("(a)(b)", "o")) => true1
core.re_match_compile("(", "o") => nilpcre_compile() failed: missing ) in "("
core.version == require("ngx.re").version => true`,
	} {
		t.Run(name, func(t *testing.T) { say(t, regexWords, lines) })
	}
}

// regexWords are what the expressions above are made of.
const regexWords = `
local re = ngx.re
local kept = {}
local function same(a, b) return a == b end
local function caps(m, err)
  if not m then return err or tostring(m) end
  local list = {}
  for i = 0, #m do list[i + 1] = tostring(m[i]) end
  return table.concat(list, ",")
end
local function ctx(f, subj, regex, c)
  local m = f(subj, regex, "", c)
  return m and m[0], " ", c.pos
end
local function all(subj, regex, opts)
  local list = {}
  for m in re.gmatch(subj, regex, opts) do list[#list + 1] = m[0] end
  return table.concat(list, "|")
end
local core, module = require "resty.core.regex", require "ngx.re"
local split, opt = module.split, module.opt
local long = ("a"):rep(5000)
local function list(t, err)
  if not t then return err end
  local last = 0
  for i in pairs(t) do last = math.max(i, last) end
  for i = 1, last do t[i] = tostring(t[i]) end
  return table.concat(t, "|", 1, last)
end
local function raised(f, ...)
  local ok, err = pcall(f, ...)
  return not ok and (err:gsub("^%S+:%d+: ", ""))
end
`

// say runs "ngx.say(expression)" for each line and compares.
func say(t *testing.T, words, lines string) {
	t.Helper()
	var script, want strings.Builder
	script.WriteString(words)
	for line := range strings.SplitSeq(strings.TrimPrefix(lines, "\n"), "\n") {
		expression, result, ok := strings.Cut(line, " => ")
		if !ok {
			expression, ok = strings.CutSuffix(line, " =>")
		}
		if !ok { // a result of several lines
			want.WriteString(line + "\n")
			continue
		}
		script.WriteString("ngx.say(" + expression + ")\n")
		want.WriteString(result + "\n")
	}
	p, scripts := dataPool(t, Options{MemoryLimit: 64 << 20, CPUBudget: time.Second}, script.String())
	got := dataRun(t, p, scripts[0])
	if got != want.String() {
		g, w := strings.Split(got, "\n"), strings.Split(want.String(), "\n")
		for i := range max(len(g), len(w)) {
			if i >= len(g) || i >= len(w) || g[i] != w[i] {
				t.Fatalf("line %d\ngot  %q\nwant %q", i+1, g[i:], w[i:])
			}
		}
	}
}
