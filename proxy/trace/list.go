package trace

import (
	"bytes"

	"perigee/proxy/wire"
)

// What a list may hold. The bounds of tracestate are W3C Trace Context §3.3, those
// of baggage W3C Baggage §3.3.2.
const (
	maxStateMembers = 32
	maxStateKey     = 256
	maxStateValue   = 256
	maxBaggage      = 8192
	maxBags         = 180
)

// validState tells whether a tracestate can be sent on: known keys once each,
// values that print. One bad member spoils the list.
func validState(list []byte) bool {
	var keys [maxStateMembers][]byte
	n := 0
	for len(list) > 0 {
		var member []byte
		member, list, _ = bytes.Cut(list, comma)
		if member = wire.TrimOWS(member); len(member) == 0 {
			continue // allowed, and of no meaning
		}
		key, value, found := bytes.Cut(member, equals)
		if !found || n == maxStateMembers || !validStateKey(key) || !validStateValue(value) {
			return false
		}
		for _, other := range keys[:n] {
			if bytes.Equal(other, key) {
				return false
			}
		}
		keys[n] = key
		n++
	}
	return n > 0
}

var (
	comma     = []byte{','}
	equals    = []byte{'='}
	semicolon = []byte{';'}
)

func validStateKey(key []byte) bool {
	if len(key) == 0 || len(key) > maxStateKey {
		return false
	}
	systems := 0 // @ divides a tenant from its system
	for i, c := range key {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i == 0:
			return false
		case c == '@':
			if systems++; systems > 1 || i == len(key)-1 {
				return false
			}
		case c == '_' || c == '-' || c == '*' || c == '/':
		default:
			return false
		}
	}
	return true
}

func validStateValue(value []byte) bool {
	if len(value) == 0 || len(value) > maxStateValue || value[len(value)-1] == ' ' {
		return false
	}
	for _, c := range value {
		if c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return true
}

// validBaggage tells whether a baggage can be sent on: members key=value with
// properties behind.
func validBaggage(list []byte) bool {
	if len(list) > maxBaggage {
		return false
	}
	n := 0
	for more := true; more; n++ {
		var member []byte
		if member, list, more = bytes.Cut(list, comma); n == maxBags {
			return false
		}
		member, properties, has := bytes.Cut(member, semicolon)
		key, value, found := bytes.Cut(member, equals)
		if !found || !wire.IsToken(wire.TrimOWS(key)) || !isBaggageValue(wire.TrimOWS(value)) {
			return false
		}
		for has {
			var property []byte
			property, properties, has = bytes.Cut(properties, semicolon)
			key, value, _ := bytes.Cut(property, equals)
			if !wire.IsToken(wire.TrimOWS(key)) || !isBaggageValue(wire.TrimOWS(value)) {
				return false
			}
		}
	}
	return true
}

// isBaggageValue tells whether all bytes are baggage-octets.
func isBaggageValue(value []byte) bool {
	for _, c := range value {
		if c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return true
}
