package unit

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// CheckHeaders reports names and values that no HTTP head may hold, and names
// that differ in case alone. path is where the mapping stands in the Config
// that asks.
func CheckHeaders(path string, headers map[string]Template) []Problem {
	lists := make(map[string]Texts, len(headers))
	for name, value := range headers {
		lists[name] = MakeTexts(value)
	}
	return CheckHeaderLists(path, lists)
}

// CheckHeaderLists is CheckHeaders for fields with several values.
func CheckHeaderLists(path string, headers map[string]Texts) []Problem {
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	sort.Strings(names)
	var problems []Problem
	seen := make(map[string]string, len(names))
	for _, name := range names {
		at := Join(path, name)
		if first, twice := seen[strings.ToLower(name)]; twice {
			problems = append(problems, Problem{
				Path: at, Message: fmt.Sprintf("header %q is %q again: header names have no case", name, first),
				Hint: "keep one of them",
			})
		}
		seen[strings.ToLower(name)] = name
		problems = append(problems, CheckHeaderName(at, name)...)
		for _, value := range headers[name].list {
			problems = append(problems, CheckHeaderValue(at, value)...)
		}
	}
	return problems
}

// CheckHeaderName reports a name that is no token (RFC 9110 section 5.6.2).
func CheckHeaderName(path, name string) []Problem {
	if IsToken(name) {
		return nil
	}
	return []Problem{{
		Path: path, Message: fmt.Sprintf("header name %q is not an HTTP token", name),
		Hint: "use letters, digits and -; no blanks, colons or line breaks",
	}}
}

// CheckHeaderValue reports a literal part with a control character other than
// tab (RFC 9110 section 5.5): CR and LF would start another header.
func CheckHeaderValue(path string, value Template) []Problem {
	for _, part := range value.parts {
		for i := 0; i < len(part.Literal); i++ {
			if c := part.Literal[i]; (c < ' ' && c != '\t') || c == 0x7f {
				return []Problem{{
					Path: path, Message: fmt.Sprintf("header value %q holds the control character %q", value.text, c),
					Hint: "write the value in one line; a block text (|) ends in a line break, (|-) does not",
				}}
			}
		}
	}
	return nil
}

// IsToken says whether s is a token of RFC 9110 section 5.6.2: what header
// names and methods are made of.
func IsToken(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// EqualHeader compares header names, which have no case.
func EqualHeader(a, b string) bool { return strings.EqualFold(a, b) }

// Join adds a mapping's key to the path of the mapping: routes[2] and lua give
// routes[2].lua; a key that is not a plain word is quoted in brackets.
func Join(path, key string) string {
	plain := key != ""
	for i := 0; i < len(key) && plain; i++ {
		c := key[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	switch {
	case !plain:
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}
