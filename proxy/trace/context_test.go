package trace

import (
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

const (
	traceText  = "0af7651916cd43dd8448eb211c80319c"
	parentText = "b7ad6b7169203331"
	sampled    = "00-" + traceText + "-" + parentText + "-01"
)

// head scans a request with these fields, each a line.
func head(t testing.TB, fields ...string) (*wire.RequestHead, []byte) {
	t.Helper()
	raw := []byte("GET / HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n")
	h := &wire.RequestHead{}
	if _, err := wire.ScanRequest(h, raw, 0, wire.Limits{HeaderBytes: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	return h, raw
}

func tracer(share unit.Percent, parents Parents) *Tracer {
	s, err := newSampler(&share)
	if err != nil {
		panic(err)
	}
	return &Tracer{sampler: s, parents: parents}
}

func TestBegin(t *testing.T) {
	const fresh = "fresh"
	for _, c := range []struct {
		name, parent, want string
	}{
		{"sampled", sampled, "-01"},
		{"not sampled", strings.TrimSuffix(sampled, "1") + "0", "-00"},
		{"random", strings.TrimSuffix(sampled, "1") + "3", "-03"},
		{"flags to come", strings.TrimSuffix(sampled, "01") + "ff", "-03"},
		{"version to come", "cc" + sampled[2:], "-01"},
		{"version to come with more", "cc" + sampled[2:] + "-what", "-01"},
		{"version to come, glued", "cc" + sampled[2:] + "what", fresh},
		{"version ff", "ff" + sampled[2:], fresh},
		{"more in version 00", sampled + "-what", fresh},
		{"capitals", strings.ToUpper(sampled), fresh},
		{"zero trace", "00-" + strings.Repeat("0", 32) + "-" + parentText + "-01", fresh},
		{"zero parent", "00-" + traceText + "-" + strings.Repeat("0", 16) + "-01", fresh},
		{"short", sampled[:54], fresh},
		{"other bytes", strings.Replace(sampled, "a", "g", 1), fresh},
		{"other dashes", strings.Replace(sampled, "-", "_", 3), fresh},
		{"nothing", "", fresh},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, raw := head(t, "TraceParent: "+c.parent, "tracestate: a=1")
			var x Context
			tracer(0, ParentsAll).Begin(&x, h, raw, false)
			sent := string(x.AppendParent(nil, x.SpanID))
			if again := new(Context); !again.parse([]byte(sent)) || again.TraceID != x.TraceID || again.Parent != x.SpanID {
				t.Errorf("%q is sent on, which cannot be read", sent)
			}
			if c.want == fresh {
				if strings.Contains(sent, traceText) || x.Parent != (SpanID{}) || x.Sampled || len(x.State()) > 0 {
					t.Errorf("%q became %+v", c.parent, x)
				}
				return
			}
			if want := "00-" + traceText + "-"; !strings.HasPrefix(sent, want) || !strings.HasSuffix(sent, c.want) ||
				strings.Contains(sent, parentText) || string(x.State()) != "a=1" {
				t.Errorf("%q became %q with state %q", c.parent, sent, x.State())
			}
		})
	}
}

func TestTwoParents(t *testing.T) {
	h, raw := head(t, "traceparent: "+sampled, "Traceparent: "+sampled)
	var x Context
	if tracer(0, ParentsAll).Begin(&x, h, raw, false); x.Parent != (SpanID{}) {
		t.Errorf("of two parents one was taken: %+v", x)
	}
}

func TestWhoseTracesGoOn(t *testing.T) {
	h, raw := head(t, "traceparent: "+sampled, "baggage: a=1")
	for _, c := range []struct {
		parents Parents
		trusted bool
		want    bool
	}{{ParentsAll, false, true}, {ParentsTrusted, false, false}, {ParentsTrusted, true, true}, {ParentsNone, true, false}} {
		var x Context
		tracer(0, c.parents).Begin(&x, h, raw, c.trusted)
		if got := x.Parent != (SpanID{}); got != c.want || x.Sampled != c.want || (len(x.Baggage()) > 0) != c.want {
			t.Errorf("parents %s, trusted %v: continued %v", c.parents, c.trusted, got)
		}
	}
}

func TestLists(t *testing.T) {
	long := strings.Repeat("a", 300)
	many := strings.Repeat("a=1,", 40)
	for _, c := range []struct {
		field  string
		values []string
		want   string
	}{
		{"tracestate", []string{"a=1,b=2"}, "a=1,b=2"},
		{"tracestate", []string{"a=1", "b=2", "c@x=3"}, "a=1,b=2,c@x=3"},
		{"tracestate", []string{"a=1, ,b=2"}, "a=1, ,b=2"},
		{"tracestate", []string{"a=1,a=2"}, ""},
		{"tracestate", []string{"A=1"}, ""},
		{"tracestate", []string{"a=1,b"}, ""},
		{"tracestate", []string{"a=1=2"}, ""},
		{"tracestate", []string{"a@b@c=1"}, ""},
		{"tracestate", []string{"a@=1"}, ""},
		{"tracestate", []string{"a=\x80"}, ""},
		{"tracestate", []string{long + "=1"}, ""},
		{"tracestate", []string{"a=" + long}, ""},
		{"tracestate", []string{many}, ""},
		{"tracestate", []string{","}, ""},
		{"baggage", []string{"user=alice;p=1;q , k=%20"}, "user=alice;p=1;q , k=%20"},
		{"baggage", []string{"a=1", "b=2"}, "a=1,b=2"},
		{"baggage", []string{"a"}, ""},
		{"baggage", []string{"a=1,"}, ""},
		{"baggage", []string{"a b=1"}, ""},
		{"baggage", []string{"a=1 2"}, ""},
		{"baggage", []string{`a="1"`}, ""},
		{"baggage", []string{"a=1;"}, ""},
		{"baggage", []string{"a=\xff"}, ""},
		{"baggage", []string{"a=" + strings.Repeat("x", maxBaggage)}, ""},
		{"baggage", []string{strings.Repeat("a=1,", 200) + "b=2"}, ""},
	} {
		fields := []string{"traceparent: " + sampled}
		for _, v := range c.values {
			fields = append(fields, c.field+": "+v)
		}
		h, raw := head(t, fields...)
		var x Context
		tracer(0, ParentsAll).Begin(&x, h, raw, false)
		got := x.State()
		if c.field == "baggage" {
			got = x.Baggage()
		}
		if string(got) != c.want {
			t.Errorf("%s %.40q became %q, want %q", c.field, c.values, got, c.want)
		}
	}
}

func TestSampler(t *testing.T) {
	for _, share := range []unit.Percent{0, 1, 50, 100} {
		s, _ := newSampler(&share)
		n := 0
		const all = 20000
		for range all {
			var x Context
			x.seed()
			x.begin()
			if s.sample(x.TraceID) {
				n++
			}
		}
		if got := float64(n) / all; got < share.Fraction()*0.7 || got > share.Fraction()*1.3+0.001 {
			t.Errorf("%v of traces: %v were sampled", share, got)
		}
	}
}

func TestSamplerOfEnvironment(t *testing.T) {
	for _, c := range []struct {
		name, arg string
		bound     uint64
		always    bool
		fails     bool
	}{
		{"", "", bound(defaultSample), false, false},
		{"always_on", "", bound(1), true, false},
		{"parentbased_always_off", "", 0, false, false},
		{"parentbased_traceidratio", "0.25", bound(0.25), false, false},
		{"traceidratio", "", bound(1), true, false},
		{"traceidratio", "2", 0, false, true},
		{"traceidratio", "NaN", 0, false, true},
		{"jaeger_remote", "", 0, false, true},
	} {
		t.Setenv("OTEL_TRACES_SAMPLER", c.name)
		t.Setenv("OTEL_TRACES_SAMPLER_ARG", c.arg)
		s, err := newSampler(nil)
		if (err != nil) != c.fails || err == nil && (s.bound != c.bound || s.always != c.always) {
			t.Errorf("%s %q: %+v, %v", c.name, c.arg, s, err)
		}
	}
}

// What is read here is what OpenTelemetry reads, and what is sent on it can read.
func FuzzTraceparent(f *testing.F) {
	f.Add(sampled, "a=1,b@c=2", "a=1;p")
	f.Add("cc"+sampled[2:]+"-x", ",", "a=1,b")
	f.Fuzz(func(t *testing.T, parent, state, bags string) {
		raw := []byte("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: " + parent + "\r\ntracestate: " + state + "\r\nbaggage: " + bags + "\r\n\r\n")
		h := &wire.RequestHead{}
		if n, err := wire.ScanRequest(h, raw, 0, wire.Limits{HeaderBytes: 64 << 10}); err != nil || n != len(raw) || len(h.Fields) != 4 {
			return
		}
		var x Context
		tracer(50, ParentsAll).Begin(&x, h, raw, false)
		carrier := propagation.MapCarrier{"traceparent": string(x.AppendParent(nil, x.SpanID)), "tracestate": string(x.State())}
		ctx := propagation.TraceContext{}.Extract(t.Context(), carrier)
		sc := oteltrace.SpanContextFromContext(ctx)
		if sc.TraceID() != oteltrace.TraceID(x.TraceID) || sc.SpanID() != oteltrace.SpanID(x.SpanID) || sc.IsSampled() != x.Sampled {
			t.Errorf("%q was sent on as %q", raw, carrier)
		}
		if list := string(x.State()); list != "" {
			if _, err := oteltrace.ParseTraceState(list); err != nil {
				t.Errorf("tracestate %q is sent on: %v", list, err)
			}
		}
	})
}

func TestContextAllocatesNothing(t *testing.T) {
	h, raw := head(t, "traceparent: "+sampled, "tracestate: a=1,b=2", "baggage: k=v")
	var x Context
	buf := make([]byte, 0, 64)
	for name, begin := range map[string]*Tracer{"continued": tracer(1, ParentsAll), "begun": tracer(1, ParentsNone)} {
		if n := testing.AllocsPerRun(100, func() {
			begin.Begin(&x, h, raw, false)
			buf = x.AppendParent(buf[:0], x.SpanID)
			x.Reset()
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
