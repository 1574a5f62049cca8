package unit

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// read is one line of a parser's table: what the text gives, written back by
// String, or a part of the error.
type read struct{ text, want, wantError string }

func check[T interface{ String() string }](t *testing.T, parse func(string) (T, error), table []read) {
	t.Helper()
	for _, test := range table {
		t.Run(test.text, func(t *testing.T) {
			got, err := parse(test.text)
			switch {
			case test.wantError == "" && err != nil:
				t.Fatal(err)
			case test.wantError == "" && got.String() != test.want:
				t.Fatalf("got %q, want %q", got.String(), test.want)
			case test.wantError == "":
				again, err := parse(got.String())
				if err != nil || again.String() != got.String() {
					t.Fatalf("%q reads back as %q, %v", got.String(), again.String(), err)
				}
				return
			case err == nil:
				t.Fatalf("got %q, want an error with %q", got.String(), test.wantError)
			case !strings.Contains(err.Error(), test.wantError):
				t.Fatalf("error %q lacks %q", err, test.wantError)
			}
			if bad, ok := err.(*ValueError); !ok || bad.Value != test.text || bad.Fix == "" {
				t.Fatalf("error %#v lacks value or fix", err)
			}
		})
	}
}

func TestParseDuration(t *testing.T) {
	check(t, ParseDuration, []read{
		{"0", "0", ""}, {"0s", "0", ""}, {"250ms", "250ms", ""}, {"1.5s", "1.5s", ""}, {"60s", "1m", ""},
		{"90m", "1h30m", ""}, {"1h", "1h", ""}, {"24h", "24h", ""}, {"1d", "24h", ""}, {"1d12h", "36h", ""}, {"100us", "100µs", ""},
		{"10", "", "write 10s or 10ms"}, {"1.5", "", "no unit"}, {"", "", "is empty"}, {"-1s", "", "is negative"},
		{"+1s", "", "not a span"}, {"1 s", "", "not a span"}, {"1x", "", "not a span"}, {"1.5d", "", "not a span"},
		{"999999999999d", "", "not a span"}, {"9223372036s9223372036s", "", "not a span"}, {"106751d24h", "", "not a span"},
		{"1d-1s", "", "not a span"}, {"d", "", "not a span"},
	})
	if d, err := ParseDuration("1d1s"); err != nil || d.Std() != 24*time.Hour+time.Second {
		t.Errorf("1d1s: %v, %v", d, err)
	}
}

func TestParseSize(t *testing.T) {
	check(t, ParseSize, []read{
		{"0", "0", ""}, {"1", "1", ""}, {"512B", "512", ""}, {"1024", "1KiB", ""}, {"16KiB", "16KiB", ""}, {"1536MiB", "1536MiB", ""},
		{"2GiB", "2GiB", ""}, {"3TiB", "3TiB", ""}, {"1025", "1025", ""},
		{"16k", "", "write 16KiB"}, {"16KB", "", "write 16KiB"}, {"10M", "", "write 10MiB"}, {"1gb", "", "write 1GiB"}, {"1Ti", "", "write 1TiB"},
		{"", "", "is empty"}, {"MiB", "", "whole number"}, {"-1", "", "whole number"}, {"1.5GiB", "", "unknown unit"}, {"5 MiB", "", "unknown unit"},
		{"9223372036854775808", "", "larger"}, {"9223372036854775807KiB", "", "larger"}, {"1PiB", "", "unknown unit"}, {"1é", "", "unknown unit"},
	})
	if s, err := ParseSize("2KiB"); err != nil || s.Bytes() != 2048 {
		t.Errorf("2KiB: %d, %v", s.Bytes(), err)
	}
}

func TestParseRate(t *testing.T) {
	check(t, ParseRate, []read{
		{"100/s", "100/s", ""}, {"10/m", "10/m", ""}, {"1/h", "1/h", ""}, {"5/d", "5/d", ""}, {"5/10s", "5/10s", ""}, {"0/s", "0/s", ""},
		{"1/1m30s", "1/1m30s", ""}, {"7/ms", "7/ms", ""}, {"3/60s", "3/m", ""},
		{"100", "", "no span"}, {"100rps", "", "no span"}, {"/s", "", "whole number"}, {"-1/s", "", "whole number"}, {"1.5/s", "", "whole number"},
		{"1/", "", "no span of at least"}, {"1/0s", "", "no span of at least"}, {"1/us", "", "no span of at least"}, {"1/x", "", "no span of at least"},
		{"1/5", "", "no span of at least"}, {"99999999999999999999/s", "", "more events"},
	})
	if r, err := ParseRate("30/m"); err != nil || r.PerSecond() != 0.5 || (Rate{}).PerSecond() != 0 {
		t.Errorf("30/m: %v, %v", r.PerSecond(), err)
	}
}

func TestParsePercent(t *testing.T) {
	check(t, ParsePercent, []read{
		{"20%", "20%", ""}, {"0%", "0%", ""}, {"100%", "100%", ""}, {"0.5%", "0.5%", ""},
		{"0.2", "", "write 20%"}, {"20", "", "write 20%"}, {"", "", "not a number"}, {"%", "", "not a number"}, {"101%", "", "more than the whole"},
		{"-1%", "", "not a number"}, {"1e1%", "", "not a number"}, {"1.2.3%", "", "not a number"}, {"NaN%", "", "not a number"},
	})
	if p, err := ParsePercent("25%"); err != nil || p.Fraction() != 0.25 {
		t.Errorf("25%%: %v, %v", p.Fraction(), err)
	}
}

// holder has every type as a field, as a Config would.
type holder struct {
	Duration Duration     `yaml:"duration"`
	Size     Size         `yaml:"size"`
	Rate     Rate         `yaml:"rate"`
	Percent  Percent      `yaml:"percent"`
	Secret   Secret       `yaml:"secret"`
	Networks CIDRSet      `yaml:"networks"`
	Pattern  Pattern      `yaml:"pattern"`
	Host     HostPattern  `yaml:"host"`
	Value    ValuePattern `yaml:"value"`
	Text     Template     `yaml:"text"`
}

func TestYAMLReadsAndWritesEveryType(t *testing.T) {
	const text = `duration: 1m30s
size: 16KiB
rate: 5/10s
percent: 20%
secret: hunter2
networks:
    - 10.0.0.0/8
    - 192.0.2.1/32
pattern: ~* \.png$
host: '*.example.com'
value: ~ ^v[0-9]
text: $host and $$5
`
	var h holder
	if err := yaml.Unmarshal([]byte(text), &h); err != nil {
		t.Fatal(err)
	}
	out, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(text, "hunter2", "'********'", 1); string(out) != want {
		t.Errorf("got:\n%swant:\n%s", out, want)
	}
	if h.Secret.Reveal() != "hunter2" {
		t.Error("the secret was not read")
	}
}

func TestYAMLErrorsCarryLineAndColumn(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"duration":         {"\nduration: 10", `2:11: duration "10" has no unit (write 10s or 10ms)`},
		"size":             {"size: 10M", `1:7: size "10M" has an unclear unit (write 10MiB)`},
		"rate":             {"a: 1\nrate: x", `2:7: rate "x"`},
		"percent":          {"percent: 0.2", `1:10: percentage "0.2" has no percent sign (write 20%)`},
		"secret":           {"secret: [hunter2]", `1:9: secret "" is wanted here`},
		"network item":     {"networks: [10.0.0.0/8, 10.0.0.1/8]", `1:24: network "10.0.0.1/8"`},
		"pattern":          {"pattern: a", `1:10: path pattern "a"`},
		"host":             {"host: a b", `1:7: host "a b"`},
		"value":            {"value: ~ (", `1:8: value pattern "~ ("`},
		"text":             {"text: ${X}", `1:7: text "${X}"`},
		"list for scalar":  {"duration: [1s]", `1:11: duration "" is wanted here, not a list or mapping`},
		"mapping for text": {"text: {a: b}", `1:7: text "" is wanted here`},
	} {
		t.Run(name, func(t *testing.T) {
			err := yaml.Unmarshal([]byte(test.text), &holder{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
