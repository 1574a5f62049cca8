package nginxconf

import (
	"fmt"
	"strings"
)

// token is a word of an nginx.conf, or one of ; { }, or a whole Lua block.
type token struct {
	text   string
	line   int
	kind   tokenKind
	quoted bool // the word stood in quotes
}

type tokenKind uint8

const (
	wordToken tokenKind = iota
	semicolonToken
	openToken
	closeToken
	endToken
)

// lexer cuts one file into tokens as ngx_conf_read_token does.
type lexer struct {
	file, text string
	at, line   int
}

func (l *lexer) fail(line int, format string, values ...any) error {
	return fmt.Errorf("%s:%d: %s", l.file, line, fmt.Sprintf(format, values...))
}

// step takes one byte.
func (l *lexer) step() byte {
	c := l.text[l.at]
	l.at++
	if c == '\n' {
		l.line++
	}
	return c
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// next returns the next token; at the end of the text one of kind endToken.
func (l *lexer) next() (token, error) {
	for l.at < len(l.text) {
		line := l.line
		switch c := l.text[l.at]; {
		case blank(c):
			l.step()
		case c == '#':
			for l.at < len(l.text) && l.text[l.at] != '\n' {
				l.at++
			}
		case c == ';':
			l.at++
			return token{text: ";", line: line, kind: semicolonToken}, nil
		case c == '{':
			l.at++
			return token{text: "{", line: line, kind: openToken}, nil
		case c == '}':
			l.at++
			return token{text: "}", line: line, kind: closeToken}, nil
		case c == '"' || c == '\'':
			return l.quotedWord(c)
		default:
			return l.bareWord(), nil
		}
	}
	return token{line: l.line, kind: endToken}, nil
}

// quotedWord reads a text in quotes. After the closing quote nginx wants a
// blank, a semicolon, a brace or a closing parenthesis.
func (l *lexer) quotedWord(quote byte) (token, error) {
	line, start := l.line, l.at+1
	for l.at++; l.at < len(l.text) && l.text[l.at] != quote; {
		if l.step() == '\\' && l.at < len(l.text) {
			l.step()
		}
	}
	if l.at >= len(l.text) {
		return token{}, l.fail(line, "the quote %c is not closed", quote)
	}
	word := unescape(l.text[start:l.at])
	l.at++
	if l.at < len(l.text) && !blank(l.text[l.at]) && !strings.ContainsRune(";{)", rune(l.text[l.at])) {
		return token{}, l.fail(l.line, "unexpected %q after a closing quote; put a blank or ; there", l.text[l.at])
	}
	return token{text: word, line: line, quoted: true}, nil
}

// bareWord reads a word without quotes; the brace of ${name} does not end it.
func (l *lexer) bareWord() token {
	line, start := l.line, l.at
	for l.at < len(l.text) {
		c := l.text[l.at]
		if blank(c) || c == ';' || c == '{' && l.text[l.at-1] != '$' {
			break
		}
		if l.step() == '\\' && l.at < len(l.text) {
			l.step()
		}
		if c == '$' && l.at < len(l.text) && l.text[l.at] == '{' {
			l.at++
		}
	}
	return token{text: unescape(l.text[start:l.at]), line: line}
}

// unescape applies the escapes that nginx knows in every word: \" \' \\ \t \r
// \n. Any other backslash stays.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if at := strings.IndexByte(`"'\trn`, s[i+1]); at >= 0 {
				b.WriteByte("\"'\\\t\r\n"[at])
				i++
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// luaBlock takes the rest of a Lua block, whose opening brace has been read,
// with its closing brace. Braces in Lua's strings and comments do not count.
func (l *lexer) luaBlock() (string, error) {
	line, start := l.line, l.at
	for depth := 1; l.at < len(l.text); {
		switch c := l.text[l.at]; {
		case c == '{':
			depth++
			l.at++
		case c == '}':
			if depth--; depth == 0 {
				l.at++
				return l.text[start : l.at-1], nil
			}
			l.at++
		case c == '"' || c == '\'':
			l.luaString()
		case c == '[' && l.longBracket():
		case strings.HasPrefix(l.text[l.at:], "--"):
			l.at += 2
			if l.at < len(l.text) && l.text[l.at] == '[' && l.longBracket() {
				continue
			}
			for l.at < len(l.text) && l.text[l.at] != '\n' {
				l.at++
			}
		default:
			l.step()
		}
	}
	return "", l.fail(line, "the Lua block is not closed; add the missing }")
}

// luaString skips a Lua string in quotes. A line's end closes it too: Lua will
// refuse it with a better message.
func (l *lexer) luaString() {
	quote := l.step()
	for l.at < len(l.text) && l.text[l.at] != '\n' {
		switch l.step() {
		case quote:
			return
		case '\\':
			if l.at < len(l.text) {
				l.step()
			}
		}
	}
}

// longBracket skips [[...]] or [=[...]=] when one begins here.
func (l *lexer) longBracket() bool {
	i := l.at + 1
	for i < len(l.text) && l.text[i] == '=' {
		i++
	}
	if i >= len(l.text) || l.text[i] != '[' {
		return false
	}
	closing := "]" + l.text[l.at+1:i] + "]"
	end := strings.Index(l.text[i+1:], closing)
	if end < 0 {
		return false
	}
	stop := i + 1 + end + len(closing)
	l.line += strings.Count(l.text[l.at:stop], "\n")
	l.at = stop
	return true
}
