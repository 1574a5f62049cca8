package exchange

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"perigee/proxy/wire"
)

// sentFields are the field lines of the request as they would be sent on.
func sentFields(ex *Exchange) []string {
	lines := strings.Split(string(ex.AppendToSend(nil, true)), "\r\n")
	return lines[1 : len(lines)-1]
}

func TestFieldsToSend(t *testing.T) {
	for _, c := range []struct{ name, head, want string }{
		{"spelling and order", "x-B: 2\r\nX-A: 1\r\nx-b: 3\r\n", "x-B: 2|X-A: 1|x-b: 3"},
		{"empty value", "X-A:\r\nX-B: 1\r\n", "X-A: |X-B: 1"},
		{"cookies to the byte", "cookie: a=1;b = \"2\" ;; c\r\nX-A: 1\r\nCookie: d=;a=1\r\n",
			"cookie: a=1;b = \"2\" ;; c|X-A: 1|Cookie: d=;a=1"},
		{"hop by hop", "Connection: close\r\nKeep-Alive: 1\r\nProxy-Connection: close\r\nTE: trailers\r\nTrailer: X\r\n" +
			"Upgrade: x\r\nHTTP2-Settings: x\r\nProxy-Authorization: x\r\nProxy-Authenticate: x\r\nX-A: 1\r\n", "X-A: 1"},
		{"hop by hop in other letters", "CONNECTION: close\r\nkeep-alive: 1\r\ntE: gzip\r\nuPGRADE: x\r\n", ""},
		{"listed in Connection", "Connection: X-A, x-b\r\nX-a: 1\r\nConnection: X-C\r\nX-B: 2\r\nx-c: 3\r\nX-D: 4\r\n", "X-D: 4"},
		{"a listing cannot strip what others rely on", "Connection: Cookie, Authorization, Host\r\nCookie: a=1\r\nAuthorization: x\r\n",
			"Cookie: a=1|Authorization: x"},
		{"framing", "Content-Length: 3\r\nExpect: 100-continue\r\n", ""},
		{"what only a proxy may say", "X-Forwarded-For: 1\r\nX-Forwarded-Proto: x\r\nX-Forwarded-Host: x\r\nX-Forwarded-Port: 1\r\n" +
			"Forwarded: for=x\r\nX-Real-IP: 1\r\n", ""},
		{"fields that the library keeps apart", "user-agent: u\r\nContent-type: t\r\nX-A: 1\r\nuser-Agent: v\r\n",
			"user-agent: u|Content-type: t|X-A: 1|user-Agent: v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ex := arrived(t, "POST / HTTP/1.1\r\nHost: a.test\r\n"+c.head+"\r\n")
			defer Release(ex)
			want := strings.TrimSuffix("Host: a.test|"+c.want, "|")
			if got := strings.Join(sentFields(ex), "|"); got != want {
				t.Errorf("sent on:\n%q, want\n%q", got, want)
			}
		})
	}
}

// modelFields is a head as a list of lines: slow, and obviously right.
type modelFields []struct{ name, value string }

func (m *modelFields) del(name string) {
	kept := (*m)[:0:0]
	for _, f := range *m {
		if !strings.EqualFold(f.name, name) {
			kept = append(kept, f)
		}
	}
	*m = kept
}

func (m *modelFields) add(name, value string) {
	*m = append(*m, struct{ name, value string }{name, value})
}

func (m modelFields) lines() (lines []string) {
	for _, f := range m {
		lines = append(lines, f.name+": "+f.value)
	}
	return lines
}

func respell(r *rand.Rand, name string) string {
	b := []byte(strings.ToLower(name))
	for i := range b {
		if 'a' <= b[i] && b[i] <= 'z' && r.IntN(2) == 0 {
			b[i] -= 0x20
		}
	}
	return string(b)
}

// values are all values of a name.
func (m modelFields) values(name string) (values []string) {
	for _, f := range m {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// TestRequestEdits edits heads at random and holds every step against a list of
// lines.
func TestRequestEdits(t *testing.T) {
	names := []string{"host", "cookie", "x-a", "x-b", "user-agent", "content-type", "accept", "set-cookie"}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		model := modelFields{}
		head := "GET / HTTP/1.1\r\nHost: a.test\r\n"
		model.add("Host", "a.test")
		for i := range r.IntN(6) {
			name := respell(r, names[1+r.IntN(len(names)-1)])
			head += fmt.Sprintf("%s: v%d\r\n", name, i)
			model.add(name, fmt.Sprintf("v%d", i))
		}
		ex := arrived(t, head+"\r\n")
		steps := ""
		for i := range 12 {
			name, value := respell(r, names[r.IntN(len(names))]), fmt.Sprintf("n%d", i)
			if r.IntN(5) == 0 && !strings.EqualFold(name, "host") {
				value = ""
			}
			switch op := r.IntN(4); op {
			case 0:
				ex.SetRequestHeader(name, []byte(value))
				model.del(name)
				model.add(name, value)
				steps += fmt.Sprintf("set %s=%q, ", name, value)
			case 1:
				ex.AddRequestHeader(name, []byte(value))
				if strings.EqualFold(name, "host") {
					model.del(name) // there is one at most
				}
				model.add(name, value)
				steps += fmt.Sprintf("add %s=%q, ", name, value)
			case 2:
				ex.DelRequestHeader(name)
				model.del(name)
				steps += fmt.Sprintf("del %s, ", name)
			}
			asked := respell(r, names[r.IntN(len(names))])
			want := model.values(asked)
			if got := ex.RequestHeader(asked); got != nil && (len(want) == 0 || string(got) != want[0]) || got == nil && len(want) > 0 && want[0] != "" {
				t.Fatalf("seed %d: %q then %sRequestHeader(%q) is %q (nil: %v), want the first of %q", seed, head, steps, asked, got, got == nil, want)
			}
			if has := ex.RequestHas(wire.LookupField([]byte("host"))); has != strings.Contains(strings.ToLower("\n"+strings.Join(model.lines(), "\n")), "\nhost: ") {
				t.Fatalf("seed %d: %q then %sRequestHas(Host) is %v; fields %q", seed, head, steps, has, model.lines())
			}
		}
		got, want := sentFields(ex), model.lines()
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: %q then %ssends\n%q, want\n%q", seed, head, steps, got, want)
		}
		Release(ex)
	}
}

// Whoever deletes Host, or sets it to nothing, leaves the choice to the gateway:
// a request without Host, or with two, is none (RFC 9112 §3.2).
func TestDeletedHostIsNotThere(t *testing.T) {
	ex := arrived(t, "GET / HTTP/1.1\r\nhOst: a.test\r\n\r\n")
	defer Release(ex)
	if !ex.RequestHas(wire.FieldHost) {
		t.Error("it has arrived")
	}
	ex.SetRequestHeader("Host", nil)
	if lines := sentFields(ex); ex.RequestHas(wire.FieldHost) || len(lines) != 0 {
		t.Errorf("still there: %q", lines)
	}
	ex.SetRequestHeader("HOST", []byte("b.test"))
	if !ex.RequestHas(wire.FieldHost) {
		t.Error("it was set")
	}
}

// A script may well put line ends into a value: it stays one field.
func TestFieldsStayOnTheirLine(t *testing.T) {
	ex := arrived(t, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	defer Release(ex)
	ex.AddRequestHeader("X-A\r\nX-B", []byte("1\r\nX-Admin: yes\n"))
	if got, want := strings.Join(sentFields(ex), "|"), "Host: a.test|X-A  X-B: 1  X-Admin: yes "; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestEditsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ex := arrived(t, "GET / HTTP/1.1\r\nHost: a.test\r\nCookie: a=1\r\nX-A: 1\r\n\r\n")
	defer Release(ex)
	value := []byte("value")
	edit := func() {
		ex.SetRequestHeader("x-a", value)
		ex.SetRequestHeader("X-New", value)
		ex.DelRequestHeader("COOKIE")
		_ = ex.RequestHeader("x-new")
		ex.Resp.Set("X-A", value)
		ex.Resp.Set("content-type", value)
		ex.Resp.Del("x-a")
	}
	edit()
	if n := testing.AllocsPerRun(100, edit); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
