package main

import (
	"slices"
	"strings"
	"testing"
)

func TestGoFunctions(t *testing.T) {
	const text = `package p
func short(a, b int, c string) (ok bool) { return true }
func bools(a bool, s string, b bool) {}
func results() (bool, bool) { return true, true }
func outer() {
	f := func(a, b, c, d, e, f int) {}
	_ = f
}
`
	got, err := goFunctions("p_test.go", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []function{
		{name: "short", line: 2, length: 1, parameters: 3, bools: 1},
		{name: "bools", line: 3, length: 1, parameters: 3, bools: 2},
		{name: "results", line: 4, length: 1, bools: 2},
		{name: "outer", line: 5, length: 4},
		{name: "func literal", line: 6, parameters: 6},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTablesOfTestsAreNotCounted(t *testing.T) {
	text := "package p\nfunc TestX() {\n\tfor range []int{\n" + strings.Repeat("\t\t1,\n", 100) + "\t} {\n\t}\n}\n"
	for name, want := range map[string]int{"x_test.go": 4, "x.go": 105} {
		got, err := goFunctions(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got[0].length != want {
			t.Errorf("%s: length %d, want %d", name, got[0].length, want)
		}
	}
}

func TestCFunctions(t *testing.T) {
	const text = `#define F(x) (x)
typedef int (*door)(int a, int b);
int declared(int a);
struct s { int a; };
static uint32_t
    table[] = { 1 };
static int one(const char *p, size_t n,
               int (*f)(int, int))
{
    return 0;
}
void *none(void) {
    if (1) {
    }
}
`
	want := []function{
		{name: "one", line: 7, length: 5, parameters: 3},
		{name: "none", line: 12, length: 4},
	}
	if got := cFunctions(text); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLuaFunctions(t *testing.T) {
	const text = `-- end of a comment
local s = "function end"
local long = [[ if then
end end ]]
function ngx.say(a, b)
    if a then
        return 'end'
    elseif b then
        repeat a = 1 until a
    end
    for i = 1, 2 do end
    return function(...)
        while true do end
    end
end
describe("a block of specs", function()
    it("is no function", function() end)
end)
`
	want := []function{
		{name: "function", line: 12, length: 3, parameters: 1},
		{name: "ngx.say", line: 5, length: 11, parameters: 2},
		{name: "function", line: 17, length: 1},
	}
	if got := luaFunctions(text); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUnfinishedWords(t *testing.T) {
	for text, want := range map[string]bool{
		"// TO" + "DO later":              true,
		"not imple" + "mented yet":        true,
		"501 Not Implemented":             false,
		"mktemp dir.XX" + "XXXX":          false,
		"the to-do list, fix me":          false,
		"errors.New(\"FIX" + "ME: why\")": true,
	} {
		if got := unfinished.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
