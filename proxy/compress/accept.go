package compress

import "bytes"

// accepts tells whether an Accept-Encoding field allows gzip (RFC 9110
// §12.5.3): by its name or x-gzip, else by "*", with a weight above 0.
func accepts(field []byte) bool {
	other := false
	for len(field) > 0 {
		var item []byte
		item, field, _ = bytes.Cut(field, []byte{','})
		name, parameters, _ := bytes.Cut(item, []byte{';'})
		name = bytes.TrimSpace(name)
		switch {
		case bytes.EqualFold(name, []byte("gzip")) || bytes.EqualFold(name, []byte("x-gzip")):
			return wanted(parameters)
		case len(name) == 1 && name[0] == '*':
			other = wanted(parameters)
		}
	}
	return other
}

// wanted tells whether parameters give no weight or one above 0. A weight that
// cannot be read is taken for 0, as nginx does.
func wanted(parameters []byte) bool {
	for len(parameters) > 0 {
		var p []byte
		p, parameters, _ = bytes.Cut(parameters, []byte{';'})
		name, value, found := bytes.Cut(bytes.TrimSpace(p), []byte{'='})
		if found && len(name) == 1 && name[0]|0x20 == 'q' {
			return positive(value)
		}
	}
	return true
}

// positive reads a weight: 1 to 1.000, or 0.001 to 0.999.
func positive(weight []byte) bool {
	if len(weight) == 0 || len(weight) > 5 || len(weight) > 1 && weight[1] != '.' {
		return false
	}
	fraction := weight[min(2, len(weight)):]
	above := false
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return false
		}
		above = above || c != '0'
	}
	return weight[0] == '1' && !above || weight[0] == '0' && above
}

// lists tells whether a field that is a list of words has one, "=" and what is
// behind it left out.
func lists(field []byte, word string) bool {
	for len(field) > 0 {
		var item []byte
		item, field, _ = bytes.Cut(field, []byte{','})
		item, _, _ = bytes.Cut(item, []byte{'='})
		if bytes.EqualFold(bytes.TrimSpace(item), []byte(word)) {
			return true
		}
	}
	return false
}
