package unit

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestTexts(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{"a $b", "a $b", ""}, {"[a, $b]", "- a\n- $b", ""}, {"7", `"7"`, ""}, {"[]", "[]", ""},
		{"{a: b}", "", "is wanted here"}, {"[a, [b]]", "", "is wanted here"}, {"[a, '${b']", "", "braced"},
	} {
		var got Texts
		err := yaml.Unmarshal([]byte(c.text), &got)
		if (err != nil) != (c.err != "") {
			t.Errorf("%s: error %v, wanted %q", c.text, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		out, err := yaml.Marshal(got)
		if err != nil || string(out) != c.want+"\n" {
			t.Errorf("%s is written %q, %v; wanted %q", c.text, out, err, c.want)
		}
		if got.IsZero() != (c.text == "[]") || len(got.Templates()) == 0 && !got.IsZero() {
			t.Errorf("%s: IsZero or Templates is wrong", c.text)
		}
	}
	if s := MakeTexts(MustTemplate("a"), MustTemplate("$b")).String(); s != "a, $b" {
		t.Errorf("String is %q", s)
	}
}
