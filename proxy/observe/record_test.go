package observe

import (
	"reflect"
	"testing"
	"time"
)

func TestResetLetsGoOfEverythingButTheShard(t *testing.T) {
	r := fullRecord()
	r.Shard = 5
	r.Reset()
	if want := (Record{Shard: 5}); !reflect.DeepEqual(*r, want) {
		t.Errorf("after Reset: %+v", *r)
	}
}

func TestAttemptsBeyondTheArrayOverwriteTheLast(t *testing.T) {
	var r Record
	if r.Last() != nil || r.Retries() != 0 || len(r.Tries()) != 0 {
		t.Error("an empty record has attempts")
	}
	for _, endpoint := range []string{"a", "b", "c", "d", "e"} {
		r.AddAttempt(endpoint).Status = 502
	}
	got := ""
	for _, a := range r.Tries() {
		got += a.Endpoint
	}
	if got != "abce" || r.Last().Endpoint != "e" || r.Tried != 5 || r.Retries() != 4 {
		t.Errorf("kept %s, last %s, tried %d", got, r.Last().Endpoint, r.Tried)
	}
}

func TestUpstreamVariablesInNginxForm(t *testing.T) {
	var r Record
	check := func(name, addr, status, connect, response string) {
		t.Helper()
		for what, pair := range map[string][2]string{
			"addr":     {string(r.AppendUpstreamAddr(nil)), addr},
			"status":   {string(r.AppendUpstreamStatus(nil)), status},
			"connect":  {string(r.AppendUpstreamTime(nil, ConnectTime)), connect},
			"response": {string(r.AppendUpstreamTime(nil, ResponseTime)), response},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %s = %q, want %q", name, what, pair[0], pair[1])
			}
		}
	}
	check("none", "-", "-", "-", "-")
	r.AddAttempt("127.0.0.1:1")
	check("under way", "127.0.0.1:1", "-", "-", "-")
	r.Last().Status, r.Last().Response = 502, 1*time.Millisecond
	a := r.AddAttempt("127.0.0.1:2")
	a.Status, a.Connect, a.Response = 200, 0, 1234567*time.Microsecond
	check("retried", "127.0.0.1:1, 127.0.0.1:2", "502, 200", "-, 0.000", "0.001, 1.234")
}

func TestAbortNames(t *testing.T) {
	for a := AbortNone; a < abortCount; a++ {
		if (a == AbortNone) != (a.String() == "") {
			t.Errorf("abort %d is %q", a, a)
		}
	}
	if got := abortCount.String(); got != "unknown" {
		t.Errorf("out of range: %q", got)
	}
}
