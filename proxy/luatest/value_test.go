package luatest

import (
	"reflect"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	deep := any(nil)
	for range maxDepth {
		deep = &table{list: []any{deep}, fields: map[string]any{}}
	}
	for _, v := range []any{
		nil, true, false, 0.0, -1.5, 1e300, "", "a\x00b{z}", strings.Repeat("x", 100000),
		&table{fields: map[string]any{}},
		&table{list: []any{1.0, "two", true}, fields: map[string]any{"": false, "k": &table{fields: map[string]any{}}}},
		deep,
	} {
		got, err := decode(encode(nil, v))
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%v came back as %v, %v", v, got, err)
		}
	}
}

func TestBrokenValues(t *testing.T) {
	for _, c := range []struct{ bytes, want string }{
		{"", "it ends too early at byte 0"},
		{"x", "unknown kind 'x' at byte 1"},
		{"n1", "';' is missing"},
		{"nx;", `number "x"`},
		{"s5:abc", `length "5"`},
		{"s-1:", `length "-1"`},
		{"s99999999999:a", `length "99999999999"`},
		{"{s1:a", "it ends too early"},
		{"{tz}", "a key is neither text nor number"},
		{"zz", "something follows the value at byte 1"},
		{strings.Repeat("{n1;", 100000), "too many tables in one another"},
	} {
		if _, err := decode([]byte(c.bytes)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.bytes, err, c.want)
		}
	}
}

// FuzzDecode: whatever a spec sends, decoding ends, and what can be decoded is
// the same when it is sent again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"z", "n1.5;", "s1:a", "{n1;ts1:k{}}", "{n2;tn1;f}", "{{}z}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(nil, v))
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if nan, ok := v.(float64); ok && nan != nan {
			return
		}
		if !reflect.DeepEqual(v, again) && !strings.Contains(string(b), "NaN") && !strings.Contains(string(b), "nan") {
			t.Fatalf("%q: %v and then %v", b, v, again)
		}
	})
}
