//go:build cgo && luajit

package luavm

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// evaluate prints what each of a list of expressions gives, one per line.
const evaluate = `
local function quoted(v)
  if type(v) ~= "string" then return tostring(v) end
  return (string.format("%q", v):gsub("\n", "n"):gsub("[%z\1-\31\127-\255]",
    function(c) return string.format("\\%03d", c:byte()) end))
end
local function results(ok, ...)
  if not ok then
    return "ERR " .. tostring((...)):gsub("^%S+:%d+: ", "")
  end
  local t = {...}
  for i = 1, select("#", ...) do t[i] = quoted(t[i]) end
  return ("=> " .. table.concat(t, ", "))
end
-- not "return source": errors name what is called, but not in a tail call
for _, source in ipairs(expressions) do
  local f = assert(loadstring("local function all(...) return ... end "
    .. "return all(" .. source .. ")", "=expression"))
  ngx.say(source, " ", results(pcall(f)))
end`

// TestAnswersOfTheReference compares with testdata/data.txt.
func TestAnswersOfTheReference(t *testing.T) {
	data, err := os.ReadFile("testdata/data.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	script := "local expressions = {\n"
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSuffix(line, "\n"); line == "" || line[0] == '#' {
			continue
		}
		expression, _, ok := strings.Cut(line, " => ")
		if !ok {
			expression, _, ok = strings.Cut(line, " ERR ")
		}
		if !ok {
			expression = strings.TrimSuffix(line, " =>")
		}
		want = append(want, line)
		script += "[==[" + expression + "]==],\n"
	}
	dicts := declared(t, map[string]int64{"dogs": 1 << 20, "tiny": 16 << 10, "s32": 32 << 10})
	p, scripts := dataPool(t, Options{Dicts: dicts}, script+"}\n"+evaluate)
	got := strings.Split(strings.TrimSuffix(dataRun(t, p, scripts[0]), "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d answers to %d expressions", len(got), len(want))
	}
	for i := range want {
		if runtime.GOARCH == "arm64" {
			// Of a number that no int can hold, each machine makes an int of its own, in
			// OpenResty as here.
			want[i] = strings.Replace(want[i], "=> 1, -2147483648", "=> 1, 2147483647", 1)
		}
		if strings.TrimRight(got[i], " ") != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}
