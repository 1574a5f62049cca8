package observe

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// fullRecord has every field set.
func fullRecord() *Record {
	r := &Record{
		Start:    time.Date(2026, 11, 23, 23, 1, 2, 345678901, time.UTC),
		Duration: 12345678 * time.Nanosecond, TTFB: 10 * time.Millisecond,
		Connection: 17, Serial: 2,
		Client:   netip.MustParseAddrPort("[2001:db8::1]:1234"),
		Peer:     netip.MustParseAddrPort("127.0.0.1:4321"),
		Listener: ":8080", Route: "orders", Consumer: "alice", Limit: "rates", LimitOutcome: LimitDelayed,
		Scheme: "http", Protocol: "HTTP/1.1",
		Method: []byte("GET"), Host: []byte("api.example.com"), Path: []byte("/orders/1"), Query: []byte("a=b"),
		UserAgent: []byte("curl/8"), Referer: []byte("http://x/"),
		Status: 200, BytesIn: 100, BytesOut: 2000, RequestBodyBytes: 10, ResponseBodyBytes: 1900,
		Upstream: "orders", Abort: AbortClientGone, ErrorID: "e1",
	}
	copy(r.ID[:], "0123456789abcdef0123456789abcdef")
	first := r.AddAttempt("127.0.0.1:9001")
	first.Status, first.Response = 502, time.Millisecond
	second := r.AddAttempt("127.0.0.1:9002")
	second.Status, second.Connect, second.Header, second.Response = 200, time.Millisecond, 2*time.Millisecond, 3*time.Millisecond
	return r
}

func TestAccessJSONGolden(t *testing.T) {
	const want = `{"time":"2026-11-23T23:01:02.345Z","status":200,"method":"GET","scheme":"http","host":"api.example.com",` +
		`"path":"/orders/1","query":"a=b","protocol":"HTTP/1.1","client":"2001:db8::1","client_port":1234,"route":"orders","consumer":"alice","limit":"rates","limit_outcome":"delayed",` +
		`"duration":0.012345,"ttfb":0.010000,"bytes_in":100,"bytes_out":2000,"request_body_bytes":10,"response_body_bytes":1900,` +
		`"upstream":"orders","attempts":[{"status":502,"endpoint":"127.0.0.1:9001","response":0.001000},` +
		`{"status":200,"endpoint":"127.0.0.1:9002","connect":0.001000,"header":0.002000,"response":0.003000}],` +
		`"abort":"client_gone","error_id":"e1","user_agent":"curl/8","referer":"http://x/","listener":":8080",` +
		`"request_id":"0123456789abcdef0123456789abcdef"}` + "\n"
	if got := string(AppendAccessJSON(nil, fullRecord())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAccessTextGolden(t *testing.T) {
	const want = `2001:db8::1 - alice [23/Nov/2026:23:01:02 +0000] "GET /orders/1?a=b HTTP/1.1" 200 1900 "http://x/" "curl/8"` +
		` rt=0.012 ua="127.0.0.1:9001, 127.0.0.1:9002" us="502, 200" ut="0.001, 0.003" route=orders limit=rates:delayed abort=client_gone error=e1` +
		` id=0123456789abcdef0123456789abcdef` + "\n"
	if got := string(AppendAccessText(nil, fullRecord())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAccessTextOfAnEmptyRecord(t *testing.T) {
	const want = `- - - [01/Jan/0001:00:00:00 +0000] "-" 0 0 "-" "-" rt=0.000 ua="-" us="-" ut="-" route=- id=-` + "\n"
	if got := string(AppendAccessText(nil, &Record{})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAccessTextEscapesAsNginx(t *testing.T) {
	r := &Record{Method: []byte("GET"), Path: []byte("/\x1b[2J\"\\\xc3\xa9\x7f"), Protocol: "HTTP/1.1", UserAgent: []byte("a\nb")}
	got := string(AppendAccessText(nil, r))
	if !strings.Contains(got, `"GET /\x1B[2J\x22\x5C\xC3\xA9\x7F HTTP/1.1"`) || !strings.Contains(got, `"a\x0Ab"`) {
		t.Errorf("got %s", got)
	}
	if strings.Count(got, "\n") != 1 {
		t.Error("more than one line")
	}
}

func TestMappedClientAddressIsPlainIPv4(t *testing.T) {
	r := &Record{Client: netip.MustParseAddrPort("[::ffff:10.0.0.1]:80")}
	if got := string(AppendAccessText(nil, r)); !strings.HasPrefix(got, "10.0.0.1 - ") {
		t.Errorf("got %s", got)
	}
}

// FuzzAccessJSON holds our writer against encoding/json: the line is one valid
// object, and a hostile value reads back as encoding/json would have written it.
func FuzzAccessJSON(f *testing.F) {
	for _, seed := range []string{
		"", "plain", `quote"back\slash`, "\x00\x01\x1f\x7f", "\n\r\t\b\f", "é日本\U0001f600",
		"\xff", "\xc3", "a\xe6\x97", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\u2028\u2029", "</script>",
		strings.Repeat("\xff", 700), "\xef\xbf\xbd",
	} {
		f.Add([]byte(seed), []byte(seed), int64(len(seed)))
	}
	f.Fuzz(func(t *testing.T, path, agent []byte, n int64) {
		r := &Record{Path: path, UserAgent: agent, Consumer: string(path), BytesIn: n, Duration: time.Duration(n)}
		line := AppendAccessJSON(nil, r)
		if line[len(line)-1] != '\n' || strings.Count(string(line), "\n") != 1 {
			t.Fatalf("not one line: %q", line)
		}
		var got struct {
			Path     string `json:"path"`
			Agent    string `json:"user_agent"`
			Consumer string `json:"consumer"`
			BytesIn  int64  `json:"bytes_in"`
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if got.Path != throughJSON(t, path) || got.Agent != throughJSON(t, agent) || got.Consumer != got.Path || got.BytesIn != n {
			t.Fatalf("%q and %q read back as %+v", path, agent, got)
		}
	})
}

func throughJSON(t *testing.T, b []byte) (s string) {
	t.Helper()
	text, err := json.Marshal(string(b))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func FuzzAccessText(f *testing.F) {
	f.Add([]byte("/"), []byte("curl"))
	f.Add([]byte("\"\n\\"), []byte("\x1b]0;x\a\xff"))
	f.Fuzz(func(t *testing.T, path, agent []byte) {
		line := AppendAccessText(nil, &Record{Method: []byte("GET"), Path: path, UserAgent: agent, Consumer: string(agent)})
		for i, b := range line {
			if (b < ' ' || b >= 0x7f) && i != len(line)-1 {
				t.Fatalf("byte %#x in %q", b, line)
			}
		}
	})
}

func BenchmarkAppendAccess(b *testing.B) {
	for name, line := range map[string]func([]byte, *Record) []byte{"json": AppendAccessJSON, "text": AppendAccessText} {
		b.Run(name, func(b *testing.B) {
			rec, buf := fullRecord(), make([]byte, 0, 4096)
			for b.Loop() {
				buf = line(buf[:0], rec)
			}
		})
	}
}
