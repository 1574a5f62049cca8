package config

import (
	"iter"
	"strings"
)

// luaStrings gives the string literals of a Lua text as they are written, in
// order, with whether ".." follows: "a" .. b. Comments are left out. Escapes
// stay as they are: no name of a module has one. A text that is no Lua gives
// some strings, or none.
func luaStrings(text string) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for i := 0; i < len(text); {
			literal, end := "", 0
			switch c := text[i]; {
			case strings.HasPrefix(text[i:], "--"):
				i = afterComment(text, i)
				continue
			case c == '"' || c == '\'':
				literal, end = quoted(text, i)
			case c == '[':
				literal, end = longBracket(text, i)
			}
			if end == 0 {
				i++
				continue
			}
			i = end
			if !yield(literal, strings.HasPrefix(strings.TrimLeft(text[i:], " \t\r\n"), "..")) {
				return
			}
		}
	}
}

// afterComment is where the comment at i ends.
func afterComment(text string, i int) int {
	if i+2 < len(text) && text[i+2] == '[' {
		if _, end := longBracket(text, i+2); end > 0 {
			return end
		}
	}
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

// quoted is the string whose quote is at i, and where the text goes on; 0 when
// it does not end.
func quoted(text string, i int) (string, int) {
	quote := text[i]
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case '\\':
			j++
		case '\n':
			return "", 0
		case quote:
			return text[i+1 : j], j + 1
		}
	}
	return "", 0
}

// longBracket is quoted for [[...]] and [=[...]=].
func longBracket(text string, i int) (string, int) {
	level := 0
	for i+1+level < len(text) && text[i+1+level] == '=' {
		level++
	}
	start := i + 2 + level
	if start > len(text) || text[start-1] != '[' {
		return "", 0
	}
	n := strings.Index(text[start:], "]"+strings.Repeat("=", level)+"]")
	if n < 0 {
		return "", 0
	}
	return text[start : start+n], start + n + 2 + level
}
