//go:build luajit && !race

package instructions

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// readTable reads the figures by machine and script, and the comment above them.
func readTable(t *testing.T) (rows map[string]figure, header string) {
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]figure{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			header += line
			continue
		}
		var arch, gcc, luajit, name string
		var f figure
		if _, err := fmt.Sscan(line, &arch, &gcc, &luajit, &name, &f.all, &f.shim, &f.heap); err != nil {
			t.Fatalf("%s: %q: %v", table, line, err)
		}
		rows[strings.Join([]string{arch, gcc, luajit, name}, " ")] = f
	}
	return rows, header
}

// writeTable puts what was measured in the place of key's rows.
func writeTable(t *testing.T, key, header string, got map[string]figure) {
	rows, _ := readTable(t)
	maps.DeleteFunc(rows, func(row string, _ figure) bool { return strings.HasPrefix(row, key+" ") })
	for name, f := range got {
		rows[key+" "+name] = f
	}
	var text strings.Builder
	text.WriteString(header)
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		f := rows[row]
		fmt.Fprintf(&text, "%s %d %d %d\n", row, f.all, f.shim, f.heap)
	}
	if err := os.WriteFile(table, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestParseProfile(t *testing.T) {
	const text = `events: Ir
fl=(1) /src/luavm/shim/vm.c
fn=(1) pg_resume
10 5
+2 7
cfi=(2) /src/lj_vm.c
cfn=(2) lua_resume
calls=1 0
* 100
fi=(3) /src/luavm/shim/shim.h
12 3

fl=(2)
fn=(2)
40 80
totals: 95
`
	p, err := parseProfile(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.total != 95 || p.shim() != 15 || p.largest(1) != "pg_resume 15" {
		t.Errorf("total %d, shim %d, largest %q", p.total, p.shim(), p.largest(1))
	}
	for name, bad := range map[string]string{
		"cut off":   strings.Replace(text, "40 80\n", "", 1),
		"no total":  strings.Replace(text, "totals: 95\n", "", 1),
		"no number": strings.Replace(text, "40 80", "40 8x", 1),
	} {
		if _, err := parseProfile(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
