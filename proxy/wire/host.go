package wire

import "bytes"

// ValidHost reports whether b is uri-host [":" port] as Host and the authority
// of an absolute target hold it (RFC 9110 §4.2, §7.2 and RFC 3986 §3.2.2): a
// name, an IPv4 address or an IPv6 address in brackets, then a colon and up to
// five digits that make a port up to 65535, or a colon alone. Empty hosts,
// userinfo, zone identifiers and the IPvFuture form are refused.
func ValidHost(b []byte) bool {
	switch plain := leading(b, classHost); {
	case plain == 0:
	case plain == len(b):
		return true // a name without port or escapes, as most are
	case b[plain] == ':':
		return validPort(b[plain+1:]) // as for SplitHost: no port holds a colon
	}
	host, port := SplitHost(b)
	return validPort(port) && validName(host)
}

// SplitHost cuts a host at the colon before its port. port is empty when there
// is none; brackets stay with the host. b need not be valid: a port with
// anything but digits behind the last colon is then what the caller sees.
func SplitHost(b []byte) (host, port []byte) {
	colon := bytes.LastIndexByte(b, ':')
	if colon < 0 || bytes.IndexByte(b[colon:], ']') >= 0 {
		return b, nil
	}
	return b[:colon], b[colon+1:]
}

func validPort(port []byte) bool {
	if len(port) == 0 {
		return true
	}
	if len(port) > 5 {
		return false
	}
	n := 0
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

func validName(host []byte) bool {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		return validIPv6(host[1 : len(host)-1])
	}
	for i := 0; i < len(host); i++ {
		if class[host[i]]&classHost != 0 {
			continue
		}
		if host[i] != '%' || i+2 >= len(host) || class[host[i+1]]&class[host[i+2]]&classHex == 0 {
			return false
		}
		i += 2
	}
	return len(host) > 0
}

// validIPv6 checks IPv6address of RFC 3986 §3.2.2: eight groups of one to four
// hexadecimal digits, one run of which "::" may stand for, the last two also
// as dotted IPv4.
func validIPv6(b []byte) bool {
	groups, gap := 0, false
	for len(b) > 0 {
		if b[0] == ':' {
			if len(b) < 2 || b[1] != ':' || gap {
				return false
			}
			gap = true
			b = b[2:]
			continue
		}
		n := 0
		for n < len(b) && class[b[n]]&classHex != 0 {
			n++
		}
		if n < len(b) && b[n] == '.' {
			groups += 2
			return validIPv4(b) && (groups == 8) != gap && groups <= 8
		}
		if n == 0 || n > 4 {
			return false
		}
		groups++
		b = b[n:]
		if len(b) > 1 && b[0] == ':' && b[1] != ':' {
			b = b[1:]
		} else if len(b) == 1 || len(b) > 0 && b[0] != ':' {
			return false
		}
	}
	return (groups == 8) != gap && groups <= 8
}

// validIPv4 checks four decimal numbers up to 255 without leading zeros.
func validIPv4(b []byte) bool {
	for part := range 4 {
		n := 0
		for n < len(b) && class[b[n]]&classDigit != 0 {
			n++
		}
		value, ok := number(b[:n])
		if !ok || n > 3 || value > 255 || n > 1 && b[0] == '0' {
			return false
		}
		b = b[n:]
		if part == 3 {
			break
		}
		if len(b) == 0 || b[0] != '.' {
			return false
		}
		b = b[1:]
	}
	return len(b) == 0
}
