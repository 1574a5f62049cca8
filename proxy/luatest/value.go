package luatest

import (
	"fmt"
	"strconv"
)

// Values travel between Go and a spec's VM as bytes; lua/wire.lua draws the
// form. In Go they are nil, bool, float64, string and *table.

// table is a Lua table: its list 1..n, and its fields by text.
type table struct {
	list   []any
	fields map[string]any
}

// newTable makes a table of name, value pairs.
func newTable(pairs ...any) *table {
	t := &table{fields: map[string]any{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		t.fields[pairs[i].(string)] = pairs[i+1]
	}
	return t
}

// get is a field, nil when t is nil or has none.
func (t *table) get(name string) any {
	if t == nil {
		return nil
	}
	return t.fields[name]
}

func (t *table) text(name string) string {
	s, _ := t.get(name).(string)
	return s
}

func (t *table) number(name string) float64 {
	switch n := t.get(name).(type) {
	case float64:
		return n
	case int: // of a table that never travelled
		return float64(n)
	}
	return 0
}

func (t *table) integer(name string) int { return int(t.number(name)) }

func (t *table) is(name string) bool {
	b, _ := t.get(name).(bool)
	return b
}

// sub is a field that is a table; nil when it is none.
func (t *table) sub(name string) *table {
	s, _ := t.get(name).(*table)
	return s
}

// items is the list; nil when t is.
func (t *table) items() []any {
	if t == nil {
		return nil
	}
	return t.list
}

// encode appends a value's bytes. Besides the types above it takes int and
// []string.
func encode(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'z')
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case float64:
		return append(strconv.AppendFloat(append(b, 'n'), v, 'g', -1, 64), ';')
	case int:
		return append(strconv.AppendInt(append(b, 'n'), int64(v), 10), ';')
	case string:
		b = append(strconv.AppendInt(append(b, 's'), int64(len(v)), 10), ':')
		return append(b, v...)
	case []string:
		t := &table{}
		for _, s := range v {
			t.list = append(t.list, s)
		}
		return encode(b, t)
	case *table:
		b = append(b, '{')
		for i, item := range v.list {
			b = encode(encode(b, i+1), item)
		}
		for name, item := range v.fields {
			b = encode(encode(b, name), item)
		}
		return append(b, '}')
	}
	panic(fmt.Sprintf("BUG: a %T cannot travel to a spec", v))
}

// maxDepth bounds nesting; wire.lua has the same bound.
const maxDepth = 60

// decode reads one value, which must be all of b.
func decode(b []byte) (any, error) {
	d := decoder{b: b}
	v, err := d.value(0)
	if err == nil && d.at != len(b) {
		err = d.problem("something follows the value")
	}
	return v, err
}

type decoder struct {
	b  []byte
	at int
}

func (d *decoder) problem(what string) error {
	return fmt.Errorf("a spec sent a broken value: %s at byte %d", what, d.at)
}

func (d *decoder) value(depth int) (any, error) {
	if d.at >= len(d.b) {
		return nil, d.problem("it ends too early")
	}
	kind := d.b[d.at]
	d.at++
	switch kind {
	case 'z':
		return nil, nil
	case 't', 'f':
		return kind == 't', nil
	case 'n':
		text, err := d.until(';')
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, d.problem("number " + strconv.Quote(text))
		}
		return n, nil
	case 's':
		return d.text()
	case '{':
		if depth >= maxDepth {
			return nil, d.problem("too many tables in one another")
		}
		return d.table(depth)
	}
	return nil, d.problem("unknown kind " + strconv.QuoteRune(rune(kind)))
}

// until reads up to a byte, which must come soon: a number or a length.
func (d *decoder) until(end byte) (string, error) {
	for i := d.at; i < len(d.b) && i < d.at+40; i++ {
		if d.b[i] == end {
			text := string(d.b[d.at:i])
			d.at = i + 1
			return text, nil
		}
	}
	return "", d.problem(strconv.QuoteRune(rune(end)) + " is missing")
}

func (d *decoder) text() (string, error) {
	length, err := d.until(':')
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || int(n) > len(d.b)-d.at {
		return "", d.problem("length " + strconv.Quote(length))
	}
	s := string(d.b[d.at : d.at+int(n)])
	d.at += int(n)
	return s, nil
}

func (d *decoder) table(depth int) (any, error) {
	t := &table{fields: map[string]any{}}
	numbered := map[int]any{}
	for {
		if d.at < len(d.b) && d.b[d.at] == '}' {
			d.at++
			for i := 1; ; i++ {
				v, ok := numbered[i]
				if !ok {
					return t, nil
				}
				t.list = append(t.list, v)
			}
		}
		k, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		switch k := k.(type) {
		case string:
			t.fields[k] = v
		case float64:
			numbered[int(k)] = v
		default:
			return nil, d.problem("a key is neither text nor number")
		}
	}
}
