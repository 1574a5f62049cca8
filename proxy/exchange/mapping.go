package exchange

import "perigee/proxy/mapping"

// appendMapped appends the value of a variable that is looked up. Unless the map
// is volatile the first use decides, and the value becomes one of Vars.
func (ex *Exchange) appendMapped(dst []byte, name string, m *mapping.Map) []byte {
	start := len(dst)
	dst = ex.AppendTemplate(dst, m.From)
	end := len(dst)
	value, groups := m.Find(dst[start:end])
	for _, part := range value {
		switch {
		case part.Group > 0:
			if i := 2 * part.Group; i+1 < len(groups) && groups[i] >= 0 {
				dst = append(dst, dst[start+groups[i]:start+groups[i+1]]...)
			}
		case part.Variable != "":
			dst = ex.AppendVariable(dst, part.Variable)
		default:
			dst = append(dst, part.Literal...)
		}
	}
	dst = append(dst[:start], dst[end:]...)
	if !m.Volatile && !ex.glancing {
		ex.Vars = append(ex.Vars, Var{name, string(dst[start:])})
	}
	return dst
}

// Glance visits the variables that are looked up and have no value yet, with
// the value that each would have now: it is not kept. Value is lent for the call.
func (ex *Exchange) Glance(visit func(name string, value []byte)) {
	if len(ex.Maps) == 0 {
		return
	}
	ex.glancing = true
	defer func() { ex.glancing = false }()
	for name, m := range ex.Maps {
		if ex.hasVar(name) {
			continue
		}
		start := len(ex.Scratch)
		ex.Scratch = ex.appendMapped(ex.Scratch, name, m)
		visit(name, ex.Scratch[start:])
		ex.Scratch = ex.Scratch[:start]
	}
}

func (ex *Exchange) hasVar(name string) bool {
	for i := range ex.Vars {
		if ex.Vars[i].Name == name {
			return true
		}
	}
	return false
}
