package transform

import (
	"slices"
	"testing"

	"perigee/proxy/unit"
)

func TestCheck(t *testing.T) {
	text := unit.MustTemplate
	c := Config{
		Request: Headers{
			Remove: []string{"X-Fine", "a b", "content-length"},
			Set:    map[string]unit.Template{"X-Fine": text("$host"), "Transfer-Encoding": text("chunked"), "X-Bad": text("a\nb")},
		},
		Response: ResponseHeaders{
			Add:          map[string]unit.Texts{"": unit.MakeTexts(text("x")), "X-Fine": unit.MakeTexts(text("x"), text("a\tb"))},
			AddOnSuccess: map[string]unit.Texts{"Upgrade": unit.MakeTexts(text("x")), "X-Two": unit.MakeTexts(text("x"), text("a\rb"))},
		},
	}
	var got []string
	for _, p := range c.Check() {
		got = append(got, p.Path)
	}
	slices.Sort(got)
	want := []string{
		"request.remove[1]", "request.remove[2]", "request.set.Transfer-Encoding", "request.set.X-Bad", `response.add[""]`,
		"response.add_on_success.Upgrade", "response.add_on_success.X-Two",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if problems := (&Config{}).Check(); len(problems) != 0 {
		t.Errorf("empty: %+v", problems)
	}
	if !(Headers{}).IsZero() || c.Request.IsZero() || !(ResponseHeaders{}).IsZero() || c.Response.IsZero() {
		t.Error("IsZero is wrong")
	}
}
