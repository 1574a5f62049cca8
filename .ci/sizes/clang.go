package main

import (
	"regexp"
	"strings"
)

// A C function's head starts in column one and its body's braces stand in
// column one or at the head's end, as everywhere in this tree.
var cHead = regexp.MustCompile(`^[A-Za-z_][\w\s\*]*?(\w+)\s*\(`)

// cFunctions answers the functions of a C file; declarations are not functions.
func cFunctions(text string) []function {
	all := strings.Split(text, "\n")
	var found []function
	for i := 0; i < len(all); i++ {
		m := cHead.FindStringSubmatch(all[i])
		if m == nil || strings.HasPrefix(all[i], "typedef") {
			continue
		}
		head, open := cHeadOf(all, i)
		if open < 0 {
			continue
		}
		end := open
		for end < len(all)-1 && !strings.HasPrefix(all[end], "}") {
			end++
		}
		found = append(found, function{name: m[1], line: i + 1, length: end - i + 1, parameters: cParameters(head)})
		i = end
	}
	return found
}

// cHeadOf joins the lines of a head that starts at line i and answers them with
// the number of the line after the opening brace, or -1 for a declaration.
func cHeadOf(all []string, i int) (string, int) {
	var head strings.Builder
	for ; i < len(all); i++ {
		head.WriteString(all[i])
		switch {
		case strings.Contains(all[i], "{"):
			return head.String(), i + 1
		case strings.Contains(all[i], ";"), strings.HasPrefix(all[i], "#"):
			return "", -1
		}
	}
	return "", -1
}

// cParameters counts a head's parameters: commas of the outermost parentheses.
func cParameters(head string) int {
	_, list, _ := strings.Cut(head, "(")
	depth, commas := 1, 0
	for i, c := range list {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				if inside := strings.TrimSpace(list[:i]); inside == "" || inside == "void" {
					return 0
				}
				return commas + 1
			}
		case ',':
			if depth == 1 {
				commas++
			}
		}
	}
	return commas + 1
}
