package main

import (
	"regexp"
	"strings"
)

// luaToken finds what decides nesting, and what hides it: comments and strings.
// Long brackets of other levels than 0 and 1 do not occur in this tree.
var luaToken = regexp.MustCompile(
	`(?s)--\[\[.*?\]\]|--\[=\[.*?\]=\]|--[^\n]*|\[\[.*?\]\]|\[=\[.*?\]=\]` +
		`|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'` +
		`|\b(?:function|do|then|elseif|repeat|end|until)\b`)

var luaHead = regexp.MustCompile(`^function\s*([\w.:]*)\s*\(([^)]*)\)`)

// luaBlock is what stands before the function of a describe in a spec: that is a
// folder of tests, not a function to be read at once. The file's length bounds
// it.
var luaBlock = regexp.MustCompile(`\b(?:describe|context|insulate|expose)\s*\([^\n]*,\s*$`)

// luaFunctions answers the functions of a Lua file, nested ones included.
func luaFunctions(text string) []function {
	type block struct {
		function bool
		at       int
	}
	var open []block
	var found []function
	elseif := false
	for _, span := range luaToken.FindAllStringIndex(text, -1) {
		switch text[span[0]:span[1]] {
		case "function":
			open = append(open, block{function: true, at: span[0]})
		case "do", "repeat":
			open = append(open, block{})
		case "elseif":
			elseif = true // its "then" continues the block of the "if"
		case "then":
			if !elseif {
				open = append(open, block{})
			}
			elseif = false
		case "end", "until":
			if len(open) == 0 {
				return found // not Lua as we read it; luacheck says what is wrong
			}
			last := open[len(open)-1]
			open = open[:len(open)-1]
			if last.function && !luaBlock.MatchString(text[max(0, last.at-200):last.at]) {
				found = append(found, luaFunction(text, last.at, span[1]))
			}
		}
	}
	return found
}

// luaFunction describes the function whose text is text[from:to].
func luaFunction(text string, from, to int) function {
	f := function{
		name:   "function",
		line:   strings.Count(text[:from], "\n") + 1,
		length: strings.Count(text[from:to], "\n") + 1,
	}
	if m := luaHead.FindStringSubmatch(text[from:to]); m != nil {
		if m[1] != "" {
			f.name = m[1]
		}
		if strings.TrimSpace(m[2]) != "" {
			f.parameters = strings.Count(m[2], ",") + 1
		}
	}
	return f
}
