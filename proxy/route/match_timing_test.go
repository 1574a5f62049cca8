package route

import (
	"fmt"
	"testing"
)

// frozen is a request that gives the same bytes each time, as an exchange does.
type frozen struct{ host, path, method []byte }

func (r *frozen) Listener() string                      { return "" }
func (r *frozen) Host() []byte                          { return r.host }
func (r *frozen) Path() []byte                          { return r.path }
func (r *frozen) Method() []byte                        { return r.method }
func (r *frozen) Header(string) ([]byte, bool)          { return r.method, true }
func (r *frozen) Query(name string) (v []byte, ok bool) { return nil, name == "v" }

func freeze(text string) *frozen {
	a := ask(text)
	return &frozen{a.Host(), a.Path(), a.Method()}
}

func BenchmarkMatch(b *testing.B) {
	texts := make([]string, 0, 10_000)
	for i := range 10_000 {
		switch i % 4 {
		case 0:
			texts = append(texts, fmt.Sprintf("r%d:: @h%d.example.com /api/v1/", i, i))
		case 1:
			texts = append(texts, fmt.Sprintf("r%d:: =_/service/%d/health", i, i))
		default:
			texts = append(texts, fmt.Sprintf("r%d:: /service/%d/items/", i, i))
		}
	}
	rules := table(b, texts...)
	for _, test := range []struct{ name, request string }{
		{"host", "h4000.example.com/api/v1/orders/17"},
		{"exact", "any/service/8001/health"},
		{"prefix", "any/service/9999/items/4/5/6"},
		{"none", "any/nothing/here"},
	} {
		r := freeze(test.request)
		b.Run(test.name+"/10k", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rules.Match(r, Outside, nil)
			}
		})
	}
}
