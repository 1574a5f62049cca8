package trace

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// Tracer decides about the traces of one configuration.
type Tracer struct {
	// Exporter is where its spans go.
	Exporter *Exporter
	sampler  sampler
	parents  Parents
}

// defaultSample is the share of traces that are recorded when nobody says.
const defaultSample = 0.01

// NewTracer makes a tracer; nil, and no error, if the environment turns tracing
// off.
func NewTracer(c *Config, exporter *Exporter) (*Tracer, error) {
	s, err := newSampler(c.Sample)
	if err != nil {
		return nil, err
	}
	return &Tracer{Exporter: exporter, sampler: s, parents: c.Parents}, nil
}

// Disabled tells whether OTEL_SDK_DISABLED turns tracing off.
func Disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

// Begin gives a request its place in a trace: the one that the client says, or a
// new one. raw is lent until c is reset. Nothing is allocated unless the client
// sends lists in several fields.
func (t *Tracer) Begin(c *Context, head *wire.RequestHead, raw []byte, trusted bool) {
	c.Reset()
	c.seed()
	continued := false
	if t.parents == ParentsAll || t.parents == ParentsTrusted && trusted {
		continued = c.accept(head, raw)
		c.acceptBaggage(head, raw)
	}
	if !continued {
		c.begin()
	}
	c.enter()
	if !continued || t.sampler.always {
		c.Sampled = t.sampler.sample(c.TraceID)
	}
}

// sampler is OpenTelemetry's ratio of trace ids: all who use it on the same ids
// with the same ratio decide alike.
type sampler struct {
	bound  uint64 // of the last 63 bits of an id
	always bool   // a parent's decision does not count
}

// newSampler makes the sampler of a share; nil: the one of the environment.
func newSampler(share *unit.Percent) (sampler, error) {
	if share != nil {
		return sampler{bound: bound(share.Fraction())}, nil
	}
	name := os.Getenv("OTEL_TRACES_SAMPLER")
	kind, parentBased := strings.CutPrefix(name, "parentbased_")
	s := sampler{always: !parentBased}
	switch kind {
	case "":
		return sampler{bound: bound(defaultSample)}, nil
	case "always_on":
		s.bound = bound(1)
	case "always_off":
	case "traceidratio":
		ratio := 1.0
		if text := os.Getenv("OTEL_TRACES_SAMPLER_ARG"); text != "" {
			var err error
			if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
				return s, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG %q is no number from 0 to 1", text)
			}
		}
		s.bound = bound(ratio)
	default:
		return s, fmt.Errorf("OTEL_TRACES_SAMPLER %q is not known: use parentbased_traceidratio or set tracing.sample", name)
	}
	return s, nil
}

func bound(share float64) uint64 { return uint64(share * (1 << 63)) }

func (s sampler) sample(id TraceID) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < s.bound
}
