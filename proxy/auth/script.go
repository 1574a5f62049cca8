package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// Script is a script that is asked for keys that are neither in the
// configuration nor in files.
type Script struct {
	// Script is called with the key's SHA-256 in small hexadecimal digits as its
	// first argument (local sha256 = ...). It returns the name of the consumer, or
	// a table {consumer = "acme", id = "laptop", groups = {"gold"}, roles = {},
	// scopes = {}, expires = "2027-01-31"} of which consumer must be there, or nil:
	// there is no such key. It may wait. If it fails, a key that is remembered is
	// taken as it was, for ten times ttl, and others are answered 503.
	Script *unit.Source `yaml:"script" config:"short"`
	// Plain gives the script the key itself as a second argument. Default false.
	Plain bool `yaml:"plain,omitempty"`
	// TTL is how long an answer is remembered; that there is no such key, for 5s at
	// the most. Default 1m. A reload forgets all.
	TTL unit.Duration `yaml:"ttl"`
	// Remember is how many answers are remembered. Default 16384.
	Remember int `yaml:"remember"`
}

// SetDefaults sets the times.
func (s *Script) SetDefaults() { s.TTL, s.Remember = unit.Duration(time.Minute), 16384 }

func (s *Script) check(path string, p *problems) {
	if s.Script == nil {
		p.add(path, "add script: {file: keys.lua}", "nothing is asked for keys")
	} else {
		*p = append(*p, s.Script.Check(path+".script")...)
	}
	p.remembering(path, s.TTL, s.Remember)
}

// AskScript has the filter ask a script for keys: its Step answers Continue when
// Exchange.Value is what it says of the key that Exchange.Value.Args names.
func (f *Filter) AskScript(script exchange.Filter) {
	f.script = script
	f.memory = newMemory(f.config.APIKey.Lua.TTL, f.config.APIKey.Lua.Remember)
}

// askScript asks the script whose a key is, or lets it go on. answered: l.answer is
// what it said; otherwise the verdict is what it made of the exchange.
func (f *Filter) askScript(ex *exchange.Exchange, stage exchange.Stage, l *lookup) (verdict exchange.Verdict, answered bool) {
	verdict = f.script.Step(ex, stage)
	switch verdict {
	case exchange.Continue:
		a, err := f.memory.read(&l.sum, said(&ex.Value))
		if err == nil {
			f.memory.put(a)
			l.answer = a
			return verdict, true
		}
		f.report(observe.LevelError, ex, "auth: what the script of api_key.lua says of a key cannot be used: "+err.Error())
	case exchange.Fail: // it has been logged
	default:
		return verdict, false
	}
	l.answer = f.memory.old(&l.sum)
	return verdict, true
}

// said are the fields of what a script has returned; none: nothing.
func said(v *exchange.Value) map[string]string {
	if len(v.Text) == 0 && !v.Fields {
		return nil
	}
	if !v.Fields {
		return map[string]string{"consumer": string(v.Text)}
	}
	fields := map[string]string{}
	rest := string(v.Text)
	for rest != "" {
		var name, value string
		name, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		fields[name] = value
	}
	if fields["consumer"] == "" {
		fields["consumer"] = "" // an empty table is no answer, rather than none
	}
	return fields
}

// shownKey is the question about the key that a request shows, and what the
// script is told; nil: it shows none.
func (f *Filter) shownKey(ex *exchange.Exchange) *lookup {
	scratch := len(ex.Scratch)
	defer func() { ex.Scratch = ex.Scratch[:scratch] }()
	text, outcome := f.key.find(ex)
	if outcome != observe.AuthAllowed {
		return nil
	}
	l := &lookup{sum: sha256.Sum256(text)}
	var digits [2 * sha256.Size]byte
	hex.Encode(digits[:], l.sum[:])
	ex.Value.Args = ex.Value.Args[:0]
	ex.Value.AddArg(digits[:])
	if f.config.APIKey.Lua.Plain {
		ex.Value.AddArg(text)
	}
	return l
}
