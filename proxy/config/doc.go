// Package config reads perigee's configuration file.
//
// The file is made of the Config types of the features: each lives with the
// code it sets up, and File joins them. This package knows how to read them
// strictly, how to expand what is written in them, and how to check what one
// part says about another:
//
//	bytes -> yaml.Node -> expand ${...} -> Go structs -> scripts read -> checks
//	         (positions)                  (decode.go)                 (validate.go)
//
// # Strict
//
// An unknown key, a key that is there twice, a text where a number belongs: all
// are errors, each with file, line, column, the path of the value and, where
// there is one, the nearest key that does exist. All errors of a file are
// reported together, in the order of the file. A key of a feature that this
// version does not have is an unknown key.
//
// # What is expanded
//
// In scalar values, not in keys:
//
//	${NAME}            the environment variable; an error when it is not set
//	${NAME:-default}   the same, or the default when it is unset or empty
//	${file:PATH}       the content of a file, without its last line break; PATH
//	                   is relative to the folder of the configuration file
//	$$                 a dollar
//	$name              left alone: a variable of the request, where the value is
//	                   a unit.Template; nothing special elsewhere
//
// What an expansion brings in is text: dollars in it are not looked at again,
// not even at run time. Lua scripts are exempt: nothing at all is expanded in
// an inline script or in a script file.
//
// # Tags
//
// The decoder reads yaml tags for names and its own config tag for the rest:
//
//	config:"short"     a scalar in the place of the struct sets this field
//	config:"raw"       nothing is expanded in the value
//	config:"path"      a file path, joined to prefix when relative
//	config:"pathlist"  several of them, separated by semicolons
//
// Types take part by methods: SetDefaults (called before the keys are read),
// Values and Unbuilt (words of an enumeration), UnmarshalYAML (scalars of
// package unit), Check (a feature's own checks).
package config
